import { execFile, spawn, type ChildProcess } from "node:child_process";
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, jest, test } from "@jest/globals";
import { MemberProcess, METAMASTER, until } from "./member-process.js";

jest.setTimeout(120_000);

const INIT = new URL("../../sidecar/bin/init.sh", import.meta.url).pathname;
const run = promisify(execFile);

let root: string;
let children: ChildProcess[];

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "metamaster-e2e-init-"));
  children = [];
});

afterEach(async () => {
  for (const child of children) {
    const ended = endOf(child);
    child.kill("SIGKILL");
    await ended;
  }
  rmSync(root, { recursive: true, force: true });
});

function endOf(child: ChildProcess): Promise<{ readonly code: number | null; readonly signal: string | null }> {
  if (child.exitCode !== null || child.signalCode !== null)
    return Promise.resolve({ code: child.exitCode, signal: child.signalCode });
  return new Promise((resolve) => child.once("close", (code, signal) => resolve({ code, signal })));
}

/** Its output goes to `root`/log. */
function start(command: string, ...args: string[]): ChildProcess {
  const log = openSync(join(root, "log"), "a");
  const child = spawn(command, args, { stdio: ["ignore", log, log], cwd: root });
  closeSync(log);
  children.push(child);
  return child;
}

function said(): string {
  return existsSync(join(root, "log")) ? readFileSync(join(root, "log"), "utf8") : "";
}

async function untilSaid(text: string): Promise<void> {
  await until(
    `it says ${text}`,
    async () => (said().includes(text) ? true : undefined),
    () => said(),
  );
}

/** How to run something as process 1 here; undefined where that isn't allowed. */
async function namespaces(): Promise<readonly string[] | undefined> {
  for (const more of [[], ["--user", "--map-root-user"]]) {
    const args = [...more, "--pid", "--fork", "--mount-proc", "--kill-child"];
    try {
      await run("unshare", [...args, "true"]);
      return args;
    } catch {
      // Tried with less, then not at all.
    }
  }
  return undefined;
}

const asProcess1 = await namespaces();
const testAsProcess1 = asProcess1 === undefined ? test.skip : test;
if (asProcess1 === undefined) process.stderr.write("skipped: unshare(1) may not make a process namespace here\n");

/** Leaves orphans that end at once, and says when nothing is left of them. */
const ORPHANING = `
trap 'exit 3' TERM
orphans=$(for i in 1 2 3 4 5; do /bin/sh -c 'sleep 0.1 > /dev/null & echo $!'; done)
echo "master runs"
for pid in $orphans; do while [ -e /proc/$pid ]; do sleep 0.05; done; done
echo "no zombie left"
while :; do sleep 0.05; done
`;

testAsProcess1(
  "as process 1 (unshare) no zombie is left of what the master orphans; SIGTERM ends it with the master's code",
  async () => {
    const member = new MemberProcess({ name: "alpha", root });
    const command = [process.execPath, METAMASTER, "run", "--config", member.config, "--", "/bin/sh", "-c", ORPHANING];
    const outer = start("unshare", ...(asProcess1 ?? []), ...command);
    await untilSaid("no zombie left");
    const [inner] = readFileSync(`/proc/${outer.pid}/task/${outer.pid}/children`, "latin1").split(" ");
    process.kill(Number(inner), "SIGTERM");
    expect(await endOf(outer)).toEqual({ code: 3, signal: null });
  },
);

const SIGNALLED = `
for (const name of ["TERM", "INT", "HUP"]) process.on("SIG" + name, () => {
  console.log("got " + name);
  if (name === "HUP") process.exit(5);
});
setInterval(() => {}, 1000);
console.log("ready");
`;

const shells = ["/bin/dash", "/bin/bash", "/bin/busybox"].filter((shell) => existsSync(shell));

describe.each(shells)("the init in %s", (shell) => {
  const init = shell.endsWith("busybox") ? [shell, "sh", INIT] : [shell, INIT];
  const [program = "", ...args] = init;

  test.each([
    ["exit 0", 0],
    ["exit 7", 7],
    ["exit 127", 127],
    ["kill -s KILL $$", 137],
  ])("ends as its command does: %s", async (script, code) => {
    expect(await endOf(start(program, ...args, "/bin/sh", "-c", script))).toEqual({ code, signal: null });
  });

  test("passes every signal on, and goes on until its command ends", async () => {
    const child = start(program, ...args, process.execPath, "-e", SIGNALLED);
    await untilSaid("ready");
    for (const name of ["TERM", "INT", "TERM"] as const) {
      const before = said().split(`got ${name}`).length;
      child.kill(`SIG${name}`);
      await until(
        `${name} is passed on`,
        async () => (said().split(`got ${name}`).length > before ? true : undefined),
        () => said(),
      );
    }
    expect(child.exitCode).toBeNull();
    child.kill("SIGHUP");
    expect(await endOf(child)).toEqual({ code: 5, signal: null });
  });
});
