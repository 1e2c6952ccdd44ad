import { execFile } from "node:child_process";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { BenchMember, residentBytes, sleep } from "./bench-member.js";
import { median, memoryRow, type Row } from "./rows.js";

const run = promisify(execFile);
const LOOK_MS = 500;

function dbBench(db: string, sync: boolean, seconds: number): string[] {
  return [
    "db_bench",
    `--db=${db}`,
    "--benchmarks=fillrandom",
    "--num=1000000000",
    "--value_size=100",
    `--duration=${seconds}`,
    `--sync=${sync ? 1 : 0}`,
  ];
}

function opsPerSecond(output: string): number | undefined {
  const found = /fillrandom\s*:.*?(\d+) ops\/sec/.exec(output);
  return found === null ? undefined : Number(found[1]);
}

async function alone(root: string, sync: boolean, seconds: number): Promise<number> {
  const db = join(root, "alone");
  const { stdout } = await run("db_bench", dbBench(db, sync, seconds).slice(1), { maxBuffer: 1 << 24 });
  rmSync(db, { recursive: true, force: true });
  return opsPerSecond(stdout) ?? Number.NaN;
}

interface Shipped {
  readonly ops: number;
  /** Durable lag in seconds while db_bench wrote, a sample every half second. */
  readonly lags: readonly number[];
  readonly residents: readonly number[];
}

/** db_bench as the master of a member over a folder: the store must not take the processor that is measured. */
async function shipped(root: string, sync: boolean, seconds: number): Promise<Shipped> {
  const home = join(root, "shipped");
  mkdirSync(join(home, "bucket"), { recursive: true });
  const member = await BenchMember.create("alpha", home, { url: `file://${join(home, "bucket")}` });
  const output = join(member.directory, "out");
  const lags: number[] = [];
  const residents: number[] = [];
  try {
    member.start(
      "sh",
      "-c",
      `${dbBench(member.database, sync, seconds).join(" ")} > ${output} 2>&1; exec sleep 100000`,
    );
    await member.role("Primary");
    const read = (): string => {
      try {
        return readFileSync(output, "utf8");
      } catch {
        return "";
      }
    };
    const end = performance.now() + (seconds + 120) * 1000;
    while (opsPerSecond(read()) === undefined) {
      if (performance.now() > end) throw new Error(`db_bench didn't end: ${read().slice(-500)}`);
      const status = await member.status();
      if (status?.ship !== undefined) lags.push(status.ship.durableLagSeconds);
      if (status !== undefined) residents.push(residentBytes(status.pid));
      await sleep(LOOK_MS);
    }
    return { ops: opsPerSecond(read()) ?? Number.NaN, lags, residents };
  } finally {
    await member.kill();
    rmSync(home, { recursive: true, force: true });
  }
}

/** Resident memory of a member that follows one whose db_bench writes unthrottled, from its start with an empty disk on. */
export async function followingMemory(root: string, seconds: number): Promise<Row[]> {
  const home = join(root, "following");
  mkdirSync(join(home, "bucket"), { recursive: true });
  const bucket = { url: `file://${join(home, "bucket")}` };
  const primary = await BenchMember.create("alpha", home, bucket);
  const standby = await BenchMember.create("beta", home, bucket);
  const residents: number[] = [];
  try {
    primary.start(...dbBench(primary.database, false, seconds));
    await primary.role("Primary");
    standby.start("sleep", "100000");
    const end = performance.now() + (seconds - 3) * 1000;
    while (performance.now() < end) {
      const status = await standby.status();
      if (status !== undefined) residents.push(residentBytes(status.pid));
      await sleep(LOOK_MS / 5);
    }
    const status = await standby.status();
    if (status?.role !== "Standby" || (status.position?.slot ?? 0) < 10)
      throw new Error(`it didn't follow: ${JSON.stringify(status)}`);
  } finally {
    await primary.kill();
    await standby.kill();
    rmSync(home, { recursive: true, force: true });
  }
  return [memoryRow("following a primary that writes unthrottled", residents)];
}

export async function writeRate(root: string, rounds: number, seconds: number): Promise<Row[]> {
  const rows: Row[] = [];
  for (const sync of [false, true]) {
    const ratios: number[] = [];
    const [without, withSidecar]: [number[], number[]] = [[], []];
    for (let round = 0; round < rounds; round++) {
      const base = await alone(root, sync, seconds);
      const { ops } = await shipped(root, sync, seconds);
      without.push(base);
      withSidecar.push(ops);
      ratios.push(ops / base);
    }
    rows.push({
      what: `db_bench fillrandom, sync=${sync ? 1 : 0}, with the sidecar shipping it`,
      against: `the same without (${Math.round(median(without))} ops/s)`,
      measured: `${median(ratios).toFixed(2)} (${ratios.map((ratio) => ratio.toFixed(2)).join(", ")})`,
      bound: ">= 0.95",
      holds: median(ratios) >= 0.95,
      figures: { ratios, without, withSidecar },
    });
  }
  return rows;
}

export async function lagAndMemory(root: string, seconds: number): Promise<Row[]> {
  const { lags, residents } = await shipped(root, false, seconds);
  const half = Math.floor(lags.length / 2);
  const [early, late] = [Math.max(...lags.slice(0, half)), Math.max(...lags.slice(half))];
  const worst = Math.max(early, late);
  return [
    {
      what: `durable lag while db_bench writes unthrottled for ${seconds} s`,
      against: "-",
      measured: `at most ${worst.toFixed(2)} s (first half ${early.toFixed(2)}, second half ${late.toFixed(2)}, median ${median(lags).toFixed(2)})`,
      bound: "< 2 s, does not grow",
      holds: worst < 2,
      figures: { lags },
    },
    memoryRow("shipping what db_bench writes unthrottled", residents),
  ];
}
