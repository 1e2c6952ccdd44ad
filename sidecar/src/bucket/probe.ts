import type { Clock } from "../base/clock.js";
import { MetaMasterError, hasCode, isKind, messageOf } from "../base/errors.js";
import type { Random } from "../base/random.js";
import type { Bucket } from "./bucket.js";
import { bytesSource } from "./byte-source.js";
import { raceRounds, type RaceSettings } from "./probe-race.js";
import { retrying, type RetryComponents } from "./retry.js";

export interface ProbeSettings extends RaceSettings {
  /** For every step, milliseconds; an hour of a slow store is not a start-up. */
  readonly stepMs: number;
}

/**
 * Stores with several winners show them only now and then, so the race is repeated: of a store where one race in three has two winners, eight
 * rounds let through one start in 25; twelve racers make one race in three a mild assumption.
 */
const probeDefaults: ProbeSettings = { rounds: 8, racers: 12, bodyBytes: [64, 64 << 10], stepMs: 30_000 };

interface ProbeStep {
  readonly name: string;
  readonly ok: boolean;
  /** What was seen, for people. */
  readonly saw: string;
  readonly durationMs: number;
}

export interface ProbeReport {
  readonly url: string;
  readonly safe: boolean;
  readonly steps: readonly ProbeStep[];
  /** Keys of the probe that could not be deleted; harmless. */
  readonly leftovers: readonly string[];
}

/** The store does not do what MetaMaster's safety rests on. */
export class BucketUnsafe extends MetaMasterError {
  readonly report: ProbeReport;

  constructor(report: ProbeReport) {
    const failed = report.steps.filter(({ ok }) => !ok);
    const what = failed.map(({ name, saw }) => `${name}: ${saw}`).join("; ");
    super("BucketUnsafe", "invalid", `The bucket ${report.url} is not safe to use. ${what}.`, {
      hint: "Use a store (or a version of it) whose create-if-absent is atomic and whose reads see every write at once.",
      details: { failed: failed.map(({ name }) => name).join(",") },
    });
    this.report = report;
  }
}

export interface ProbeComponents {
  readonly clock: Clock;
  readonly random: Random;
  readonly onRetry: RetryComponents["onRetry"];
}

class StepFailed extends Error {}

function expectThat(condition: boolean, saw: string): void {
  if (!condition) throw new StepFailed(saw);
}

/**
 * Finds out whether the store keeps the promises that the product rests on; `bucket` makes one try a call (not `retrying`). Throws
 * `BucketUnsafe` with the report if it doesn't, and the store's own error if it can't be asked (no access, unavailable).
 */
export async function probeBucket(
  bucket: Bucket,
  components: ProbeComponents,
  signal: AbortSignal,
  settings: ProbeSettings = probeDefaults,
): Promise<ProbeReport> {
  const probe = new Probe(bucket, components, signal, settings);
  const report = await probe.run();
  if (!report.safe) throw new BucketUnsafe(report);
  return report;
}

/** All of them, or the first failure once none is under way any more: what is left is cleaned up after that. */
async function allSettled<T>(work: readonly Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(work);
  return await Promise.all(work);
}

class Probe {
  readonly #bucket: Bucket;
  readonly #steady: Bucket;
  readonly #components: ProbeComponents;
  readonly #signal: AbortSignal;
  readonly #settings: ProbeSettings;
  readonly #folder: string;
  readonly #keys = new Set<string>();

  constructor(bucket: Bucket, components: ProbeComponents, signal: AbortSignal, settings: ProbeSettings) {
    this.#bucket = bucket;
    this.#steady = retrying(bucket, components);
    this.#components = components;
    this.#signal = signal;
    this.#settings = settings;
    this.#folder = `probe/${Buffer.from(components.random.bytes(12)).toString("hex")}`;
  }

