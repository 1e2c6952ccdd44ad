import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, jest, test } from "@jest/globals";
import { MemberProcess, until, type MemberOptions } from "./member-process.js";

jest.setTimeout(120_000);

let root: string;
let members: MemberProcess[];

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "metamaster-e2e-cli-"));
  members = [];
});

afterEach(async () => {
  for (const member of members) await member.end();
  rmSync(root, { recursive: true, force: true });
});

function make(name: string, more: Partial<MemberOptions> = {}): MemberProcess {
  const member = new MemberProcess({ name, root, ...more });
  members.push(member);
  return member;
}

async function put(url: string, key: string, value: string): Promise<void> {
  const answer = await fetch(`${url}/kv/${key}`, { method: "PUT", body: value });
  expect([answer.status, await answer.text()]).toEqual([200, `${JSON.stringify({ key })}\n`]);
}

async function rows(url: string): Promise<unknown> {
  return ((await (await fetch(`${url}/list`)).json()) as { rows: unknown }).rows;
}

/** The newest WAL entry that holds rows, as `log show` tells of it. */
async function expectWalShown(member: MemberProcess): Promise<void> {
  const listed = await member.cli("log", "list", "--limit", "100", "-o", "json");
  const entries = JSON.parse(listed.out) as { slot: number; sequences: unknown[] }[];
  const slot = entries.findLast(({ sequences }) => sequences.length > 0)?.slot ?? -1;
  const shown = await member.cli("log", "show", String(slot), "-o", "json");
  const { operations } = JSON.parse(shown.out) as { operations: { type: string; wal?: object }[] };
  expect(operations.find(({ wal }) => wal !== undefined)?.wal).toMatchObject({
    batches: expect.any(Number) as unknown,
    sequences: { first: expect.stringMatching(/^\d+$/) as unknown },
    kinds: { put: expect.any(Number) as unknown },
    columnFamilies: [{ id: 0 }],
    incomplete: null,
  });
  const text = await member.cli("log", "show", String(slot));
  expect(text.out).toMatch(/^ +\d+ batch(es)?, \d+ operations?, sequences \d+-\d+\n +put \d+$/m);
}

/** A master that needs no RocksDB to be started, stopped and killed. */
const sleeper = (onTerm: string): string[] => [
  "/bin/sh",
  "-c",
  `trap '${onTerm}' TERM; echo sleeper $$; while :; do sleep 0.05; done`,
];

async function sleeperPid(member: MemberProcess): Promise<number> {
  return Number(
    await until(
      "the sleeper says its pid",
      async () => /^sleeper (\d+)$/m.exec(member.said)?.[1],
      () => member.said,
    ),
  );
}

/** Not a zombie that nobody has reaped yet. */
function alive(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, "latin1"));
  } catch {
    return false;
  }
}

test("a member from the first write to a restore, by the command line alone", async () => {
  const alpha = make("alpha");
  alpha.startKeyValueMaster();
  await alpha.untilRole("Primary");
  const url = await alpha.masterUrl();
  for (let i = 0; i < 20; i += 1) await put(url, `key${i}`, `value${i}`);
  expect(await alpha.cli("checkpoint")).toMatchObject({
    code: 0,
    out: expect.stringContaining("checkpoint durable at slot"),
  });
  await put(url, "last", "after the checkpoint");

  expect((await alpha.cli("status")).out).toMatch(/role +Primary since/);
  expect(await alpha.cli("probe")).toMatchObject({ code: 0, out: expect.stringContaining("is safe to use") });
  expect((await alpha.cli("log", "list", "--from", "0", "--limit", "1")).out).toMatch(/^0 +1 +claim +alpha/m);
  expect((await alpha.cli("log", "show", "0")).out).toMatch(/kind +claim/);
  await expectWalShown(alpha);
  const snapshots = JSON.parse((await alpha.cli("snapshot", "list", "-o", "json")).out) as { slot: number }[];
  expect(snapshots.length).toBeGreaterThanOrEqual(2);
  expect((await alpha.cli("snapshot", "show", String(snapshots.at(-1)?.slot))).out).toContain("meta/CURRENT");
  expect(await alpha.cli("verify", "--deep")).toMatchObject({
    code: 0,
    out: expect.stringContaining("whole: everything"),
  });

  const target = join(root, "restored");
  const restored = await alpha.cli("restore", "--to", target);
  expect(restored).toMatchObject({ code: 0, out: expect.stringContaining("restored to slot") });
  expect(readdirSync(target)).toEqual(["meta"]);
  expect(await alpha.cli("restore", "--to", target)).toMatchObject({
    code: 1,
    err: expect.stringContaining("TargetNotEmpty"),
  });
  expect(await alpha.cli("restore", "--to", join(alpha.data, "x"))).toMatchObject({
    code: 1,
    err: expect.stringContaining("TargetNotEmpty"),
  });
  expect(await alpha.cli("restore", "--to", "/proc/x")).toMatchObject({
    code: 1,
    err: expect.stringContaining("/proc/x"),
  });
  const early = JSON.parse(
    (await alpha.cli("restore", "--to", join(root, "early"), "--slot", "1", "-o", "json")).out,
  ) as { position: { slot: number } };
  expect(early.position.slot).toBe(1);

  // The restored directory is another cluster's beginning: its rows are all there.
  const beta = make("beta", { bucket: join(root, "bucket2"), more: "bootstrap: adopt\n" });
  execFileSync("cp", ["-r", target, beta.data]);
  beta.startKeyValueMaster();
  await beta.untilRole("Primary");
  const all = (await rows(await beta.masterUrl())) as string[][];
  expect(all).toHaveLength(21);
  expect(all).toContainEqual(["last", "after the checkpoint"]);

  expect(await alpha.stop()).toEqual({ code: 0, signal: null });
  expect(await alpha.cli("status")).toMatchObject({ code: 7 });
});

