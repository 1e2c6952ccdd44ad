import { existsSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { BucketConfig } from "../../sidecar/src/bucket/open.js";
import { open } from "../../e2e/servers/stores.js";
import { BenchMember, until } from "./bench-member.js";
import { listAll } from "./objects.js";
import type { Row } from "./rows.js";

const VALUE_BYTES = 1000;

function tables(database: string): Map<string, number> {
  const names = readdirSync(database).filter((name) => name.endsWith(".sst"));
  return new Map(names.map((name) => [name, statSync(join(database, name)).size]));
}

/** Sizes of what is there now and was not before. */
function added(now: ReadonlyMap<string, number>, before: ReadonlyMap<string, number>): number {
  return [...now].reduce((total, [name, size]) => total + (before.has(name) ? 0 : size), 0);
}

/** A database is filled, a hundredth of its rows is written anew, and a checkpoint follows: what went to the bucket beside the WAL, against the tables that are new. */
export async function checkpoint(root: string, bucket: BucketConfig, bytes: number): Promise<Row[]> {
  const member = await BenchMember.create("checkpoint", root, bucket);
  const store = await open(bucket);
  const rows = Math.ceil(bytes / VALUE_BYTES);
  const mark = (name: string): string => join(member.directory, name);
  const options = `--db=${member.database} --num=${rows} --value_size=${VALUE_BYTES}`;
  const script = [
    `db_bench ${options} --benchmarks=fillseq,compact`,
    `touch ${mark("filled")}; until [ -e ${mark("go")} ]; do sleep 0.05; done`,
    `db_bench ${options} --benchmarks=overwrite,flush --use_existing_db=1 --writes=${Math.ceil(rows / 100)}`,
    `touch ${mark("changed")}; exec sleep 100000`,
  ];
  const stored = async (): Promise<Map<string, number>> =>
    new Map(
      (await Promise.all([listAll(store, "tables/"), listAll(store, "snapshots/")]))
        .flat()
        .map(({ key, size }) => [key, size]),
    );
  try {
    member.start("sh", "-c", `(${script.join("\n")}) > out 2>&1`);
    await until("the database is filled", () => existsSync(mark("filled")) || undefined, 600_000);
    await member.checkpoint();
    const [tablesBefore, storedBefore] = [tables(member.database), await stored()];
    writeFileSync(mark("go"), "");
    await until("a hundredth is changed", () => existsSync(mark("changed")) || undefined, 600_000);
    await member.checkpoint();
    const uploaded = added(await stored(), storedBefore);
    const fresh = added(tables(member.database), tablesBefore);
    return [
      {
        what: `checkpoint of ${Math.round(bytes / (1 << 20))} MiB after 1 % changed: bytes uploaded beside the WAL`,
        against: `bytes of new tables (${(fresh / 1e6).toFixed(1)} MB)`,
        measured: (uploaded / fresh).toFixed(3),
        bound: "<= 1.05",
        holds: uploaded / fresh <= 1.05,
        figures: { uploaded, fresh },
      },
    ];
  } finally {
    await store.close();
    await member.kill();
  }
}
