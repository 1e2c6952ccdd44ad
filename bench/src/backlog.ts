import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdirSync } from "node:fs";
import { promisify } from "node:util";
import type { Bucket } from "../../sidecar/src/bucket/bucket.js";
import type { BucketConfig } from "../../sidecar/src/bucket/open.js";
import { open } from "../../e2e/servers/stores.js";
import { BenchMember, until } from "./bench-member.js";
import { listAll } from "./objects.js";
import { median, type Row } from "./rows.js";

const run = promisify(execFile);
/** Entries below it are claims, heartbeats, the end of the backlog. */
const LARGE_BYTES = 1 << 20;
const POLL_MS = 50;

/** A database whose rows (incompressible: what is stored has the size of the WAL) are all in its WAL, as a member finds it that was away. */
async function makeBacklog(database: string, bytes: number): Promise<void> {
  const rows = Math.ceil(bytes / 1024);
  const options = [
    `--db=${database}`,
    "--benchmarks=fillrandom",
    `--num=${rows}`,
    "--value_size=1000",
    "--write_buffer_size=8000000000",
  ];
  mkdirSync(database, { recursive: true });
  await run("db_bench", [...options, "--compression_ratio=1"], { maxBuffer: 1 << 24 });
}

/** Puts objects of these sizes one after the other, as anybody's loop over the same SDK would. */
async function plainLoop(store: Bucket, prefix: string, sizes: readonly number[]): Promise<number> {
  const bytes = randomBytes(Math.max(...sizes));
  const start = performance.now();
  for (const [i, size] of sizes.entries()) await store.putIfAbsent(`${prefix}/${i}`, bytes.subarray(0, size), {});
  return performance.now() - start;
}

/** Time from the moment that the member is seen to write until all of the backlog is durable, against puts of the same sizes. */
export async function backlog(
  root: string,
  newBucket: () => Promise<BucketConfig>,
  bytes: number,
  rounds: number,
): Promise<Row[]> {
  const ratios: number[] = [];
  const rates: number[] = [];
  const plainRates: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const bucket = await newBucket();
    const member = await BenchMember.create(`backlog-${round}`, root, bucket, ["bootstrap: Adopt"]);
    await makeBacklog(member.database, bytes);
    const store = await open(bucket);
    try {
      member.start("sleep", "100000");
      await member.role("Primary");
      const start = performance.now();
      const durable = async (): Promise<true | undefined> => {
        const ship = (await member.status())?.ship;
        return ship?.lastCheckpointSlot !== undefined && ship.durableLagBytes === 0 ? true : undefined;
      };
      await until("the backlog is durable", durable, 300_000, POLL_MS);
      const ms = performance.now() - start;
      const sizes = (await listAll(store, "log/")).map(({ size }) => size).filter((size) => size >= LARGE_BYTES);
      const shipped = sizes.reduce((sum, size) => sum + size, 0);
      const plainMs = await plainLoop(store, "peer", sizes);
      ratios.push(plainMs / ms);
      rates.push(shipped / 1e6 / (ms / 1000));
      plainRates.push(shipped / 1e6 / (plainMs / 1000));
    } finally {
      await store.close();
      await member.kill();
    }
  }
  return [
    {
      what: `a WAL backlog of ${Math.round(bytes / (1 << 20))} MiB made durable, read, checked and compressed`,
      against: `a plain loop of puts of the same sizes (${median(plainRates).toFixed(0)} MB/s)`,
      measured: `${median(ratios).toFixed(2)} (${median(rates).toFixed(0)} MB/s of objects)`,
      bound: ">= 0.8",
      holds: median(ratios) >= 0.8,
      figures: { ratios, rates, plainRates },
    },
  ];
}
