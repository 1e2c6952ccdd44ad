import { setTimeout as sleep } from "node:timers/promises";
import { PORT, type Meta } from "./product.js";

const PAUSE_MS = 50;
const CALL_MS = 1000;
const LOOK_MS = 1000;

/**
 * Asks every pod's master all the while: one that answers has its database open. Two that answer, and both answer again after that, were there at the same time.
 */
export class OneMaster {
  readonly #meta: Meta;
  readonly #over = new AbortController();
  readonly #running: Promise<void>;
  #addresses: readonly string[] = [];
  #seenMs = -Infinity;
  readonly #together: string[] = [];
  /** How often somebody answered. */
  looks = 0;

  constructor(meta: Meta) {
    this.#meta = meta;
    this.#running = this.#run();
  }

  /** Ends, and gives when there were several, and which. */
  async end(): Promise<readonly string[]> {
    this.#over.abort();
    await this.#running;
    return this.#together;
  }

  async #run(): Promise<void> {
    while (!this.#over.signal.aborted) {
      if (performance.now() - this.#seenMs > LOOK_MS) {
        this.#addresses = await this.#meta.addresses().catch(() => this.#addresses);
        this.#seenMs = performance.now();
      }
      const first = await answering(this.#addresses);
      if (first.length > 0) this.looks += 1;
      const both = first.length > 1 ? await answering(first) : [];
      if (both.length > 1) this.#together.push(`${new Date().toISOString()}: ${both.join(", ")}`);
      await sleep(PAUSE_MS);
    }
  }
}

async function answering(addresses: readonly string[]): Promise<readonly string[]> {
  const all = await Promise.all(addresses.map(async (address) => ((await answers(address)) ? [address] : [])));
  return all.flat();
}

async function answers(address: string): Promise<boolean> {
  try {
    const answer = await fetch(`http://${address}:${PORT}/list?limit=1`, { signal: AbortSignal.timeout(CALL_MS) });
    await answer.arrayBuffer();
    return answer.ok;
  } catch {
    return false;
  }
}
