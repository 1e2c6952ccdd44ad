import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, jest, test } from "@jest/globals";
import { put } from "./key-value.js";
import { MemberProcess, until } from "./member-process.js";

jest.setTimeout(180_000);

let root: string;
let members: MemberProcess[];

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "metamaster-e2e-halts-"));
  members = [];
});

afterEach(async () => {
  for (const member of members) await member.end();
  rmSync(root, { recursive: true, force: true });
});

function make(name: string, bucket = join(root, "bucket")): MemberProcess {
  const member = new MemberProcess({ name, root, bucket });
  members.push(member);
  return member;
}

/** A member that was primary and has ended; its last row is in the bucket. */
async function hasServed(member: MemberProcess): Promise<void> {
  member.startKeyValueMaster();
  await member.untilRole("Primary");
  await put(await member.masterUrl(), "row", "1");
  await member.stop();
}

/** Its configuration with another text in the place of one; gives back what undoes it. */
function reconfigure(member: MemberProcess, from: string, to: string): () => void {
  const before = readFileSync(member.config, "utf8");
  expect(before).toContain(from);
  writeFileSync(member.config, before.replaceAll(from, to));
  return () => writeFileSync(member.config, before);
}

async function get(member: MemberProcess, path: string): Promise<{ status: number; text: string }> {
  const { url } = JSON.parse(readFileSync(join(member.data, ".metamaster/http.json"), "utf8")) as { url: string };
  const answer = await fetch(`${url}${path}`);
  return { status: answer.status, text: await answer.text() };
}

async function expectHaltShown(member: MemberProcess, reason: string, code: string): Promise<void> {
  const status = await member.untilRole("Halted");
  expect(status["halt"]).toMatchObject({ reason, code, remedy: expect.stringContaining("resume") });
  expect(await member.cli("status")).toMatchObject({ code: 3, out: expect.stringContaining(`HALTED     ${reason}`) });
  expect(await get(member, "/healthz")).toMatchObject({ status: 200, text: expect.stringContaining(`${reason}: `) });
  expect(await get(member, "/readyz")).toMatchObject({ status: 503, text: expect.stringContaining(`${reason}: `) });
  expect((await get(member, "/metrics")).text).toContain(`metamaster_halted{reason="${reason}"} 1`);
  expect((await get(member, "/metrics")).text).toContain('metamaster_role{role="Halted"} 1');
}

/** A primary that serves, without anybody having said `resume`. */
async function expectServes(member: MemberProcess, epoch: number): Promise<void> {
  const status = await member.untilRole("Primary");
  expect(status).toMatchObject({ epoch });
  expect(status["halt"]).toBeUndefined();
}

test("the bucket of another cluster: stands still and says so, until the configuration is mended", async () => {
  const [alpha, other] = [make("alpha"), make("other", join(root, "bucket2"))];
  await hasServed(alpha);
  await hasServed(other);
  const mend = reconfigure(alpha, `file://${join(root, "bucket")}`, `file://${join(root, "bucket2")}`);
  alpha.startKeyValueMaster();
  await expectHaltShown(alpha, "ForeignCluster", "ForeignCluster");
  // Resumed with the cause still there it halts again, and whoever names another reason isn't heard.
  expect(await alpha.cli("resume", "--reason", "LogGap")).toMatchObject({
    err: expect.stringContaining("ResumeReasonMismatch"),
  });
  const { roleVersion } = await alpha.untilRole("Halted");
  expect(await alpha.cli("resume", "--reason", "ForeignCluster")).toMatchObject({ code: 0 });
  await until("it halts again", async () => {
    const status = await alpha.status();
    return status?.["role"] === "Halted" && Number(status["roleVersion"]) > Number(roleVersion) ? true : undefined;
  });
  expect(await alpha.stop()).toEqual({ code: 0, signal: null });
  mend();
  alpha.startKeyValueMaster();
  await expectServes(alpha, 2);
});

test("an emptied prefix: stands still, goes on once the history is back and it is resumed", async () => {
  const alpha = make("alpha");
  await hasServed(alpha);
  const [bucket, aside] = [join(root, "bucket"), join(root, "aside")];
  renameSync(bucket, aside);
  mkdirSync(bucket);
  alpha.startKeyValueMaster();
  await expectHaltShown(alpha, "ForeignCluster", "ClusterMissing");
  rmSync(bucket, { recursive: true });
  renameSync(aside, bucket);
  expect(await alpha.cli("resume", "--reason", "ForeignCluster")).toMatchObject({ code: 0 });
  await expectServes(alpha, 2);
});

test("a database that the configuration doesn't name: mending it and a restart are enough", async () => {
  const alpha = make("alpha");
  await hasServed(alpha);
  const mend = reconfigure(alpha, "name: meta", "name: renamed");
  alpha.startKeyValueMaster();
  await expectHaltShown(alpha, "DatabaseNotConfigured", "DatabaseNotConfigured");
  await alpha.stop();
  // As long as it is wrong it is halted after every start.
  alpha.startKeyValueMaster();
  await expectHaltShown(alpha, "DatabaseNotConfigured", "DatabaseNotConfigured");
  await alpha.stop();
  mend();
  alpha.startKeyValueMaster();
  await expectServes(alpha, 2);
});

test("a directory of other files: not tried for ever", async () => {
  const alpha = make("alpha");
  mkdirSync(alpha.database, { recursive: true });
  writeFileSync(join(alpha.database, "thesis.odt"), "not a database");
  alpha.startKeyValueMaster();
  await expectHaltShown(alpha, "LocalUnusable", "NotRocksDb");
  expect(alpha.said).toContain("thesis.odt");
  await alpha.stop();
  expect(readFileSync(join(alpha.database, "thesis.odt"), "utf8")).toBe("not a database");
  rmSync(join(alpha.database, "thesis.odt"));
  alpha.startKeyValueMaster();
  await expectServes(alpha, 1);
});
