import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, expect, jest, test } from "@jest/globals";
import { keys, put } from "./key-value.js";
import { MemberProcess, until } from "./member-process.js";

jest.setTimeout(180_000);

const ROWS = 40;
const KILLS = 6;

let root: string;
let members: MemberProcess[];

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "metamaster-e2e-from-"));
  members = [];
});

afterEach(async () => {
  for (const member of members) await member.end();
  rmSync(root, { recursive: true, force: true });
});

function make(name: string, bucket: string, more = ""): MemberProcess {
  const member = new MemberProcess({ name, root, bucket: join(root, bucket), more });
  members.push(member);
  return member;
}

const fromA = (): string => ["bootstrapFrom:", `  url: file://${join(root, "a")}`, "  member: beta"].join("\n");

/** Cluster A with rows: its only member. */
async function clusterA(): Promise<{ readonly alpha: MemberProcess; readonly rows: readonly string[] }> {
  const alpha = make("alpha", "a");
  alpha.startKeyValueMaster();
  await alpha.untilRole("Primary");
  const rows = Array.from({ length: ROWS }, (_, index) => `a${String(index).padStart(3, "0")}`);
  for (const row of rows) await put(await alpha.masterUrl(), row, "of A");
  return { alpha, rows };
}

/** Of the master that it has now: an earlier one may have said where it listened, too. */
async function keysOf(member: MemberProcess): Promise<readonly string[]> {
  return await until(
    `the master of ${member.name} answers`,
    async () => await keys(await member.masterUrl()).catch(() => undefined),
    () => member.said,
  );
}

async function untilSays(member: MemberProcess, words: RegExp): Promise<void> {
  await until(
    `the status of ${member.name} says ${String(words)}`,
    async () => (words.test((await member.cli("status")).out) ? true : undefined),
    () => member.said,
  );
}

test("a cluster begins with another's state; both live on apart, and who comes later follows the new one", async () => {
  const { alpha, rows } = await clusterA();
  const [gamma, beta] = [make("gamma", "b", fromA()), make("beta", "b", fromA())];
  gamma.startKeyValueMaster();
  await gamma.untilRole("Standby");
  beta.startKeyValueMaster();
  await beta.untilRole("Primary");
  expect(await keysOf(beta)).toEqual(rows);
  await put(await beta.masterUrl(), "b", "of B");
  await put(await alpha.masterUrl(), "a-later", "of A");
  await gamma.untilRole("Standby");
  await beta.end();
  await gamma.untilRole("Primary");
  expect(await keysOf(gamma)).toEqual([...rows, "b"]);
  expect(await keysOf(alpha)).toEqual(["a-later", ...rows].toSorted());
  // A history that is there is never begun again, whatever becomes of the source and of the volume.
  await alpha.end();
  rmSync(join(root, "a"), { recursive: true });
  rmSync(beta.data, { recursive: true });
  beta.startKeyValueMaster();
  await beta.untilRole("Standby");
  await gamma.end();
  await beta.untilRole("Primary");
  expect(await keysOf(beta)).toEqual([...rows, "b"]);
});

test("killed while it begins, again and again, it begins with everything in the end", async () => {
  const { rows } = await clusterA();
  const beta = make("beta", "b", fromA());
  for (let kill = 1; kill <= KILLS; kill++) {
    beta.startKeyValueMaster();
    await sleep(kill * 120);
    await beta.end();
  }
  beta.startKeyValueMaster();
  await beta.untilRole("Primary");
  expect(await keysOf(beta)).toEqual(rows);
  expect(existsSync(join(beta.data, ".metamaster/seed"))).toBe(false);
});

test("a source that is empty is waited for: nothing is begun in its place", async () => {
  mkdirSync(join(root, "a"));
  const beta = make("beta", "b", fromA());
  beta.startKeyValueMaster();
  await untilSays(beta, /There is no cluster in file:.*nothing else is begun in its place/s);
  expect(await beta.status()).toMatchObject({ role: "Syncing", masterRunning: false, epoch: 0 });
  const { rows } = await clusterA();
  await beta.untilRole("Primary");
  const found = await keysOf(beta);
  // As much as was durable when it was looked at again.
  expect(rows.slice(0, found.length)).toEqual(found);
});

test("emptied before anything was in its bucket, the member that is to begin says why it waits; told to, it fetches again", async () => {
  const { rows } = await clusterA();
  const beta = make("beta", "b", fromA());
  beta.startKeyValueMaster();
  await beta.untilRole("Primary");
  await beta.end();
  rmSync(join(root, "b"), { recursive: true });
  mkdirSync(join(root, "b"));
  rmSync(beta.database, { recursive: true });
  const own = join(beta.data, ".metamaster");
  for (const name of readdirSync(own)) if (name !== "seeded.json") rmSync(join(own, name), { recursive: true });
  beta.startKeyValueMaster();
  await untilSays(beta, /held the state of file:.*once.*no database any more.*remove .*seeded\.json/s);
  expect(await beta.status()).toMatchObject({ role: "Syncing", masterRunning: false, epoch: 0 });
  rmSync(join(own, "seeded.json"));
  await beta.untilRole("Primary");
  expect(await keysOf(beta)).toEqual(rows);
});

test("databases that are there already are neither overwritten nor taken for the other cluster's", async () => {
  await clusterA();
  const beta = make("beta", "b", fromA());
  mkdirSync(beta.database, { recursive: true });
  writeFileSync(join(beta.database, "CURRENT"), "MANIFEST-000001\n");
  beta.startKeyValueMaster();
  await beta.untilRole("Halted");
  expect(beta.said).toMatch(
    /data\/meta\/CURRENT already, but this cluster is to begin with file:.*Use an empty data directory/,
  );
});

test.each([
  ["its own prefix", (own: string) => own, "is, holds or lies in `bucket.url`"],
  ["a prefix within its own", (own: string) => `${own}/inner`, "is, holds or lies in `bucket.url`"],
  ["another kind of store", () => "s3://bucket/prefix", "must be in the same store"],
])("%s is no source", async (_what, source, told) => {
  const own = join(root, "b");
  const beta = make("beta", "b", `bootstrapFrom:\n  url: ${source(`file://${own}`)}\n  member: beta`);
  expect((await beta.cli("config", "validate")).err).toContain(told);
});
