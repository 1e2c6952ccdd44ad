import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { openSystem } from "../compose/system.js";
import { runCli } from "./cli.js";

let folder: string;
let file: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "metamaster-cli-"));
  file = join(folder, "metamaster.yaml");
  await writeFile(file, configText(`file://${folder}/bucket`));
});

afterEach(() => rm(folder, { recursive: true, force: true }));

function configText(bucket: string): string {
  return `cluster: demo\nmember: alpha\ndataDirectory: data\nbucket:\n  url: ${bucket}\ndatabases:\n  - name: meta\n    path: meta\nhttp:\n  address: 127.0.0.1:0\nlog:\n  level: error\n`;
}

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

async function run(...args: string[]): Promise<Ran> {
  let out = "";
  let err = "";
  const code = await runCli(
    args,
    {
      streams: { out: (text) => (out += text), err: (text) => (err += text), isTerminal: false },
      environment: { METAMASTER_CONFIG: file },
      system: openSystem(),
      signal: new AbortController().signal,
    },
    { onStop: () => undefined, onDefect: () => undefined, exit: () => undefined },
  );
  return { code, out, err };
}

describe("usage", () => {
  test.each([
    [["frobnicate"], "unknown command 'frobnicate'"],
    [["statsu"], "Did you mean status?"],
    [["status", "--frob"], "unknown option '--frob'"],
    [["status", "--output", "xml"], "Allowed choices are text, json"],
    [["log", "show", "x"], "It must be a whole number."],
    [["restore"], "required option '--to <directory>' not specified"],
    [["restore", "--to", "x", "--time", "yesterday"], "It must be a time with its zone"],
    [["restore", "--to", "x", "--sequence", "5"], "It must be a database's name and a number"],
    [["switchover", "--max-lag", "5MB"], "It must be a size like 64KiB"],
    [["checkpoint", "--timeout", "0"], "It must be 1 to 600 seconds"],
    [["resume"], "required option '--reason <name>' not specified"],
  ])("%j is 2, and says why", async (args, message) => {
    const { code, err } = await run(...args);
    expect(code).toBe(2);
    expect(err).toContain(message);
  });

  test("help and version are no errors", async () => {
    expect(await run("--help")).toMatchObject({ code: 0, out: expect.stringContaining("switchover") });
    expect(await run("--version")).toMatchObject({ code: 0, out: expect.stringMatching(/^\d+\.\d+\.\d+\n$/) });
  });

  test("run without a command says how it is written", async () => {
    const { code, err } = await run("run");
    expect(code).toBe(2);
    expect(err).toContain("-- ./my-master");
  });

  test("a sequence number is one of a database that there is", async () => {
    const { code, err } = await run("restore", "--to", join(folder, "x"), "--sequence", "mata=5");
    expect([code, err]).toEqual([2, expect.stringContaining("Name one of the configuration's: meta.")]);
  });

  test("two targets of a restore are one too many", async () => {
    const { code, err } = await run(
      "restore",
      "--to",
      join(folder, "x"),
      "--slot",
      "1",
      "--time",
      "2026-01-01T00:00:00Z",
    );
    expect(code).toBe(2);
    expect(err).toContain("Only one of --slot, --sequence and --time");
  });
});

describe("config", () => {
  test("validate lists every problem, in words or as JSON", async () => {
    await writeFile(file, "cluster: a b\nwal:\n  maxDelay: 5\n");
    const text = await run("config", "validate");
    expect(text.code).toBe(2);
    expect(text.err).toContain(`${file}:1: cluster found "a b"`);
    expect(text.err).toContain(`${file}:3: wal.maxDelay found 5`);
    expect(text.err).toContain("bucket is missing");
    expect(text.err).toContain("code: ConfigInvalid");
    const json = await run("config", "validate", "--output", "json");
    expect(JSON.parse(json.err)).toMatchObject({ error: { code: "ConfigInvalid", kind: "invalid" } });
  });

  test("explain says where each value came from, and notes what is risky", async () => {
    const { code, out, err } = await run("config", "explain", "--set", "wal.maxDelay=7ms");
    expect(code).toBe(0);
    expect(out).toMatch(new RegExp(`cluster: demo +# ${file}:1`));
    expect(out).toMatch(/wal\.maxDelay: 7ms +# --set wal\.maxDelay/);
    expect(out).toMatch(/election\.lease: 15s +# default/);
    expect(err).toContain("No health check is configured");
    const json = await run("config", "explain", "-o", "json");
    expect(JSON.parse(json.out)).toMatchObject({
      settings: expect.arrayContaining([{ path: "gate", value: "HoldStart", source: "default" }]),
    });
  });

  test("a missing file is named", async () => {
    const { code, err } = await run("config", "validate", "-c", join(folder, "none.yaml"));
    expect(code).toBe(2);
    expect(err).toContain(join(folder, "none.yaml"));
  });
});

describe("what isn't there", () => {
  test("no member: 7", async () => {
    const { code, err } = await run("status");
    expect(code).toBe(7);
    expect(err).toContain("MemberUnreachable");
    expect(err).not.toContain("    at ");
  });

  test("no bucket: 4, whatever wants it", async () => {
    for (const args of [
      ["probe"],
      ["verify"],
      ["log", "list"],
      ["snapshot", "list"],
      ["restore", "--to", join(folder, "x")],
      ["run", "--", "true"],
    ]) {
      const { code, err } = await run(...args);
      expect([args, code]).toEqual([args, 4]);
      expect(err).toContain("BucketNotFound");
    }
  });

  test("a stack is only for those who ask", async () => {
    expect((await run("status", "--verbose")).err).toContain("    at ");
  });
});
