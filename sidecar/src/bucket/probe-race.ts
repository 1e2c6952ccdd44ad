import { isKind } from "../base/errors.js";
import type { Random } from "../base/random.js";
import type { Bucket, CallOptions } from "./bucket.js";

export interface RaceSettings {
  readonly rounds: number;
  readonly racers: number;
  /** Sizes of the bodies, one after the other by round: long bodies widen some windows, short ones others. */
  readonly bodyBytes: readonly number[];
}

export interface RaceComponents {
  readonly random: Random;
  readonly call: CallOptions;
  readonly keyOf: (round: number) => string;
}

/** A racer whose answer was lost may have won or not. */
type Outcome = "created" | "exists" | "unknown";

interface Racer {
  readonly body: Buffer;
  readonly outcome: Outcome;
  readonly error: unknown;
}

interface Race {
  readonly round: number;
  readonly key: string;
  readonly racers: readonly Racer[];
  /** What was there right after the race. */
  readonly held: Buffer;
}

/** Undefined, or the first thing that shows that creation is not atomic. Throws the store's error if a race had no answer at all. */
export async function raceRounds(
  bucket: Bucket,
  steady: Bucket,
  settings: RaceSettings,
  components: RaceComponents,
): Promise<string | undefined> {
  const races: Race[] = [];
  for (let round = 0; round < settings.rounds; round++) {
    const raced = await race(round, bucket, steady, settings, components);
    if (typeof raced === "string") return raced;
    races.push(raced);
  }
  // A loser's write that lands late would show now.
  for (const { round, key, held } of races) {
    const now = await readBody(steady, key, components.call);
    if (now?.equals(held) !== true) return `race ${round + 1}: the object changed after the race was over`;
  }
  return undefined;
}

async function race(
  round: number,
  bucket: Bucket,
  steady: Bucket,
  settings: RaceSettings,
  { random, call, keyOf }: RaceComponents,
): Promise<Race | string> {
  const key = keyOf(round);
  const size = settings.bodyBytes[round % settings.bodyBytes.length] ?? 64;
  const bodies = Array.from({ length: settings.racers }, () => Buffer.from(random.bytes(size)));
  const racers = await Promise.all(bodies.map((body) => runRacer(bucket, key, body, call)));
  const count = (outcome: Outcome): number => racers.filter((racer) => racer.outcome === outcome).length;
  const winners = racers.filter(({ outcome }) => outcome === "created");
  const name = `race ${round + 1} of ${settings.rounds}`;
  if (winners.length > 1)
    return `${name}: ${winners.length} of ${settings.racers} creates of one key were told that they won`;
  if (count("unknown") === settings.racers) throw racers[0]?.error;
  const held = await readBody(steady, key, call);
  if (held === undefined)
    return `${name}: after ${count("created")} winners and ${count("exists")} losers nothing was there`;
  const candidates = winners.length === 1 ? winners : racers.filter(({ outcome }) => outcome === "unknown");
  if (!candidates.some(({ body }) => body.equals(held))) {
    const loser = racers.some(({ body, outcome }) => outcome === "exists" && body.equals(held));
    return `${name}: the object held ${loser ? "the bytes of one who was told that it lost" : "bytes that no possible winner wrote"}`;
  }
  return { round, key, racers, held };
}

async function runRacer(bucket: Bucket, key: string, body: Buffer, call: CallOptions): Promise<Racer> {
  try {
    return { body, outcome: await bucket.putIfAbsent(key, body, call), error: undefined };
  } catch (error) {
    if (!isKind(error, "transient")) throw error;
    return { body, outcome: "unknown", error };
  }
}

async function readBody(steady: Bucket, key: string, call: CallOptions): Promise<Buffer | undefined> {
  const got = await steady.get(key, { ...call, maxBytes: 1 << 20 });
  return got === undefined ? undefined : Buffer.from(got);
}
