import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, jest, test } from "@jest/globals";
import { MemberProcess, until } from "../cli/member-process.js";
import { buildTestMaster } from "../rocksdb/build.js";
import { requireRocksdbTools } from "../rocksdb/tools.js";
import { heard, verifiedRows } from "./test-master.js";

jest.setTimeout(120_000);

const ROWS = 300;
let program: string | undefined;
let root: string;

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), "metamaster-e2e-features-"));
  const tools = await requireRocksdbTools("RocksDB's features under failover");
  if (tools !== undefined) program = await buildTestMaster(tools);
}, 300_000);

afterAll(() => rmSync(root, { recursive: true, force: true }));

const small = "--write-buffer=65536 --table-bytes=32768";

/** Each with its flags; `DIR` stands for the member's data directory. */
const features: Readonly<Record<string, string>> = {
  "column families that come and go": `--cfs=3 --add-cf=40 --drop-cf ${small}`,
  "a compressed WAL": `--wal-compression ${small}`,
  "two-phase commit": `--2pc ${small}`,
  "atomic flush": `--cfs=3 --atomic-flush ${small}`,
  "blob files, merge and delete range": `--blob --merge --delete-range ${small}`,
  ingestion: `--ingest=50 ${small}`,
  "a MANIFEST that rolls over, kAbsoluteConsistency": `--max-manifest=2000 --absolute-consistency ${small}`,
  "a WAL directory of its own": `--wal-dir=DIR/wal ${small}`,
  "no WAL at all": "--disable-wal --flush=20",
};

test.each(Object.entries(features))(
  "%s: killed, taken over and restored with every acknowledged row",
  async (name, flags) => {
    if (program === undefined) return;
    const master = program;
    const home = mkdtempSync(join(root, "case-"));
    const walPath = flags.includes("--wal-dir") ? "wal" : undefined;
    const members = ["alpha", "beta"].map((member) => new MemberProcess({ name: member, root: home, walPath }));
    const of = (directory: string): string => flags.replaceAll("DIR", directory);
    const start = (member: MemberProcess): void =>
      member.start(
        "sh",
        "-c",
        `exec ${master} write ${member.database} --barrier=$METAMASTER_URL/v1/barrier --group=20 --rate=600 ${of(member.data)}`,
      );
    const [alpha, beta] = members;
    if (alpha === undefined || beta === undefined) throw new Error("there are two");
    const reaches = async (member: MemberProcess, row: number): Promise<void> => {
      await until(
        `${member.name} acknowledges row ${row} (${name})`,
        async () => (heard(member).acknowledged >= row ? true : undefined),
        () => member.said.slice(-4000),
      );
    };
    const verified = (database: string, data: string): Promise<number> =>
      verifiedRows(master, ["verify", database, ...of(data).split(" ")]);
    try {
      start(alpha);
      await alpha.untilRole("Primary");
      start(beta);
      await reaches(alpha, ROWS);
      alpha.signal("SIGKILL");
      await alpha.ended;
      const { acknowledged } = heard(alpha);
      await reaches(beta, acknowledged + ROWS);
      expect(heard(beta).opens.at(-1)).toBeGreaterThanOrEqual(acknowledged);
      await beta.stop();
      const last = heard(beta).acknowledged;
      const restored = join(home, "restored");
      expect(await beta.cli("restore", "--to", restored)).toMatchObject({ code: 0 });
      expect(await verified(join(restored, "meta"), restored)).toBeGreaterThanOrEqual(last);
      expect(await verified(beta.database, beta.data)).toBeGreaterThanOrEqual(last);
    } finally {
      for (const member of members) await member.end();
    }
  },
);