  async run(): Promise<ProbeReport> {
    const steps: ProbeStep[] = [];
    let leftovers: string[] = [];
    try {
      // They share no key, and a store that is far away answers all in the time of one. The races come alone: their requests are to meet each other.
      const [races, others] = [this.#races(), this.#steps()];
      const done = await allSettled(others.map(([name, step]) => this.#timed(name, step)));
      steps.push(...done.slice(0, -1), await this.#timed(...races), ...done.slice(-1));
    } finally {
      leftovers = await this.#cleanUp();
    }
    return { url: this.#bucket.url, safe: steps.every(({ ok }) => ok), steps, leftovers };
  }

  #races(): [string, () => Promise<string>] {
    return ["of concurrent creates exactly one wins", () => this.#race()];
  }

  #steps(): [string, () => Promise<string>][] {
    return [
      ["an absent key is absent", () => this.#absent()],
      ["a create over an existing key is refused", () => this.#createTwice()],
      ["a write is read at once", () => this.#readAfterWrite()],
      ["a range is read as such", () => this.#range()],
      ["a write is listed at once, in order", () => this.#listAfterWrite()],
      ["a delete is seen at once", () => this.#deleteAtOnce()],
    ];
  }

  async #timed(name: string, step: () => Promise<string>): Promise<ProbeStep> {
    const { clock } = this.#components;
    const startMs = clock.monotonicMs();
    const done = (ok: boolean, saw: string): ProbeStep => ({
      name,
      ok,
      saw,
      durationMs: clock.monotonicMs() - startMs,
    });
    try {
      return done(true, await step());
    } catch (error) {
      if (error instanceof StepFailed) return done(false, error.message);
      // A store that gives something impossible (a longer object than was written) fails the step, it isn't away.
      if (hasCode(error, "ObjectTooLarge")) return done(false, messageOf(error));
      throw error;
    }
  }

  get #call(): { signal: AbortSignal; deadlineMs: number } {
    return { signal: this.#signal, deadlineMs: this.#settings.stepMs };
  }

  #key(name: string): string {
    const key = `${this.#folder}/${name}`;
    this.#keys.add(key);
    return key;
  }

  async #read(key: string, range?: { offset: number; length: number }): Promise<Buffer | undefined> {
    const got = await this.#steady.get(key, { ...this.#call, maxBytes: 1 << 20, range });
    return got === undefined ? undefined : Buffer.from(got);
  }

  async #absent(): Promise<string> {
    const key = this.#key("absent");
    expectThat((await this.#read(key)) === undefined, "something was under a fresh random key");
    expectThat((await this.#steady.head(key, this.#call)) === undefined, "a size was given for a fresh random key");
    return "nothing under a fresh key";
  }

  async #createTwice(): Promise<string> {
    const key = this.#key("twice");
    const first = this.#components.random.bytes(100);
    const second = this.#components.random.bytes(100);
    // `exists` may be our own earlier try whose answer was lost: what counts is whose bytes are there.
    await this.#steady.putIfAbsent(key, first, this.#call);
    expectThat((await this.#read(key))?.equals(first) === true, "the first create's bytes were not there");
    const again = await this.#steady.putIfAbsent(key, second, this.#call);
    const kept = (await this.#read(key))?.equals(first) === true;
    expectThat(kept, "a second create replaced the first one's bytes: the store ignores the condition");
    expectThat(again === "exists", "a second create was answered with success: the store ignores the condition");
    return "the second create was refused, the first one's bytes stayed";
  }

  async #readAfterWrite(): Promise<string> {
    const key = this.#key("written");
    for (let i = 0; i < 5; i++) {
      const bytes = this.#components.random.bytes(1000 + i);
      await this.#steady.put(key, bytesSource(bytes), this.#call);
      expectThat((await this.#read(key))?.equals(bytes) === true, `write ${i + 1} of 5 was not read back`);
      const size = await this.#steady.head(key, this.#call);
      expectThat(size === bytes.length, `after a write of ${bytes.length} bytes the size was ${size}`);
    }
    return "5 writes were read back";
  }

  async #range(): Promise<string> {
    const key = this.#key("range");
    const bytes = Buffer.from(this.#components.random.bytes(5_000));
    await this.#steady.put(key, bytesSource(bytes), this.#call);
    const got = await this.#read(key, { offset: 1_234, length: 2_000 });
    expectThat(got?.equals(bytes.subarray(1_234, 3_234)) === true, "a range gave other bytes");
    return "2000 bytes from the middle of 5000";
  }

  async #listAfterWrite(): Promise<string> {
    const names = ["l/00", "l/01", "l/02", "l/03", "l/04"].map((name) => this.#key(name));
    for (const key of names.toReversed()) {
      await this.#steady.put(key, bytesSource(Buffer.from(key)), this.#call);
      const page = await this.#steady.list(key, this.#call);
      expectThat(page.objects.length === 1 && page.objects[0]?.key === key, "a fresh object was not listed");
    }
    const seen: string[] = [];
    for (let startAfter: string | undefined; seen.length <= names.length; startAfter = seen.at(-1)) {
      const page = await this.#steady.list(`${this.#folder}/l/`, { ...this.#call, startAfter, limit: 2 });
      seen.push(...page.objects.map(({ key }) => key));
      if (!page.more) break;
    }
    expectThat(seen.join() === names.join(), `5 objects were listed as ${seen.length}, or not in order`);
    return "5 objects, listed at once, in order, in pages of 2";
  }

  async #race(): Promise<string> {
    const { rounds, racers } = this.#settings;
    const broken = await raceRounds(this.#bucket, this.#steady, this.#settings, {
      random: this.#components.random,
      call: this.#call,
      keyOf: (round) => this.#key(`race/${round}`),
    });
    expectThat(broken === undefined, broken ?? "");
    return `${rounds} races of ${racers}`;
  }

  async #deleteAtOnce(): Promise<string> {
    const key = this.#key("deleted");
    await this.#steady.put(key, bytesSource(Buffer.from("x")), this.#call);
    await this.#steady.delete(key, this.#call);
    expectThat((await this.#read(key)) === undefined, "a deleted object was still read");
    const page = await this.#steady.list(key, this.#call);
    expectThat(page.objects.length === 0, "a deleted object was still listed");
    return "a deleted object was gone, from reads and listings";
  }

  async #cleanUp(): Promise<string[]> {
    const left: string[] = [];
    const remove = async (key: string): Promise<void> => {
      await this.#steady.delete(key, { signal: this.#signal, deadlineMs: 5_000 }).catch((error: unknown) => {
        // Under random names they disturb nobody; the probe's own answer is what counts.
        if (!this.#signal.aborted && !isKind(error, "transient") && !isKind(error, "invalid")) throw error;
        left.push(key);
      });
    };
    await allSettled([...this.#keys].map(remove));
    return left.toSorted();
  }
}
