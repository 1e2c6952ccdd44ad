import { createHash } from "node:crypto";
import { Agent, request } from "node:http";

const LANES = 16;
const REQUEST_MS_MAX = 5000;

function rowKey(n: number): string {
  return `row-${String(n).padStart(10, "0")}`;
}

function rowValue(n: number): string {
  return `${n} ${createHash("sha256").update(rowKey(n)).digest("hex")}`;
}

/**
 * A client that writes numbered rows as fast as it is answered, over a few connections. A row that isn't acknowledged is written again, to whichever
 * member answers. Values depend on the number alone, so writing one twice changes nothing.
 */
export class Writer {
  readonly acknowledged = new Set<number>();
  readonly #masters: () => readonly string[];
  readonly #agent = new Agent({ keepAlive: true, maxSockets: LANES * 2 });
  readonly #lanes: Promise<void>[] = [];
  #next = 0;
  #current = 0;
  #stopping = false;
  /** Longest pause between two acknowledgements since the last reset, and when it ended; milliseconds of performance.now(). */
  #lastMs = performance.now();
  #gapMs = 0;

  constructor(masters: () => readonly string[]) {
    this.#masters = masters;
  }

  start(): void {
    for (let lane = 0; lane < LANES; lane += 1) this.#lanes.push(this.#lane());
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all(this.#lanes);
    this.#agent.destroy();
  }

  /** The longest time without an acknowledgement since the last call, milliseconds. */
  takeGapMs(): number {
    const gap = this.#gapMs;
    this.#gapMs = 0;
    return gap;
  }

  async #lane(): Promise<void> {
    while (!this.#stopping) {
      const n = (this.#next += 1);
      while (!(await this.#put(n))) {
        if (this.#stopping) return;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      this.acknowledged.add(n);
      const now = performance.now();
      this.#gapMs = Math.max(this.#gapMs, now - this.#lastMs);
      this.#lastMs = now;
    }
  }

  #put(n: number): Promise<boolean> {
    const masters = this.#masters();
    const lane = this.#current;
    const base = masters[lane % masters.length] ?? "";
    return new Promise((resolve) => {
      const failed = (): void => {
        if (this.#current === lane) this.#current += 1;
        resolve(false);
      };
      const call = request(
        `${base}/kv/${rowKey(n)}`,
        { method: "PUT", agent: this.#agent, timeout: REQUEST_MS_MAX },
        (answer) => {
          answer.resume();
          answer.once("end", () => (answer.statusCode === 200 ? resolve(true) : failed()));
          answer.once("error", failed);
        },
      );
      call.once("timeout", () => call.destroy());
      call.once("error", failed);
      call.end(rowValue(n));
    });
  }
}

export interface Comparison {
  readonly rows: number;
  readonly missing: readonly number[];
  readonly wrong: readonly string[];
}

/** Reads every row of a master and compares it with what was acknowledged. */
export async function compare(master: string, acknowledged: ReadonlySet<number>): Promise<Comparison> {
  const rows = new Map<string, string>();
  for (let after = ""; ;) {
    const answer = await fetch(`${master}/list?limit=10000&after=${encodeURIComponent(after)}`, {
      signal: AbortSignal.timeout(20_000),
    });
    const page = ((await answer.json()) as { rows: [string, string][] }).rows;
    for (const [key, value] of page) rows.set(key, value);
    const last = page.at(-1);
    if (last === undefined) break;
    after = last[0];
  }
  const missing = [...acknowledged].filter((n) => !rows.has(rowKey(n)));
  const wrong = [...rows]
    .filter(([key, value]) => rowValue(Number(key.slice("row-".length))) !== value)
    .map(([key]) => key);
  return { rows: rows.size, missing, wrong };
}
