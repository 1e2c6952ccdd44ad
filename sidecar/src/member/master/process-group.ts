import { readdirSync, readFileSync } from "node:fs";

/** Processes as /proc tells of them (proc(5)). */

export function isSystemError(error: unknown, code: string): boolean {
  return typeof error === "object" && error !== null && "code" in error && error.code === code;
}

/** Of /proc/<pid>/stat: the name in parentheses may hold anything, so the fields are counted from the last one. */
export function parseStat(text: string): { readonly state: string; readonly group: number } | undefined {
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  const [state, , group] = fields;
  return state === undefined || group === undefined ? undefined : { state, group: Number(group) };
}

/** Processes of the group that can still do something: a zombie is one only if a thread of it lives. */
export function livingMembers(group: number, proc = "/proc"): number[] {
  const living: number[] = [];
  for (const name of readdirSync(proc)) {
    if (!/^[0-9]+$/.test(name)) continue;
    const stat = statOf(`${proc}/${name}/stat`);
    if (stat?.group !== group) continue;
    if (isLiving(stat.state, `${proc}/${name}/task`)) living.push(Number(name));
  }
  return living;
}

/** It can still do something; `tasks`: its folder of threads. */
export function isLiving(state: string, tasks: string): boolean {
  return !isDead(state) || hasLivingThread(tasks);
}

function hasLivingThread(tasks: string): boolean {
  try {
    return readdirSync(tasks).some((task) => {
      const stat = statOf(`${tasks}/${task}/stat`);
      return stat !== undefined && !isDead(stat.state);
    });
  } catch {
    // It has gone meanwhile.
    return false;
  }
}

function statOf(path: string): ReturnType<typeof parseStat> {
  try {
    return parseStat(readFileSync(path, "latin1"));
  } catch {
    // It has gone meanwhile.
    return undefined;
  }
}

function isDead(state: string): boolean {
  return state === "Z" || state === "X";
}