test("a switchover, a kill and a return keep every acknowledged row", async () => {
  const [alpha, beta] = [make("alpha"), make("beta")];
  alpha.startKeyValueMaster();
  await alpha.untilRole("Primary");
  await put(await alpha.masterUrl(), "one", "1");
  beta.startKeyValueMaster();
  await beta.untilRole("Standby");
  expect(await beta.cli("checkpoint")).toMatchObject({ code: 6, err: expect.stringContaining("NotPrimary") });
  expect(await alpha.cli("switchover", "--to", "beta")).toMatchObject({
    code: 0,
    out: expect.stringContaining("beta is primary in epoch 2"),
  });
  await beta.untilRole("Primary");
  await put(await beta.masterUrl(), "two", "2");
  await alpha.untilRole("Standby");
  await beta.end();
  await until(
    "alpha is primary again",
    async () => ((await alpha.status())?.["epoch"] === 3 ? true : undefined),
    () => alpha.said,
  );
  await alpha.untilRole("Primary");
  await until(
    "its master serves",
    async () => ((alpha.said.match(/kv-master listens/g)?.length ?? 0) >= 2 ? true : undefined),
    () => alpha.said,
  );
  await put(await alpha.masterUrl(), "three", "3");
  beta.startKeyValueMaster();
  await beta.untilRole("Standby");
  expect(await rows(await alpha.masterUrl())).toEqual([
    ["one", "1"],
    ["three", "3"],
    ["two", "2"],
  ]);
});

describe("the end of a run", () => {
  test("SIGTERM ends the master first and keeps its exit code; what it was told on the way is in its environment", async () => {
    const alpha = make("alpha");
    alpha.start(
      "/bin/sh",
      "-c",
      "trap 'exit 7' TERM; echo told $METAMASTER_EPOCH $METAMASTER_MEMBER $METAMASTER_CLUSTER $METAMASTER_URL; while :; do sleep 0.05; done",
    );
    await until(
      "the master runs",
      async () => (/told 1 alpha test http:\/\/127\.0\.0\.1:\d+/.test(alpha.said) ? true : undefined),
      () => alpha.said,
    );
    expect(await alpha.stop()).toEqual({ code: 7, signal: null });
  });

  test("a master that ignores SIGTERM is killed once a second signal comes", async () => {
    const alpha = make("alpha", { more: "stop:\n  grace: 10m\n" });
    alpha.start(...sleeper(":"));
    const pid = await sleeperPid(alpha);
    alpha.signal("SIGTERM");
    await until("it is stopping", async () => (alpha.said.includes("SIGTERM: stopping") ? true : undefined));
    expect(alive(pid)).toBe(true);
    alpha.signal("SIGINT");
    const { code } = (await alpha.ended) ?? { code: undefined };
    expect([0, 8]).toContain(code);
    expect(alive(pid)).toBe(false);
  });

  test("SIGKILL of the sidecar is the end of the master, too", async () => {
    const alpha = make("alpha");
    alpha.start(...sleeper("exit 0"));
    const pid = await sleeperPid(alpha);
    await alpha.end();
    await until("the watchdog ended the master", async () => (alive(pid) ? undefined : true));
    // The directory's lock and what http.json says are of a process that is gone: neither is in the way.
    expect(await alpha.cli("status")).toMatchObject({ code: 7 });
    alpha.start(...sleeper("exit 0"));
    await alpha.untilRole("Primary");
  });

  test("a standby that is stopped ends with 0", async () => {
    const [alpha, beta] = [make("alpha"), make("beta")];
    alpha.start(...sleeper("exit 0"));
    await alpha.untilRole("Primary");
    beta.start(...sleeper("exit 0"));
    await beta.untilRole("Standby");
    expect(await beta.stop()).toEqual({ code: 0, signal: null });
    expect(beta.said).not.toContain("sleeper");
  });
});

