import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "@jest/globals";
import { openSystem } from "../../compose/system.js";
import { CommandContext } from "../context.js";
import { runCommand, type RunSignals } from "./run.js";

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "metamaster-run-"));
  await mkdir(join(folder, "bucket"));
  const text = `cluster: demo\nmember: alpha\ndataDirectory: data\nbucket:\n  url: file://${folder}/bucket\ndatabases:\n  - name: meta\n    path: meta\nhttp:\n  address: 127.0.0.1:0\nlog:\n  level: error\n`;
  await writeFile(join(folder, "metamaster.yaml"), text);
});

afterEach(() => rm(folder, { recursive: true, force: true }));

test("what nobody caught ends the master, then the process, with the number of a defect", async () => {
  const system = openSystem();
  const streams = { out: () => undefined, err: () => undefined, isTerminal: false };
  const context = new CommandContext(
    {
      streams,
      environment: { METAMASTER_CONFIG: join(folder, "metamaster.yaml") },
      system,
      signal: new AbortController().signal,
    },
    { output: "text" },
  );
  const told: { stop?: (name: string) => void; defect?: (error: unknown) => void } = {};
  const exited = Promise.withResolvers<number>();
  const signals: RunSignals = {
    onStop: (listener) => (told.stop = listener),
    onDefect: (listener) => (told.defect = listener),
    exit: exited.resolve,
  };
  const pidFile = join(folder, "pid");
  const running = runCommand(
    context,
    ["/bin/sh", "-c", `echo $$ > ${pidFile}.new; mv ${pidFile}.new ${pidFile}; while :; do sleep 0.05; done`],
    signals,
  );
  while (!existsSync(pidFile)) await system.clock.sleep(20);
  const pid = (await readFile(pidFile, "utf8")).trim();
  told.defect?.(new Error("planted"));
  expect(await exited.promise).toBe(70);
  expect(existsSync(`/proc/${pid}`)).toBe(false);
  // The stub let the process go on: the member would start its master again.
  told.stop?.("SIGTERM");
  expect(typeof (await running)).toBe("number");
}, 30_000);

test("told to end before it began, it begins nothing", async () => {
  const interrupted = new Error("interrupted");
  const streams = { out: () => undefined, err: () => undefined, isTerminal: false };
  const environment = { METAMASTER_CONFIG: join(folder, "metamaster.yaml") };
  const context = new CommandContext(
    { streams, environment, system: openSystem(), signal: AbortSignal.abort(interrupted) },
    { output: "text" },
  );
  const signals: RunSignals = { onStop: () => undefined, onDefect: () => undefined, exit: () => undefined };
  await expect(runCommand(context, ["/bin/true"], signals)).rejects.toBe(interrupted);
  expect(existsSync(join(folder, "data"))).toBe(false);
});
