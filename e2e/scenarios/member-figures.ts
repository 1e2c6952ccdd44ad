import type { Meta } from "./product.js";

export interface NewMember {
  readonly name: string;
  /** From the pod's creation to the start of the sidecar's process, which whole seconds of the API server blur. */
  readonly podStartMs: number;
  /** From there until it follows, the restore from the bucket included. */
  readonly readyMs: number;
  /** Of that, from when the bucket was open until the disk equalled the log. */
  readonly restoreMs: number;
  /** What was done to its disk, in a word. */
  readonly disk: string;
}

/** How a pod that was added became a standby. */
export async function newMember(meta: Meta, name: string): Promise<NewMember> {
  const { started, history } = await meta.memberStatus(name);
  const created = await meta.cluster.kubectl(["get", "pod", name, "-o", "jsonpath={.metadata.creationTimestamp}"]);
  const at = history.findIndex(({ role }) => role === "Standby");
  const [before, standby] = [history[at - 1], history[at]];
  if (standby === undefined || before?.role !== "Syncing")
    throw new Error(`${name} was never Standby: ${JSON.stringify(history)}`);
  const [, disk = ""] = /^the disk is (.+) at slot /.exec(standby.reason) ?? [];
  const startedMs = Date.parse(started);
  return {
    name,
    podStartMs: startedMs - Date.parse(created),
    readyMs: Date.parse(standby.since) - startedMs,
    restoreMs: Date.parse(standby.since) - Date.parse(before.since),
    disk,
  };
}

/** All that the sidecar has in memory, and what its watchdog, in another container of the image, has beside the program's file that both share. The image has no tools but Node; the containers share their processes. */
const PROGRAM = `
const { readdirSync, readFileSync } = require("node:fs");
const kib = (pid, field) => Number(new RegExp(field + ":\\\\s+(\\\\d+) kB").exec(readFileSync("/proc/" + pid + "/status", "utf8"))?.[1] ?? 0);
let sum = 0;
for (const pid of readdirSync("/proc").filter((name) => /^\\d+$/.test(name))) {
  try {
    const line = readFileSync("/proc/" + pid + "/cmdline", "utf8").replaceAll("\\0", " ");
    if (line.includes("metamaster.js watchdog")) sum += kib(pid, "RssAnon");
    else if (line.includes("metamaster.js sidecar")) sum += kib(pid, "VmRSS");
  } catch {}
}
console.log(Math.round(sum * 1024 / 1e6));`;

/** Resident memory of a pod's sidecar and its watchdog, in MB. */
export async function sidecarMegabytes(meta: Meta, pod: string): Promise<number> {
  const said = await meta.cluster.kubectl(["exec", pod, "-c", "metamaster", "--", "/bin/node", "-e", PROGRAM]);
  return Number(said);
}
