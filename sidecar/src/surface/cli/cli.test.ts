import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { encodeEnd } from "../../formats/end-entry.js";
import { encodeCluster } from "../../log/cluster-identity.js";
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
    [["log", "list", "--limit", "0"], "It must be at least 1."],
    [["log", "show"], "(see: metamaster log show --help)"],
    [["frobnicate"], "(see: metamaster --help)"],
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

const keys = async (): Promise<string[]> =>
  (await readdir(join(folder, "bucket"), { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map(({ name }) => name)
    .toSorted();

describe("purge", () => {
  test("refuses where there is no cluster, unless that is no error", async () => {
    await mkdir(join(folder, "bucket"));
    const { code, err } = await run("purge", "--yes");
    expect([code, err]).toEqual([1, expect.stringContaining("code: HistoryMissing")]);
    const missing = await run("purge", "--yes", "--if-exists");
    expect([missing.code, missing.out]).toEqual([0, expect.stringContaining("nothing to delete")]);
  });

  test("says what it would do; does it with --yes; leaves what is not ours, and says so", async () => {
    await mkdir(join(folder, "bucket", "log"), { recursive: true });
    const uid = "ab".repeat(16);
    const identity = { formatVersion: 1, uid, createdAt: "2026-01-01T00:00:00.000Z" };
    await writeFile(join(folder, "bucket", "cluster.json"), encodeCluster(identity));
    const { bytes } = encodeEnd({ cluster: uid, slot: 0, epoch: 0, previous: "", by: "test", wallTimeMs: 0 });
    await writeFile(join(folder, "bucket", "log", "0".repeat(20)), bytes);
    await writeFile(join(folder, "bucket", "notes.txt"), "x");
    const before = await keys();
    const dry = await run("purge");
    expect([dry.code, await keys()]).toEqual([0, before]);
    expect(dry.out).toMatch(/would delete +2 objects.*\n.*left where they are: 1\n +notes\.txt\n.*with --yes/);
    // As if an earlier run had died while it deleted: nothing is waited for.
    await writeFile(join(folder, "bucket", "cluster.json"), encodeCluster({ ...identity, formatVersion: 2 }));
    const done = await run("purge", "--yes", "--output", "json");
    expect(JSON.parse(done.out)).toMatchObject({ cluster: uid, begunBefore: true, deleted: { objects: 2 } });
    expect(await keys()).toEqual(["notes.txt"]);
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
      ["purge", "--yes"],
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

  test("no data directory: looking at it does not make it", async () => {
    const { code, err } = await run("verify", "--local");
    expect([code, err]).toEqual([2, expect.stringContaining(`There is no data directory ${join(folder, "data")}.`)]);
    await expect(stat(join(folder, "data"))).rejects.toMatchObject({ code: "ENOENT" });
  });

  test("a stack is only for those who ask", async () => {
    expect((await run("status", "--verbose")).err).toContain("    at ");
  });
});