describe("what is in the way of a start", () => {
  test("the same directory twice: 10", async () => {
    const alpha = make("alpha");
    alpha.start(...sleeper("exit 0"));
    await alpha.untilRole("Primary");
    const again = await alpha.cli("run", "--", "true");
    expect(again).toMatchObject({ code: 10, err: expect.stringContaining("DirectoryInUse") });
    expect(again.err).toContain(String(alpha.pid));
    // The second one's end takes nothing of the first one's away.
    expect((await alpha.status())?.["role"]).toBe("Primary");
  });

  test("a port in use: 10, and it says how to get another", async () => {
    const alpha = make("alpha");
    alpha.start(...sleeper("exit 0"));
    await alpha.untilRole("Primary");
    const { url } = JSON.parse(readFileSync(join(alpha.data, ".metamaster/http.json"), "utf8")) as { url: string };
    const beta = make("beta", { address: new URL(url).host });
    expect(await beta.cli("run", "--", "true")).toMatchObject({ code: 10, err: expect.stringMatching(/AddressInUse/) });
  });

  test("a data directory of another cluster halts it, with both clusters' names", async () => {
    const alpha = make("alpha");
    alpha.start(...sleeper("exit 0"));
    await alpha.untilRole("Primary");
    await alpha.stop();
    const other = make("other", { bucket: join(root, "bucket2") });
    other.start(...sleeper("exit 0"));
    await other.untilRole("Primary");
    await other.stop();
    writeFileSync(alpha.config, readFileSync(alpha.config, "utf8").replace(`${root}/bucket`, `${root}/bucket2`));
    const uidOf = (bucket: string): string =>
      String((JSON.parse(readFileSync(join(root, bucket, "cluster.json"), "utf8")) as { uid: unknown }).uid);
    alpha.start(...sleeper("exit 0"));
    await alpha.untilRole("Halted");
    const { code, out } = await alpha.cli("status");
    expect(code).toBe(3);
    for (const text of ["ForeignCluster", uidOf("bucket"), uidOf("bucket2")]) expect(out).toContain(text);
  });

  test("databases without a history halt it until somebody decides: 3", async () => {
    const alpha = make("alpha");
    mkdirSync(alpha.database, { recursive: true });
    writeFileSync(join(alpha.database, "CURRENT"), "MANIFEST-000001\n");
    writeFileSync(join(alpha.database, "MANIFEST-000001"), "");
    alpha.start(...sleeper("exit 0"));
    await alpha.untilRole("Halted");
    const status = await alpha.cli("status");
    expect(status).toMatchObject({ code: 3, out: expect.stringContaining("AdoptionRefused") });
    expect(await alpha.cli("resume", "--reason", "LogGap")).toMatchObject({
      code: 1,
      err: expect.stringContaining("ResumeReasonMismatch"),
    });
    rmSync(alpha.database, { recursive: true });
    expect(await alpha.cli("resume", "--reason", "AdoptionRefused")).toMatchObject({ code: 0 });
    await alpha.untilRole("Primary");
  });
});

test("a damaged bucket is found by verify, named, and is 5", async () => {
  const alpha = make("alpha");
  alpha.startKeyValueMaster();
  await alpha.untilRole("Primary");
  const url = await alpha.masterUrl();
  await put(url, "key", "value");
  await alpha.stop();
  alpha.startKeyValueMaster();
  await alpha.untilRole("Primary");
  expect(await alpha.cli("checkpoint")).toMatchObject({ code: 0 });
  expect(await alpha.cli("verify", "--local")).toMatchObject({ err: expect.stringContaining("DirectoryInUse") });
  await alpha.stop();
  expect(await alpha.cli("verify", "--local")).toMatchObject({ code: 0, out: expect.stringContaining("whole: it is") });
  const tables = execFileSync("find", [join(root, "bucket"), "-path", "*tables*", "-name", "*.sst-*"], {
    encoding: "utf8",
  })
    .trim()
    .split("\n");
  const [table = ""] = tables;
  expect(table).toContain(".sst-");
  const bytes = readFileSync(table);
  bytes[10] = (bytes[10] ?? 0) ^ 1;
  writeFileSync(table, bytes);
  expect(await alpha.cli("verify")).toMatchObject({ code: 0 });
  expect(await alpha.cli("verify", "--deep")).toMatchObject({
    code: 5,
    out: expect.stringMatching(/PROBLEM tables\/.*another sha256/),
  });
  rmSync(table);
  expect(await alpha.cli("verify")).toMatchObject({ code: 5, out: expect.stringMatching(/PROBLEM tables\/.*missing/) });
});

test("status says when the process was started, before it had loaded anything", async () => {
  const alpha = make("alpha");
  const beforeMs = Date.now();
  alpha.start(...sleeper("exit 0"));
  const { started } = await alpha.untilRole("Primary");
  const [line = ""] = alpha.said.split("\n");
  const { time } = JSON.parse(line) as { time: string };
  // The two clocks are read one after the other.
  expect(Date.parse(String(started))).toBeGreaterThan(beforeMs - 1000);
  expect(Date.parse(String(started))).toBeLessThan(Date.parse(time));
});
