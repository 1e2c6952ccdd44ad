import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, jest, test } from "@jest/globals";
import { put } from "./key-value.js";
import { MemberProcess, until } from "./member-process.js";

jest.setTimeout(180_000);

let root: string;
let members: MemberProcess[];

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "metamaster-e2e-quarantine-"));
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

function quarantines(member: MemberProcess): string[] {
  const folder = join(member.data, ".metamaster/quarantine");
  return existsSync(folder) ? readdirSync(folder) : [];
}

async function leads(member: MemberProcess, row: string): Promise<void> {
  const { epoch } = await member.untilRole("Primary");
  await until(
    "its master serves",
    async () => (member.said.includes(`, epoch ${String(epoch)}\n`) ? true : undefined),
    () => member.said,
  );
  await put(await member.masterUrl(), row, "1");
}

test("switchovers, and a kill with nothing unshipped: nothing is said to be diverged, nothing is put aside", async () => {
  const [alpha, beta] = [make("alpha"), make("beta")];
  alpha.startKeyValueMaster();
  await leads(alpha, "first");
  beta.startKeyValueMaster();
  await beta.untilRole("Standby");
  expect(await alpha.cli("switchover", "--to", "bete")).toMatchObject({
    code: 1,
    err: expect.stringContaining("the standbys that answer are beta"),
  });
  expect(await alpha.untilRole("Primary")).toMatchObject({ epoch: 1 });
  expect(await alpha.cli("switchover", "--to", "beta")).toMatchObject({ code: 0 });
  await leads(beta, "second");
  await alpha.untilRole("Standby");
  expect(await beta.cli("switchover", "--to", "alpha")).toMatchObject({ code: 0 });
  await leads(alpha, "third");
  await beta.untilRole("Standby");
  alpha.signal("SIGKILL");
  await alpha.ended;
  await leads(beta, "fourth");
  alpha.startKeyValueMaster();
  await alpha.untilRole("Standby");
  expect([quarantines(alpha), quarantines(beta)]).toEqual([[], []]);
  for (const { said } of [alpha, beta]) expect(said).not.toContain("moved to quarantine");
});
