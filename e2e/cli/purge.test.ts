import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, jest, test } from "@jest/globals";
import { BucketFolder } from "./damage.js";
import { put } from "./key-value.js";
import { MemberProcess } from "./member-process.js";

jest.setTimeout(300_000);

let root: string;
let bucket: BucketFolder;
let members: MemberProcess[];

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "metamaster-e2e-purge-"));
  bucket = new BucketFolder(join(root, "bucket"));
  members = [];
});

afterEach(async () => {
  for (const member of members) {
    member.signal("SIGCONT");
    await member.end();
  }
  rmSync(root, { recursive: true, force: true });
});

async function started(name: string, role: string): Promise<MemberProcess> {
  const member = new MemberProcess({ name, root });
  members.push(member);
  member.startKeyValueMaster();
  await member.untilRole(role);
  return member;
}

test("a cluster whose members run, or sleep: refused; by force they are fenced, halt, and begin nothing in what is left", async () => {
  const alpha = await started("alpha", "Primary");
  const beta = await started("beta", "Standby");
  const gamma = await started("gamma", "Standby");
  const url = await alpha.masterUrl();
  await put(url, "row", "1");
  const refused = await alpha.cli("purge", "--yes");
  expect([refused.code, refused.err]).toEqual([1, expect.stringContaining("code: ClusterAlive")]);
  expect(refused.err).toContain("--even-if-alive");
  await put(url, "row", "2");

  // It sees neither the end of the log nor the identity that says so.
  gamma.signal("SIGSTOP");
  const purged = alpha.cli("purge", "--yes", "--even-if-alive", "--output", "json");
  for (const member of [alpha, beta]) {
    const { halt } = (await member.untilRole("Halted")) as { halt?: object };
    expect(halt).toMatchObject({ reason: "ClusterDeleted", code: "ClusterDeleted" });
  }
  await expect(put(url, "row", "3")).rejects.toThrow();
  const { code, out, err } = await purged;
  expect([code, err]).toEqual([0, expect.not.stringContaining("error")]);
  expect(JSON.parse(out)).toMatchObject({ begunBefore: false, left: { count: 0 } });
  expect(bucket.keys("")).toEqual([]);

  gamma.signal("SIGCONT");
  await gamma.untilRole("Halted");
  expect(bucket.keys("")).toEqual([]);
  const again = await alpha.cli("purge", "--yes");
  expect([again.code, again.err]).toEqual([1, expect.stringContaining("it holds nothing")]);
});
