import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, jest, test } from "@jest/globals";
import { BucketFolder, type DamageKind } from "./damage.js";
import { differences, put, untilSame } from "./key-value.js";
import { MemberProcess, until } from "./member-process.js";

jest.setTimeout(300_000);

let root: string;
let bucket: BucketFolder;
let members: MemberProcess[];

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "metamaster-e2e-damaged-"));
  bucket = new BucketFolder(join(root, "bucket"));
  members = [];
});

afterEach(async () => {
  for (const member of members) await member.end();
  rmSync(root, { recursive: true, force: true });
});

function make(name: string): MemberProcess {
  const member = new MemberProcess({ name, root });
  members.push(member);
  return member;
}

async function serves(member: MemberProcess, epoch: number): Promise<string> {
  member.startKeyValueMaster();
  await member.untilRole("Primary");
  await until(
    "its master serves",
    async () => (member.said.includes(`, epoch ${epoch}\n`) ? true : undefined),
    () => member.said,
  );
  return await member.masterUrl();
}

/** A primary whose second run made tables, with entries behind its last snapshot; and a standby that has seen only the first run. */
async function cluster(): Promise<{
  readonly alpha: MemberProcess;
  readonly beta: MemberProcess;
  readonly url: string;
}> {
  const [alpha, beta] = [make("alpha"), make("beta")];
  const first = await serves(alpha, 1);
  for (let row = 0; row < 5; row += 1) await put(first, `first${row}`, "1");
  beta.startKeyValueMaster();
  await beta.untilRole("Standby");
  await beta.stop();
  await alpha.stop();
  const second = await serves(alpha, 2);
  await put(second, "second", "2");
  expect(await alpha.cli("checkpoint")).toMatchObject({ code: 0 });
  for (let row = 0; row < 3; row += 1) await put(second, `behind${row}`, "3");
  return { alpha, beta, url: second };
}

function slotOf(key: string): number {
  return Number(key.slice(-20));
}

/** An entry that holds rows, behind every snapshot and behind `slot`, with others behind it. */
async function entryBehindSnapshots(alpha: MemberProcess, slot = -1): Promise<string> {
  const newest = Math.max(slot, slotOf((bucket.keys("snapshots").at(-1) ?? "").replace(".json", "")));
  const listed = await alpha.cli("log", "list", "--from", String(newest + 1), "-o", "json");
  const entries = JSON.parse(listed.out) as { slot: number; sequences: unknown[] }[];
  const wal = entries.filter(({ sequences }) => sequences.length > 0);
  expect(wal.length).toBeGreaterThan(1);
  return `log/${String(wal[0]?.slot).padStart(20, "0")}`;
}

interface Expected {
  readonly reason: string;
  readonly code: string;
}

/** What `run`, `status`, `restore`, `verify` and `resume` say and do about one damaged object that a standby needs. */
async function expectHalt(key: string, kind: DamageKind, { reason, code }: Expected): Promise<void> {
  const [alpha, beta] = members;
  if (alpha === undefined || beta === undefined) throw new Error("there are two");
  const putBack = bucket.damage(key, kind);
  beta.startKeyValueMaster();
  await beta.untilRole("Halted");
  const told = await beta.cli("status");
  const halted = new RegExp(`^HALTED +${reason}: .*${key}`, "m");
  expect(told).toMatchObject({ code: 3, out: expect.stringMatching(halted) });
  expect(told.out).toMatch(/^ +what to do: .*[Bb]ring the object back.*resume\.$/m);

  const target = join(root, `restored-${kind}`);
  const restored = await alpha.cli("restore", "--to", target);
  expect(restored).toMatchObject({ code: 5, err: expect.stringContaining(key) });
  expect(restored.err).toMatch(/^ +what to do: .*[Bb]ring (the object|it) back/m);
  expect(restored.err).toContain(`code: ${code} `);
  if (kind !== "missing") expect(restored.err).toContain("once more");
  expect(existsSync(join(target, "meta/CURRENT"))).toBe(false);
  expect(await alpha.cli("verify", "--deep")).toMatchObject({ code: 5, out: expect.stringContaining("PROBLEM") });
  expect((await beta.status())?.["role"]).toBe("Halted");
  expect((await alpha.status())?.["role"]).toBe("Primary");

  putBack();
  expect(await beta.cli("resume", "--reason", reason)).toMatchObject({ code: 0 });
  await beta.untilRole("Standby");
  await untilSame(beta, alpha);
  expect(await alpha.cli("restore", "--to", target)).toMatchObject({ code: 0 });
  await beta.stop();
}

const kinds = ["flipped", "truncated", "missing"] as const;

test("an entry behind every snapshot: halted by name, what is before it can be restored, goes on once it is back", async () => {
  const { alpha, url } = await cluster();
  let seen = -1;
  for (const kind of kinds) {
    const key = await entryBehindSnapshots(alpha, seen);
    const gone = kind === "missing";
    await expectHalt(
      key,
      kind,
      gone ? { reason: "LogGap", code: "LogGap" } : { reason: "CorruptHistory", code: "EntryCorrupt" },
    );
    seen = slotOf(bucket.keys("log").at(-1) ?? "");
    await put(url, kind, "1");
    await put(url, kind, "2");
  }
  const key = await entryBehindSnapshots(alpha, seen);
  const slot = slotOf(key) - 1;
  bucket.damage(key, "flipped");
  const target = join(root, "before");
  expect(await alpha.cli("restore", "--to", target, "--slot", String(slot))).toMatchObject({
    code: 0,
    out: expect.stringContaining(`restored to slot ${slot} `),
  });
});

