import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, expect, jest, test } from "@jest/globals";
import { differences, keys, put, tryPut, untilSame } from "./key-value.js";
import { MemberProcess, until, type MemberOptions } from "./member-process.js";
import { requireMount, SmallDisk } from "./small-disk.js";

jest.setTimeout(180_000);

const ROWS = 12;
/** Twelve of them are more than 8 MiB and less than 64. */
const BIG = "0123456789abcdef".repeat(60_000);

let mountable = false;
let root: string;
let members: MemberProcess[];
let disks: SmallDisk[];

beforeAll(() => {
  const folder = mkdtempSync(join(tmpdir(), "metamaster-e2e-mount-"));
  try {
    mountable = requireMount(folder, "disk full");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "metamaster-e2e-full-"));
  members = [];
  disks = [];
});

afterEach(async () => {
  for (const member of members) await member.end();
  for (const disk of disks) disk.unmount();
  rmSync(root, { recursive: true, force: true });
});

function make(name: string, more: Partial<MemberOptions> = {}): MemberProcess {
  const member = new MemberProcess({ name, root, ...more });
  members.push(member);
  return member;
}

function small(path: string, mebibytes: number): SmallDisk {
  const disk = SmallDisk.mount(path, mebibytes);
  disks.push(disk);
  return disk;
}

async function primary(name: string, more: Partial<MemberOptions> = {}): Promise<MemberProcess> {
  const member = make(name, more);
  member.startKeyValueMaster();
  await member.untilRole("Primary");
  return member;
}

async function putRows(url: string): Promise<readonly string[]> {
  const names = Array.from({ length: ROWS }, (_, row) => `row${String(row).padStart(2, "0")}`);
  for (const name of names) await put(url, name, BIG);
  return names;
}

/** Whoever reads only `metamaster status` learns what is full and what to do. */
async function untilSaidFull(member: MemberProcess): Promise<void> {
  await until(
    `${member.name} says that its disk is full`,
    async () => {
      const { out } = await member.cli("status");
      const path = member.data.replaceAll("/", "\\/");
      const said = new RegExp(`^trouble +Could not .* ${path}/.*: no space is left\\. Free space, or give`, "m");
      return said.test(out) ? true : undefined;
    },
    () => member.said,
  );
}

/** The last of the masters that this member had serves. */
async function untilServes(member: MemberProcess, epoch: number): Promise<string> {
  await until(
    `${member.name}'s master serves epoch ${epoch}`,
    async () =>
      member.said.includes(`kv-master listens`) && member.said.includes(`, epoch ${epoch}\n`) ? true : undefined,
    () => member.said,
  );
  return await member.masterUrl();
}

test("full while following: it stays a standby that says so, and catches up once there is space", async () => {
  if (!mountable) return;
  const alpha = await primary("alpha");
  const beta = make("beta");
  const disk = small(beta.data, 8);
  beta.startKeyValueMaster();
  await beta.untilRole("Standby");
  await putRows(await alpha.masterUrl());
  await untilSaidFull(beta);
  expect((await beta.status())?.["role"]).toBe("Standby");
  expect(beta.said).toContain('"code":"DiskFull"');
  disk.grow(64);
  await untilSame(beta, alpha);
  await until("the trouble is over", async () => ((await beta.status())?.["trouble"] === undefined ? true : undefined));
});

test("full while following, and the primary dies: it takes over only with every acknowledged row", async () => {
  if (!mountable) return;
  const alpha = await primary("alpha");
  const beta = make("beta");
  const disk = small(beta.data, 8);
  beta.startKeyValueMaster();
  await beta.untilRole("Standby");
  const rows = await putRows(await alpha.masterUrl());
  await untilSaidFull(beta);
  await alpha.end();
  const heldUp = (): number => beta.said.split("following is held up").length;
  const before = heldUp();
  await until("it tries again", async () => (heldUp() > before + 1 ? true : undefined));
  expect((await beta.status())?.["role"]).toBe("Standby");
  disk.grow(64);
  await beta.untilRole("Primary");
  expect(await keys(await untilServes(beta, 2))).toEqual(rows);
});

test("full while a new member restores: it goes on by itself, and takes over what it has restored", async () => {
  if (!mountable) return;
  const alpha = await primary("alpha");
  const rows = await putRows(await alpha.masterUrl());
  const beta = make("beta");
  const disk = small(beta.data, 8);
  beta.startKeyValueMaster();
  await untilSaidFull(beta);
  expect((await beta.status())?.["role"]).toBe("Syncing");
  await alpha.end();
  disk.grow(64);
  await beta.untilRole("Primary");
  expect(await keys(await untilServes(beta, 2))).toEqual(rows);
});

