/**
 * The performance table, as ratios in one run: `make bench [ARGS="--only failover --quick"]`. Writes a JSON of all raw figures to bench/results/. Everything runs on
 * loopback and in a temporary folder, and stops by itself.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { cpus, release, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { BucketConfig } from "../../sidecar/src/bucket/open.js";
import { StoreServer } from "../../e2e/servers/server.js";
import { newBucket } from "../../e2e/servers/stores.js";
import { backlog } from "./backlog.js";
import { barrier } from "./barrier.js";
import { checkpoint } from "./checkpoint.js";
import { failover } from "./failover.js";
import { restore } from "./restore.js";
import { table, type Row } from "./rows.js";
import { followingMemory, lagAndMemory, writeRate } from "./write-rate.js";

const { values } = parseArgs({
  options: {
    only: { type: "string" },
    quick: { type: "boolean", default: false },
    "restore-gib": { type: "string", default: "5" },
  },
});
const root = mkdtempSync(join(tmpdir(), "metamaster-bench-"));
const rounds = values.quick ? 1 : 3;

/** Runs `work` over buckets of a real S3 server. */
async function onMinio(work: (fresh: () => Promise<BucketConfig>) => Promise<Row[]>): Promise<Row[]> {
  const server = await StoreServer.start("minio");
  try {
    return await work(() => newBucket(server));
  } finally {
    await server.stop();
  }
}

const groups: Readonly<Record<string, () => Promise<Row[]>>> = {
  failover: () => failover(root, rounds),
  barrier: () => onMinio(async (fresh) => barrier(root, await fresh(), values.quick ? 200 : 1000)),
  backlog: () => onMinio((fresh) => backlog(root, fresh, (values.quick ? 128 : 512) << 20, rounds)),
  checkpoint: () => onMinio(async (fresh) => checkpoint(root, await fresh(), (values.quick ? 64 : 512) << 20)),
  write: () => writeRate(root, rounds, values.quick ? 5 : 15),
  lag: () => lagAndMemory(root, values.quick ? 15 : 60),
  following: () => followingMemory(root, values.quick ? 10 : 30),
  restore: () =>
    onMinio(async (fresh) =>
      restore(root, await fresh(), (values.quick ? 0.25 : Number(values["restore-gib"])) * (1 << 30), rounds),
    ),
};

const machine = `${cpus().length} x ${cpus()[0]?.model ?? "?"}, ${Math.round(totalmem() / (1 << 30))} GiB, Linux ${release()}, Node ${process.version}`;
const rows: Row[] = [];
try {
  for (const [name, measure] of Object.entries(groups)) {
    if (values.only !== undefined && !values.only.split(",").includes(name)) continue;
    console.log(`measuring: ${name} ...`);
    rows.push(...(await measure()));
  }
} finally {
  rmSync(root, { recursive: true, force: true });
}
console.log(`\n${machine}\n\n${table(rows)}`);
mkdirSync("bench/results", { recursive: true });
const file = `bench/results/${new Date().toISOString().replaceAll(":", "-")}.json`;
writeFileSync(file, `${JSON.stringify({ machine, arguments: values, rows }, undefined, 2)}\n`);
console.log(`\nAll figures: ${file}`);