test.each(["flipped", "missing"] as const)(
  "a table, %s: halted by name, never used, goes on once it is back",
  async (kind) => {
    await cluster();
    const [key = ""] = bucket.keys("tables", /\.sst-/);
    const code = kind === "missing" ? "TableMissing" : "TableCorrupt";
    await expectHalt(key, kind, { reason: "CorruptHistory", code });
  },
);

test("a snapshot: an older one is used, and it is said", async () => {
  const { alpha, beta } = await cluster();
  const key = bucket.keys("snapshots").at(-1) ?? "";
  for (const kind of ["flipped", "truncated"] as const) {
    const putBack = bucket.damage(key, kind);
    const target = join(root, kind);
    const restored = await alpha.cli("restore", "--to", target);
    expect(restored).toMatchObject({
      code: 0,
      err: expect.stringMatching(new RegExp(`${key} .*An older snapshot is used`)),
    });
    expect(differences(join(target, "meta"), alpha.database)).toEqual([]);
    expect(await alpha.cli("verify")).toMatchObject({ code: 5, out: expect.stringContaining(`PROBLEM snapshots/`) });
    putBack();
  }
  bucket.damage(key, "flipped");
  rmSync(beta.data, { recursive: true });
  beta.startKeyValueMaster();
  await beta.untilRole("Standby");
  await untilSame(beta, alpha);
  expect(beta.said).toContain("An older snapshot is used");
});

test("an object that holds the beginning of a MANIFEST: a restore that needs it fails by name", async () => {
  const { alpha } = await cluster();
  const [key = ""] = bucket.keys("tables", /MANIFEST-\d+-/);
  const slots = bucket.keys("snapshots").map((name) => slotOf(name.replace(".json", "")));
  const shown = await Promise.all(slots.map((slot) => alpha.cli("snapshot", "show", String(slot), "-o", "json")));
  const slot = slots.find((_, index) => shown[index]?.out.includes(key));
  expect([key, slot]).toEqual([expect.stringMatching(/^tables/), expect.any(Number)]);
  for (const kind of kinds) {
    const putBack = bucket.damage(key, kind);
    const restore = (): ReturnType<MemberProcess["cli"]> =>
      alpha.cli("restore", "--to", join(root, kind), "--slot", String(slot));
    const refused = await restore();
    expect(refused).toMatchObject({ code: 5, err: expect.stringContaining(key) });
    expect(refused.err).toMatch(/^ +what to do: .*[Bb]ring (the object|it) back/m);
    expect(existsSync(join(root, kind, "meta/CURRENT"))).toBe(false);
    putBack();
    expect(await restore()).toMatchObject({ code: 0 });
  }
});

test("a later release's entry halts a member; a later release's prefix is refused at the start", async () => {
  const alpha = make("alpha");
  await serves(alpha, 1);
  await alpha.stop();
  const last = bucket.keys("log").at(-1) ?? "";
  const next = bucket.file(`log/${String(slotOf(last) + 1).padStart(20, "0")}`);
  const bytes = readFileSync(bucket.file(last));
  bytes.writeUInt16LE(2, 4);
  createHash("sha256")
    .update(bytes.subarray(0, -32))
    .digest()
    .copy(bytes, bytes.length - 32);
  writeFileSync(next, bytes);
  alpha.startKeyValueMaster();
  await alpha.untilRole("Halted");
  expect(await alpha.cli("status")).toMatchObject({
    code: 3,
    out: expect.stringMatching(/^HALTED +FormatTooNew: [^]*what to do: Upgrade this member, then resume\./m),
  });
  rmSync(next);
  expect(await alpha.cli("resume", "--reason", "FormatTooNew")).toMatchObject({ code: 0 });
  await alpha.untilRole("Primary");
  await alpha.stop();

  const file = bucket.file("cluster.json");
  const known = readFileSync(file, "utf8");
  const identity = JSON.parse(known) as Record<string, unknown>;
  const { uid, createdAt } = identity;
  const sha256 = createHash("sha256")
    .update(`3\n${String(uid)}\n${String(createdAt)}\n`)
    .digest("hex");
  writeFileSync(file, JSON.stringify({ ...identity, formatVersion: 3, sha256 }));
  for (const args of [["restore", "--to", join(root, "restored")], ["verify"]]) {
    expect(await alpha.cli(...args)).toMatchObject({
      code: 1,
      err: expect.stringMatching(/has format 3, this release knows up to 1\.\n +what to do: Upgrade this member/),
    });
  }
  // A member stands still, and goes on by itself once another release is started in its place (here: the file is what it was).
  alpha.startKeyValueMaster();
  await alpha.untilRole("Halted");
  expect(await alpha.cli("status")).toMatchObject({
    code: 3,
    out: expect.stringMatching(/^HALTED +FormatTooNew: [^]*has format 3, this release knows up to 1/m),
  });
  await alpha.stop();
  writeFileSync(file, known);
  alpha.startKeyValueMaster();
  await alpha.untilRole("Primary");
});
