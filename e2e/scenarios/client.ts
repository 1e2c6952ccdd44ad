import { expect } from "@jest/globals";
import { setTimeout as sleep } from "node:timers/promises";
import { waitFor } from "../cluster/wait.js";
import { keepFigures } from "./figures.js";
import { PORT, type Meta } from "./product.js";

const CALL_MS = 1000;
const PAUSE_MS = 30;
const LIST_LIMIT = 5000;
/** A longer time without an answer is worth a line. */
const GAP_MS = 500;

interface Gap {
  readonly ms: number;
  readonly at: string;
}

/**
 * Writes numbered rows through the primary as fast as they are answered, finding it anew whenever it does not answer. Rows without an answer are given up: only what was acknowledged
 * must be there in the end.
 */
export class Client {
  readonly #meta: Meta;
  readonly #over = new AbortController();
  readonly #running: Promise<void>;
  readonly #acknowledged: number[] = [];
  readonly gaps: Gap[] = [];
  #next = 0;
  #lastMs = performance.now();

  constructor(meta: Meta) {
    this.#meta = meta;
    this.#running = this.#run();
  }

  get acknowledged(): number {
    return this.#acknowledged.length;
  }

  /** Resolves once rows are acknowledged again from now on. */
  async writes(count = 20): Promise<void> {
    const wanted = this.acknowledged + count;
    await waitFor("rows are acknowledged", 240_000, async () => (this.acknowledged >= wanted ? true : undefined));
  }

  /** Nothing is written any more. */
  async end(): Promise<void> {
    this.#over.abort();
    await this.#running;
  }

  /** Ends, reads everything back, and gives the acknowledged rows that are not there. What the failovers took is kept as JSON. */
  async missing(scenario: string): Promise<readonly string[]> {
    await this.end();
    const rows = await this.rows();
    const { status } = (await this.#meta.get()) as { status?: { lastFailover?: object } };
    const { acknowledged, gaps } = this;
    await keepFigures(scenario, { acknowledged, gaps, lastFailover: status?.lastFailover });
    return this.#acknowledged.map(keyOf).filter((key) => !rows.has(key));
  }

  async #run(): Promise<void> {
    const { signal } = this.#over;
    let address = "";
    while (!signal.aborted) {
      const row = this.#next++;
      if (address !== "" && (await this.#put(address, row))) this.#note(row);
      else {
        await sleep(PAUSE_MS);
        address = await this.#find(address);
      }
    }
  }

  /** Of two that say so one does not know yet: whichever answers, its acknowledgement counts. The one that did not answer comes last. */
  async #find(silent = ""): Promise<string> {
    const found = await this.#meta.labelled().catch(() => []);
    return (found.find(({ address }) => address !== silent) ?? found[0])?.address ?? "";
  }

  async #put(address: string, row: number): Promise<boolean> {
    try {
      const signal = AbortSignal.timeout(CALL_MS);
      const answer = await fetch(`http://${address}:${PORT}/kv/${keyOf(row)}`, {
        method: "PUT",
        body: `${row}`,
        signal,
      });
      await answer.arrayBuffer();
      return answer.status === 200;
    } catch {
      return false;
    }
  }

  #note(row: number): void {
    const nowMs = performance.now();
    const ms = Math.round(nowMs - this.#lastMs);
    if (ms > GAP_MS && this.acknowledged > 0) this.gaps.push({ ms, at: new Date().toISOString() });
    this.#lastMs = nowMs;
    this.#acknowledged.push(row);
  }

  /** Every key that is there, once it can be read. */
  async rows(): Promise<ReadonlySet<string>> {
    return await waitFor("the rows can be read back", 240_000, () => this.#rows().catch(() => undefined));
  }

  async #rows(): Promise<ReadonlySet<string>> {
    const rows = new Set<string>();
    const address = await this.#find();
    for (let after = ""; ;) {
      const signal = AbortSignal.timeout(20 * CALL_MS);
      const answer = await fetch(`http://${address}:${PORT}/list?limit=${LIST_LIMIT}&after=${after}`, { signal });
      const page = ((await answer.json()) as { rows: [string, string][] }).rows;
      for (const [key] of page) rows.add(key);
      const last = page.at(-1)?.[0];
      if (last === undefined) return rows;
      after = last;
    }
  }
}

function keyOf(row: number): string {
  return `row${String(row).padStart(9, "0")}`;
}

/** A client writes to it all the while; in the end nothing acknowledged is missing. */
export async function writing(of: Meta, name: string, body: (client: Client) => Promise<void>): Promise<void> {
  const client = new Client(of);
  try {
    await client.writes();
    await body(client);
    await client.writes();
    expect(await client.missing(name)).toEqual([]);
  } finally {
    await client.end();
  }
}
