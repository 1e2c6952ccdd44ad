import { MetaMasterError } from "../../base/errors.js";

/**
 * Companions are named by paths or globs relative to the data directory: `*` any run within a segment, `?` one character, `**` (a whole
 * segment) any number of segments. A pattern that names a directory takes everything below it. Nothing else is special, so that a
 * pattern means the same on every member whatever library is there.
 */
export interface Glob {
  readonly pattern: string;
  /** The leading segments without wildcards: where a walk begins. */
  readonly root: readonly string[];
  /** True if the path itself, or a directory it lies in, is named. */
  matches(path: readonly string[]): boolean;
  /** False only if nothing below this directory can match. */
  mayMatchBelow(directory: readonly string[]): boolean;
}

const ANY_SEGMENTS = Symbol("**");
type Segment = RegExp | typeof ANY_SEGMENTS;

/** Throws `CompanionInvalid` (invalid). */
export function parseGlob(pattern: string): Glob {
  const parts = pattern.replace(/\/$/, "").split("/");
  for (const part of parts) checkPart(pattern, part);
  const segments: Segment[] = parts.map((part) => (part === "**" ? ANY_SEGMENTS : segmentExpression(part)));
  const wild = parts.findIndex((part) => /[*?]/.test(part));
  return {
    pattern,
    root: wild === -1 ? parts : parts.slice(0, wild),
    matches: (path) => reach(segments, path).matched,
    mayMatchBelow: (directory) => {
      const end = reach(segments, directory);
      return end.matched || end.alive;
    },
  };
}

function checkPart(pattern: string, part: string): void {
  const why =
    part === "" || part === "." || part === ".."
      ? "its segments must not be empty, '.' or '..' (it is relative to the data directory)"
      : part.includes("**") && part !== "**"
        ? "'**' must be a whole segment"
        : part === ".metamaster"
          ? "'.metamaster' is MetaMaster's own"
          : part.includes("\0")
            ? "it has a zero byte"
            : undefined;
  if (why === undefined) return;
  throw new MetaMasterError(
    "CompanionInvalid",
    "invalid",
    `The companion ${JSON.stringify(pattern)} can't be used: ${why}.`,
    {
      hint: "Name files or directories relative to the data directory, e.g. `kv_backend` or `meta/checkpoint/*`.",
      details: { pattern },
    },
  );
}

function segmentExpression(part: string): RegExp {
  const source = part
    .replace(/[\\^$.|+()[\]{}]/g, "\\$&")
    .replaceAll("*", ".*")
    .replaceAll("?", ".");
  return new RegExp(`^${source}$`, "su");
}

/** Walks the pattern as a small automaton (states = positions in it): linear in path x pattern, no backtracking. */
function reach(segments: readonly Segment[], path: readonly string[]): { matched: boolean; alive: boolean } {
  let states = closure(segments, new Set([0]));
  for (const name of path) {
    if (states.has(segments.length)) return { matched: true, alive: true };
    const next = new Set<number>();
    for (const state of states) {
      const segment = segments[state];
      if (segment === undefined) continue;
      if (segment === ANY_SEGMENTS) next.add(state);
      else if (segment.test(name)) next.add(state + 1);
    }
    states = closure(segments, next);
  }
  return { matched: path.length > 0 && states.has(segments.length), alive: states.size > 0 };
}

/** `**` also stands for no segment at all. */
function closure(segments: readonly Segment[], states: Set<number>): Set<number> {
  for (const state of states) {
    if (segments[state] === ANY_SEGMENTS) states.add(state + 1);
  }
  return states;
}
