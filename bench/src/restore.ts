import { mkdirSync, rmSync, statSync } from "node:fs";
import { open as openFile } from "node:fs/promises";
import { join } from "node:path";
import type { BucketConfig } from "../../sidecar/src/bucket/open.js";
import type { Bucket } from "../../sidecar/src/bucket/bucket.js";
import { open } from "../../e2e/servers/stores.js";
import { BenchMember, metamaster, until } from "./bench-member.js";
import { listAll } from "./objects.js";
import { median, type Row } from "./rows.js";

const RANGE_BYTES = 8 << 20;
const PARALLEL = 8;

/** What anybody would write: ranges of all objects, eight at a time, each written where it belongs; nothing checked, nothing synced. */
async function plainGet(
  bucket: Bucket,
  list: readonly { key: string; size: number }[],
  folder: string,
): Promise<number> {
  mkdirSync(folder, { recursive: true });
  const start = performance.now();
  const files = await Promise.all(list.map((_, i) => openFile(join(folder, String(i)), "w")));
  const ranges = list.flatMap(({ key, size }, i) =>
    Array.from({ length: Math.ceil(size / RANGE_BYTES) }, (_, n) => ({
      i,
      key,
      offset: n * RANGE_BYTES,
      length: Math.min(RANGE_BYTES, size - n * RANGE_BYTES),
    })),
  );
  let next = 0;
  const lane = async (): Promise<void> => {
    for (let range = ranges[next++]; range !== undefined; range = ranges[next++]) {
      const { i, key, offset, length } = range;
      const bytes = await bucket.get(key, { maxBytes: length, range: { offset, length } });
      if (bytes?.length !== length) throw new Error(`${key}: ${bytes?.length} bytes instead of ${length}`);
      await files[i]?.write(bytes, 0, length, offset);
    }
  };
  await Promise.all(Array.from({ length: PARALLEL }, lane));
  await Promise.all(files.map((file) => file.close()));
  const ms = performance.now() - start;
  rmSync(folder, { recursive: true, force: true });
  return ms;
}

export async function restore(root: string, bucket: BucketConfig, bytes: number, rounds: number): Promise<Row[]> {
  const member = await BenchMember.create("restore", root, bucket);
  const rows = Math.ceil(bytes / 4096);
  const done = join(member.directory, "done");
  // Incompressible values; no compaction afterwards: the tables stay what the flushes made.
  const fill = `db_bench --db=${member.database} --benchmarks=fillseq --num=${rows} --value_size=4080 --compression_ratio=1 --compression_type=none > out 2>&1`;
  member.start("sh", "-c", `${fill}; touch ${done}; exec sleep 100000`);
  await until("the database is filled", () => statSync(done, { throwIfNoEntry: false }), 1_200_000);
  await member.checkpoint();
  await member.stop();
  const store = await open(bucket);
  const [plain, ours]: [number[], number[]] = [[], []];
  let total = 0;
  try {
    const list = await listAll(store, "tables/");
    total = list.reduce((sum, { size }) => sum + size, 0);
    for (let round = 0; round < rounds; round++) {
      plain.push(await plainGet(store, list, join(root, "plain")));
      const target = join(root, "restored");
      const start = performance.now();
      await metamaster(["restore", "--config", member.config, "--to", target], member.directory);
      ours.push(performance.now() - start);
      rmSync(target, { recursive: true, force: true });
    }
  } finally {
    await store.close();
  }
  const ratios = ours.map((ms, i) => (plain[i] ?? Number.NaN) / ms);
  const rate = (ms: number): string => `${Math.round(total / (1 << 20) / (ms / 1000))} MiB/s`;
  return [
    {
      what: `restore of ${(total / (1 << 30)).toFixed(1)} GiB, the whole command`,
      against: `a plain parallel get of the same objects to disk (${rate(median(plain))})`,
      measured: `${median(ratios).toFixed(2)} (${rate(median(ours))})`,
      bound: ">= 0.8",
      holds: median(ratios) >= 0.8,
      figures: { ratios, plainMs: plain, restoreMs: ours, totalBytes: total },
    },
  ];
}
