import { parseFileName } from "../src/formats/rocksdb/file-names.js";
import type { Layout } from "../src/replica/layout.js";
import type { Disk } from "./disk.js";
import { bytesOf, type Files } from "./fold.js";
import { Violation } from "./violation.js";

/** Compares a member's disk with an image, byte by byte. */
export interface DiskCheck {
  readonly disk: Disk;
  readonly layout: Layout;
  readonly who: string;
  /** What was folded from the log, and where. */
  readonly files: Files;
  readonly slot: number;
  /**
   * `Exact`: the image and nothing else. `Followed`: files that later entries removed may still be there, until the state without them is saved.
   * `Ahead`: a master has gone on since; of what only grows, the image has the beginning.
   */
  readonly how: "Exact" | "Followed" | "Ahead";
}

export function localPath(layout: Layout, file: string): string {
  const slash = file.indexOf("/");
  const [root, rest] = [file.slice(0, slash), file.slice(slash + 1)];
  if (root === "@companions") return `${layout.dataDirectory}/${rest}`;
  const wal = root.endsWith("@wal");
  const database = layout.databases.find(({ name }) => name === (wal ? root.slice(0, -"@wal".length) : root));
  if (database === undefined) throw new Violation("DiskIsTheImage", `the image names ${file}`);
  return `${wal ? (database.walPath ?? database.path) : database.path}/${rest}`;
}

export function checkDisk(check: DiskCheck): void {
  const { disk, layout, who, files, slot, how } = check;
  const bad = (what: string): Violation => new Violation("DiskIsTheImage", `${who} at slot ${slot}: ${what}`);
  const expected = new Set<string>();
  for (const [name, file] of files) {
    const path = localPath(layout, name);
    expected.add(path);
    const stat = disk.stat(path);
    if (how === "Ahead" && (stat === undefined || file.kind !== "bytes")) continue;
    if (stat === undefined) throw bad(`${path} is missing`);
    if (file.kind === "directory") continue;
    const have = disk.file(path).data.view();
    const want = bytesOf(file);
    const growing = how === "Ahead" && file.kind === "bytes";
    if (growing ? have.length < want.length : have.length !== want.length) {
      throw bad(`${path} has ${have.length} bytes, the image ${want.length}`);
    }
    if (Buffer.compare(have.subarray(0, want.length), want) === 0) continue;
    const at = want.findIndex((byte, index) => have[index] !== byte);
    throw bad(`${path} differs at byte ${at} of ${want.length}`);
  }
  if (how !== "Exact") return;
  for (const { path, walPath } of layout.databases) {
    for (const directory of walPath === undefined ? [path] : [path, walPath]) {
      if (!disk.exists(directory)) continue;
      for (const { name, kind } of disk.list(directory)) {
        const type = parseFileName(name)?.type;
        const counts = type !== undefined && type !== "lock" && type !== "infoLog" && type !== "temporary";
        if (kind === "file" && counts && !expected.has(`${directory}/${name}`)) {
          throw bad(`${directory}/${name} is not in the image`);
        }
      }
    }
  }
}
