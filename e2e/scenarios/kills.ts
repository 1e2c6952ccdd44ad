import type { Cluster } from "../cluster/cluster.js";

/** By their command lines. */
const LINES = {
  master: "kv-master/src",
  watchdog: "metamaster.js watchdog",
  sidecar: "metamaster.js sidecar",
} as const;

type Kind = keyof typeof LINES;

/** SIGKILL to these processes of a pod at one stroke. The product's image has no tools but Node; the sidecar's container sees all processes of the pod. */
export async function killIn(cluster: Cluster, pod: string, ...kinds: readonly Kind[]): Promise<void> {
  const program = `
    const { readdirSync, readFileSync } = require("node:fs");
    const lines = ${JSON.stringify(kinds.map((kind) => LINES[kind]))};
    const pids = readdirSync("/proc").filter((name) => /^[0-9]+$/.test(name) && Number(name) !== process.pid);
    const found = pids.filter((pid) => {
      try {
        const line = readFileSync("/proc/" + pid + "/cmdline", "utf8").replaceAll("\\0", " ");
        return lines.some((each) => line.includes(each));
      } catch {
        return false;
      }
    });
    for (const pid of found) process.kill(Number(pid), "SIGKILL");`;
  // With its container it ends without an answer.
  await cluster.kubectl(["exec", pod, "-c", "metamaster", "--", "/bin/node", "-e", program]).catch(() => "");
}
