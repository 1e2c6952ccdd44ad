import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { BucketConfig } from "../../sidecar/src/bucket/open.js";
import { buildProgram } from "../../e2e/rocksdb/build.js";
import { rocksdbTools } from "../../e2e/rocksdb/tools.js";
import { open } from "../../e2e/servers/stores.js";
import { BenchMember, until } from "./bench-member.js";
import { quantile, type Row } from "./rows.js";

const SOURCES = new URL("../../../bench/load", import.meta.url).pathname;
const ROUNDS = 10;
/** What an entry with a row or a few has. */
const PEER_BYTES = 600;

async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

/** A C++ master whose threads write and ask: a client in Node would measure itself. */
class Callers {
  readonly #orders: string;
  #next = 0;

  constructor(orders: string) {
    this.#orders = orders;
  }

  /** Milliseconds of each of `rows` barriers, asked by so many callers at a time, each after a row of its own. */
  async barriers(callers: number, rows: number): Promise<number[]> {
    const name = join(this.#orders, String(this.#next++));
    writeFileSync(`${name}.part`, `${callers} ${rows}\n`);
    renameSync(`${name}.part`, `${name}.order`);
    const times = await until("the barriers are answered", () => {
      try {
        return readFileSync(`${name}.times`, "utf8");
      } catch {
        return undefined;
      }
    });
    return times
      .trim()
      .split("\n")
      .map((line) => Number(line) / 1000);
  }
}

/** Barriers against single creates of an entry's size by the same driver, on the same store, in turn, so that all see the same weather. */
export async function barrier(root: string, bucket: BucketConfig, total: number): Promise<Row[]> {
  const found = await rocksdbTools();
  if (!("tools" in found)) throw new Error(found.missing);
  const program = await buildProgram(found.tools, SOURCES, "callers");
  const member = await BenchMember.create("barrier", root, bucket);
  const store = await open(bucket);
  const [puts, one, many]: [number[], number[], number[]] = [[], [], []];
  try {
    const orders = join(member.directory, "orders");
    mkdirSync(orders);
    const load = new Callers(orders);
    member.start(program, `--db=${member.database}`, `--orders=${orders}`);
    await load.barriers(64, 640);
    for (let round = 0; round < ROUNDS; round++) {
      for (let i = 0; i < total / ROUNDS; i++)
        puts.push(await timed(() => store.putIfAbsent(`peer/${round}-${i}`, randomBytes(PEER_BYTES), {})));
      one.push(...(await load.barriers(1, total / ROUNDS)));
      many.push(...(await load.barriers(64, (total / ROUNDS) * 10)));
    }
    return [row("1 caller", one, puts), row("64 callers", many, puts)];
  } finally {
    await store.close();
    await member.stop();
  }
}

function row(who: string, times: readonly number[], puts: readonly number[]): Row {
  const [p50, p99, put50, put99] = [
    quantile(times, 0.5),
    quantile(times, 0.99),
    quantile(puts, 0.5),
    quantile(puts, 0.99),
  ];
  return {
    what: `barrier p50 / p99, ${who}`,
    against: `one put of the same bytes (p50 ${put50.toFixed(1)} ms, p99 ${put99.toFixed(1)} ms)`,
    measured: `${(p50 / put50).toFixed(2)} / ${(p99 / put99).toFixed(2)} (${p50.toFixed(1)} ms, ${p99.toFixed(1)} ms)`,
    bound: "<= 1.5 / <= 3",
    holds: p50 / put50 <= 1.5 && p99 / put99 <= 3,
    figures: { p50, p99, put50, put99 },
  };
}
