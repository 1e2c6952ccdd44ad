import { randomInt } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, jest, test } from "@jest/globals";
import { MemberProcess, until } from "../cli/member-process.js";
import { buildTestMaster } from "../rocksdb/build.js";
import { requireRocksdbTools } from "../rocksdb/tools.js";
import { heard, verifiedRows } from "./test-master.js";

// A journal (WAL on), a state that is applied from it (WAL off, flushed now and then, the journal trimmed after), and checkpoints of the state
// (hard links) that the journal names: two databases and companions that are right only together.
jest.setTimeout(300_000);

const FAILOVERS = 4;
const FLUSH_ROWS = 60;
let program: string | undefined;
let root: string;

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), "metamaster-e2e-journal-"));
  const tools = await requireRocksdbTools("the master with a journal");
  if (tools !== undefined) program = await buildTestMaster(tools);
}, 300_000);

afterAll(() => rmSync(root, { recursive: true, force: true }));

const verify = (master: string, directory: string): Promise<number> =>
  verifiedRows(master, ["verify-journal", directory, `--flush=${FLUSH_ROWS}`]);

test("the hardest real master loses no acknowledged row, whenever it is killed or switched over", async () => {
  if (program === undefined) return;
  const master = program;
  const more = "companions:\n  - checkpoints/ck-*\ncheckpoint:\n  interval: 1s";
  const databases = ["journal", "state"];
  const members = ["alpha", "beta"].map((name) => new MemberProcess({ name, root, databases, more }));
  const start = (member: MemberProcess): void => {
    const command = `exec ${master} journal ${member.data} --barrier=$METAMASTER_URL/v1/barrier --group=7 --flush=${FLUSH_ROWS} --rate=400`;
    member.start("sh", "-c", command);
  };
  const primary = async (): Promise<MemberProcess> =>
    await until("a member is primary and acknowledges", async () => {
      for (const member of members) {
        const status = await member.status();
        if (status?.["role"] === "Primary" && status["masterRunning"] === true) return member;
      }
      return undefined;
    });
  let acknowledged = 0;
  try {
    for (const member of members) start(member);
    for (let round = 0; round < FAILOVERS; round++) {
      const leader = await primary();
      const before = heard(leader).acknowledged;
      await until(
        "rows are acknowledged",
        async () => (heard(leader).acknowledged > Math.max(before, acknowledged) + FLUSH_ROWS * 2 ? true : undefined),
        () => leader.said.slice(-4000),
      );
      await new Promise((resolve) => setTimeout(resolve, randomInt(300)));
      const other = members.find((member) => member !== leader);
      if (other === undefined) throw new Error("there is no other member");
      const opens = heard(other).opens.length;
      if (round % 2 === 0) {
        // The watchdog ends the master.
        leader.signal("SIGKILL");
        await leader.ended;
      } else expect(await leader.cli("switchover")).toMatchObject({ code: 0 });
      await until(
        "the other member's master opens",
        async () => (heard(other).opens.length > opens ? true : undefined),
        () => other.said.slice(-4000),
      );
      acknowledged = heard(leader).acknowledged;
      expect(heard(other).opens.at(-1)).toBeGreaterThanOrEqual(acknowledged);
      if (round % 2 === 0) start(leader);
    }
    const last = await primary();
    for (const member of members) if (member !== last) await member.stop();
    await last.stop();
    acknowledged = Math.max(acknowledged, ...members.map((member) => heard(member).acknowledged));
    expect(await verify(master, last.data)).toBeGreaterThanOrEqual(acknowledged);
    const restored = join(root, "restored");
    expect(await last.cli("restore", "--to", restored)).toMatchObject({ code: 0 });
    expect(await verify(master, restored)).toBeGreaterThanOrEqual(acknowledged);
  } finally {
    for (const member of members) await member.end();
  }
});
