import { execFile } from "node:child_process";
import { promisify } from "node:util";

const run = promisify(execFile);
const CALL_MS_MAX = 300_000;
const OUTPUT_MAX = 1 << 26;

/** Runs kubectl or helm (`kubectl`, or `kube kubectl`) on a cluster; gives what it printed, throws what it complained of. */
export async function runClient(
  command: readonly string[],
  kubeconfig: string,
  args: readonly string[],
  stdin = "",
): Promise<string> {
  const [program = "", ...first] = command;
  const call = run(program, [...first, "--kubeconfig", kubeconfig, ...args], {
    timeout: CALL_MS_MAX,
    maxBuffer: OUTPUT_MAX,
  });
  // It may end without having read all of it.
  call.child.stdin?.on("error", () => undefined);
  call.child.stdin?.end(stdin);
  return (await call).stdout;
}