test("`metamaster restore` to a full disk fails by name, and the same command goes on once there is space", async () => {
  if (!mountable) return;
  const alpha = await primary("alpha");
  await putRows(await alpha.masterUrl());
  const target = join(root, "target");
  const disk = small(target, 8);
  for (const attempt of ["the first time", "again"]) {
    const failed = await alpha.cli("restore", "--to", target);
    expect([attempt, failed]).toMatchObject([attempt, { code: 1, out: "" }]);
    expect(failed.err).toMatch(new RegExp(`^error: Could not .* ${target}/.*: no space is left\\.$`, "m"));
    expect(failed.err).toMatch(/^ +what to do: Free space, .* a command that is run again goes on where it was\.$/m);
    expect(failed.err).toContain("code: DiskFull");
    // Nobody may take what is half there for a database: what marks it is there, what RocksDB opens first is not.
    expect(existsSync(join(target, ".metamaster/state.json"))).toBe(true);
    expect(existsSync(join(target, "meta/CURRENT"))).toBe(false);
  }
  disk.grow(64);
  expect(await alpha.cli("restore", "--to", target)).toMatchObject({
    code: 0,
    out: expect.stringContaining("restored to slot"),
  });
  expect(existsSync(join(target, ".metamaster"))).toBe(false);
  expect(differences(join(target, "meta"), alpha.database)).toEqual([]);
});

test("full on the primary: nothing is acknowledged falsely, another member takes over, and it comes back with the same files", async () => {
  if (!mountable) return;
  const alpha = make("alpha", { more: "failover:\n  restartGrace: 1s\n" });
  const disk = small(alpha.data, 16);
  alpha.startKeyValueMaster();
  await alpha.untilRole("Primary");
  const beta = make("beta");
  beta.startKeyValueMaster();
  await beta.untilRole("Standby");
  const url = await alpha.masterUrl();
  const acknowledged: string[] = [];
  for (let row = 0; row < 4; row += 1) {
    await put(url, `before${row}`, BIG);
    acknowledged.push(`before${row}`);
  }
  disk.fill();
  // The sidecar needs no space to go on shipping what is there.
  expect(await alpha.cli("checkpoint")).toMatchObject({ code: 0 });
  const refused: string[] = [];
  for (let row = 0; row < 3; row += 1) {
    if ((await tryPut(url, `full${row}`, BIG)) === 200) acknowledged.push(`full${row}`);
    else refused.push(`full${row}`);
  }
  expect(refused).toContain("full2");
  await beta.untilRole("Primary");
  const second = await untilServes(beta, 2);
  expect(alpha.said).toContain("stepping down: the master could not be kept running");
  expect(await keys(second)).toEqual(expect.arrayContaining(acknowledged));
  await put(second, "after", "the failover");
  disk.free();
  await alpha.untilRole("Standby");
  await untilSame(alpha, beta);
});

test("full at the start: ends with 1 and leaves nothing behind; starts once there is space", async () => {
  if (!mountable) return;
  const alpha = make("alpha");
  const disk = small(alpha.data, 8);
  disk.fill();
  const refused = await alpha.cli("run", "--", "true");
  expect(refused).toMatchObject({
    code: 1,
    err: expect.stringMatching(/^error: Could not \S+ .*: no space is left\.$/m),
  });
  expect(refused.err).toContain("code: DiskFull");
  // The folder in which runs are seen from every namespace stays, with nobody in it.
  const left = readdirSync(join(alpha.data, ".metamaster"), { recursive: true });
  expect(left.filter((name) => name !== "alive")).toEqual([]);
  disk.free();
  alpha.startKeyValueMaster();
  await alpha.untilRole("Primary");
  await put(await alpha.masterUrl(), "key", "value");
});

test("full when it would take over: one claim in vain at most, then it leaves the place to others until there is space", async () => {
  if (!mountable) return;
  const alpha = await primary("alpha");
  const beta = make("beta");
  const disk = small(beta.data, 8);
  beta.startKeyValueMaster();
  await beta.untilRole("Standby");
  await put(await alpha.masterUrl(), "key", "value");
  await untilSame(beta, alpha);
  disk.fill();
  await alpha.end();
  await untilSaidFull(beta);
  const heldUp = (): number => beta.said.split("following is held up").length;
  await until(
    "it would have claimed twice more",
    async () => (heldUp() > 2 ? true : undefined),
    () => beta.said,
  );
  // None at all if it had something to save first.
  expect(beta.said.match(/"msg":"claimed epoch \d+"/g)?.length ?? 0).toBeLessThanOrEqual(1);
  expect(await beta.status()).toMatchObject({ role: "Standby", masterRunning: false });
  disk.free();
  const { epoch } = await beta.untilRole("Primary");
  expect(await keys(await untilServes(beta, Number(epoch)))).toEqual(["key"]);
});
