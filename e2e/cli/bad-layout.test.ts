import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, jest, test } from "@jest/globals";
import { keys, put } from "./key-value.js";
import { MemberProcess, until, type MemberOptions } from "./member-process.js";
import { requireMount, SmallDisk } from "./small-disk.js";

jest.setTimeout(120_000);

let root: string;
let members: MemberProcess[];
let disks: SmallDisk[];

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "metamaster-e2e-layout-"));
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

/** Runs, but starts no master: its status says why, where and what to do. */
async function expectRefused(member: MemberProcess, why: RegExp): Promise<void> {
  member.startKeyValueMaster();
  expect(await member.untilRole("Halted")).toMatchObject({ masterRunning: false, epoch: 0 });
  expect((await member.cli("status")).out).toMatch(why);
}

/** Without a restart. */
async function expectGoesOn(member: MemberProcess): Promise<void> {
  expect(await member.cli("resume", "--reason", "LocalUnusable")).toMatchObject({ code: 0 });
  await member.untilRole("Primary");
  await put(await member.masterUrl(), "key", "value");
}

describe("what hard links can't reach", () => {
  test.each([
    ["a database", "meta", undefined],
    ["its WAL directory", "wal", "wal"],
  ])("%s on another file system than the links' folder", async (_, mounted, walPath) => {
    if (!requireMount(root, "another file system")) return;
    const alpha = make("alpha", { walPath });
    const path = join(alpha.data, mounted);
    const disk = SmallDisk.mount(path, 8);
    disks.push(disk);
    const trouble = new RegExp(
      `^HALTED +LocalUnusable: ${path} is on another file system than ${alpha.data}/.metamaster, [^]*Put the data directory and every database and WAL directory on one`,
      "m",
    );
    await expectRefused(alpha, trouble);
    disk.unmount();
    // The example keeps its WALs beside its tables.
    if (walPath === undefined) await expectGoesOn(alpha);
  });
});

describe("what is in a database's place", () => {
  test("files that are no RocksDB: named, let alone", async () => {
    const alpha = make("alpha");
    const note = join(alpha.database, "notes.txt");
    mkdirSync(alpha.database, { recursive: true });
    writeFileSync(note, "mine");
    await expectRefused(
      alpha,
      new RegExp(
        `^HALTED +LocalUnusable: ${alpha.database} holds no RocksDB database, but other files: notes.txt\\.\\s[^]*Name the directory`,
        "m",
      ),
    );
    expect(readFileSync(note, "utf8")).toBe("mine");
    rmSync(note);
    await expectGoesOn(alpha);
  });

  test("a symbolic link", async () => {
    const alpha = make("alpha");
    mkdirSync(alpha.data);
    mkdirSync(join(root, "elsewhere"));
    symlinkSync(join(root, "elsewhere"), alpha.database);
    await expectRefused(
      alpha,
      new RegExp(
        `^HALTED +LocalUnusable: ${alpha.database}, the directory of the database meta, is a link[^]*Name the real directory`,
        "m",
      ),
    );
    rmSync(alpha.database);
    await expectGoesOn(alpha);
  });
});

test("a wrong path: no write is acknowledged, it is said, and once it is right everything is there", async () => {
  const alpha = make("alpha");
  const config = readFileSync(alpha.config, "utf8");
  writeFileSync(alpha.config, config.replace("path: meta", "path: mate"));
  alpha.startKeyValueMaster();
  await alpha.untilRole("Primary");
  const answer = await fetch(`${await alpha.masterUrl()}/kv/key`, { method: "PUT", body: "value" });
  expect([answer.status, await answer.text()]).toEqual([
    503,
    expect.stringMatching(/barrier refused .*There is no database in .*\/mate yet/),
  ]);
  expect((await alpha.cli("status")).out).toMatch(
    /^trouble +There is no database in \S+\/mate yet \(meta\)\. .*correct `databases\[\]\.path`/m,
  );
  await alpha.stop();
  writeFileSync(alpha.config, config);
  alpha.startKeyValueMaster();
  await until(
    "it leads again",
    async () => ((await alpha.status())?.["epoch"] === 2 ? true : undefined),
    () => alpha.said,
  );
  await until(
    "its master serves",
    async () => (alpha.said.includes(", epoch 2\n") ? true : undefined),
    () => alpha.said,
  );
  await put(await alpha.masterUrl(), "later", "value");
  expect(await keys(await alpha.masterUrl())).toEqual(["key", "later"]);
  const target = join(root, "restored");
  expect(await alpha.cli("restore", "--to", target)).toMatchObject({
    code: 0,
    out: expect.stringContaining("sequence 2"),
  });
});

test("every mistake of a configuration is listed at once, with its line, and nothing is started: 2", async () => {
  const alpha = make("alpha");
  const config = readFileSync(alpha.config, "utf8");
  writeFileSync(
    alpha.config,
    config
      .replace("cluster: test", "cluster: a b")
      .replace("lease: 2s", "lease: 0s")
      .replace("url: file://", "url: ftp://"),
  );
  const refused = await alpha.cli("run", "--", "true");
  expect(refused).toMatchObject({
    code: 2,
    out: "",
    err: expect.stringMatching(/^error: The configuration has 3 problems:$/m),
  });
  expect(refused.err).toMatch(/metamaster\.yaml:1: cluster found "a b"; expected letters/);
  expect(refused.err).toMatch(/metamaster\.yaml:5: bucket\.url found "ftp:\S+"; expected s3:/);
  expect(refused.err).toMatch(/metamaster\.yaml:10: election\.lease found "0s"; expected a duration/);
});
