import { describe, expect, test } from "@jest/globals";
import type { Logger } from "../base/log.js";
import { bytesSource } from "../bucket/byte-source.js";
import { MemoryBucket } from "../bucket/testing/memory-bucket.js";
import { JumpingClock } from "../bucket/testing/test-clock.js";
import { logKey, snapshotKey, type Operation, type ReadEntry } from "../formats/entry.js";
import { Image, keysOf, oldestSlotNeeded } from "../formats/image-fold.js";
import { EMPTY_IMAGE, type ImageFile } from "../formats/image.js";
import { Collector, collectorDefaults, type CollectorSettings } from "./collector.js";
import type { Appended, Draft, LogWriter } from "./log.js";
import { Snapshots } from "./snapshots.js";
import { CLUSTER, SmallRandom, compression, draft, header, never, side, type Side, won } from "./testing/log-bench.js";
import { retentionDefaults } from "./trim.js";

const digest = "ab".repeat(32);
const graceMs = 10_000;

function settings(changes: Partial<CollectorSettings> = {}): CollectorSettings {
  const retention = { ...retentionDefaults, snapshots: 2, gracePeriodMs: graceMs };
  return { retention, ...collectorDefaults, intervalMs: 100, sweepIntervalMs: 0, ...changes };
}

/** A primary in small: its pen, the fold of what it wrote, its uploads and snapshots. */
class Primary {
  readonly side: Side;
  readonly clock: JumpingClock;
  readonly snapshots: Snapshots;
  readonly warnings: string[] = [];
  readonly pinned = new Set<string>();
  image = new Image(EMPTY_IMAGE);
  writer!: LogWriter;
  #uploads = 0;

  constructor(store: MemoryBucket, clock: JumpingClock, member: string, seed = 1) {
    this.side = side(store, clock, member, seed);
    this.clock = clock;
    this.snapshots = new Snapshots({ cluster: CLUSTER, bucket: this.side.bucket, clock, compression });
  }

  /** Takes over from `image`, whose position is the end. */
  async claim(image = EMPTY_IMAGE): Promise<this> {
    this.image = new Image(image);
    this.writer = await won(this.side.claim, image.position, image.epoch + 1);
    this.#fold(draft("claim"), { position: this.writer.position, sentMs: 0, size: 1 });
    return this;
  }

  async append(entry: Draft): Promise<Appended> {
    const appended = await this.writer.append(entry, never);
    this.#fold(entry, appended);
    return appended;
  }

  async checkpoint(...operations: Operation[]): Promise<void> {
    await this.append(draft("checkpoint", operations));
  }

  async snapshot(): Promise<number> {
    await this.snapshots.put(this.image.state(), never);
    return this.image.position.slot;
  }

  async upload(file: string): Promise<Operation> {
    const key = `tables/${this.writer.epoch}/db/${file}-${this.#uploads++}`;
    await this.side.bucket.put(key, bytesSource(Buffer.from(key)), {});
    return { type: "table", file: `db/${file}`, permissions: 0o644, size: key.length, sha256: digest, key };
  }

  wal(): Operation {
    const known = this.image.files.get("db/1.log");
    const offset = known?.kind === "append" ? known.size : 0;
    return { type: "append", file: "db/1.log", offset, bytes: Buffer.from("0123456789") };
  }

  collector(changes: Partial<CollectorSettings> = {}): Collector {
    const log = (_fields: object, message: string): void => void this.warnings.push(message);
    const logger: Logger = { debug: () => undefined, info: () => undefined, warn: log, error: log };
    return new Collector(settings(changes), {
      bucket: this.side.bucket,
      clock: this.clock,
      logger,
      snapshots: this.snapshots,
      writer: { append: (entry) => this.append(entry) },
      image: () => this.image.state(),
      pinnedKeys: () => [...this.pinned],
    });
  }

  #fold({ kind, operations, more, sequences }: Draft, { position, size }: Appended): void {
    const epoch = this.writer.epoch;
    const entry: ReadEntry = {
      header: header({ slot: position.slot, epoch, kind, more, sequences }),
      operations,
      position,
      size,
    };
    this.image.push(entry);
  }
}

function bench(): { store: MemoryBucket; clock: JumpingClock; primary: Primary } {
  const store = new MemoryBucket();
  const clock = new JumpingClock();
  return { store, clock, primary: new Primary(store, clock, "a") };
}

const keys = (store: MemoryBucket, prefix: string): string[] =>
  store
    .entries()
    .map(([key]) => key)
    .filter((key) => key.startsWith(prefix));

/** Whatever is kept can be restored; claims are there; what the image has is there. */
async function expectWhole(store: MemoryBucket, primary: Primary, newest: number): Promise<void> {
  const all = new Set(keys(store, ""));
  const { claims, position, trims } = primary.image.state();
  for (const slot of claims) expect(all).toContain(logKey(slot));
  for (const key of keysOf(primary.image)) expect(all).toContain(key);
  const doomed = new Set(trims.flatMap((trim) => trim.keys));
  const kept = (await primary.snapshots.list(never)).filter((slot) => !doomed.has(snapshotKey(slot))).slice(-newest);
  expect(kept.length).toBeGreaterThan(0);
  for (const slot of kept) {
    const snapshot = await primary.snapshots.read(slot, never);
    if (snapshot === undefined) throw new Error("the snapshot is gone");
    for (const key of keysOf(snapshot)) expect(all).toContain(key);
    for (let needed = oldestSlotNeeded(snapshot); needed <= position.slot; needed++)
      expect(all).toContain(logKey(needed));
  }
}

/** Three checkpoints with a snapshot each, the WAL and the table of the one before removed each time. */
async function grow(primary: Primary, rounds = 4): Promise<void> {
  let before: string | undefined;
  for (let round = 0; round < rounds; round++) {
    await primary.append(draft("heartbeat"));
    const table = await primary.upload(`${round}.sst`);
    const drop: Operation[] = before === undefined ? [] : [{ type: "remove", file: before }];
    await primary.checkpoint(table, primary.wal(), ...drop);
    before = `db/${round}.sst`;
    await primary.checkpoint({ type: "remove", file: "db/1.log" });
    await primary.snapshot();
  }
}

describe("collecting", () => {
  test("dooms through the log, deletes after the grace, and never before", async () => {
    const { store, clock, primary } = bench();
    await primary.claim();
    await grow(primary);
    const collector = primary.collector();
    const before = keys(store, "");
    expect(await collector.round(never)).toEqual({ doomed: true, deleted: 0 });
    for (const key of before) expect(keys(store, "")).toContain(key);
    clock.spend(graceMs - 1);
    expect((await collector.round(never)).deleted).toBe(0);
    clock.spend(1);
    const { deleted } = await collector.round(never);
    expect(deleted).toBeGreaterThan(5);
    await expectWhole(store, primary, 2);
    expect(keys(store, "log/")[0]).toBe(logKey(0));
    expect(keys(store, "log/")[1]).toBe(logKey(10));
    expect(keys(store, "snapshots/")).toEqual([snapshotKey(9), snapshotKey(12)]);
    expect(keys(store, "tables/")).toHaveLength(2);
    expect(await primary.collector().round(never)).toEqual({ doomed: false, deleted: 0 });
  });

  test("a second one in a row has nothing to do, and says what is done with the next trim", async () => {
    const { clock, primary } = bench();
    await primary.claim();
    await grow(primary);
    const collector = primary.collector();
    await collector.round(never);
    clock.spend(graceMs);
    await collector.round(never);
    expect(primary.image.state().trims).toHaveLength(1);
    expect(await collector.round(never)).toEqual({ doomed: false, deleted: 0 });
    await grow(primary, 2);
    await collector.round(never);
    const { trims } = primary.image.state();
    expect(trims).toHaveLength(1);
    expect(trims[0]?.slot).toBeGreaterThan(15);
  });

  test("without a snapshot nothing is doomed", async () => {
    const { primary } = bench();
    await primary.claim();
    await primary.checkpoint(primary.wal());
    expect(await primary.collector().round(never)).toEqual({ doomed: false, deleted: 0 });
  });

  test("claims stay, also many of them, also when everything around them goes", async () => {
    const { store, clock, primary } = bench();
    await primary.claim();
    let last = primary;
    for (let epoch = 2; epoch <= 6; epoch++) {
      await grow(last, 1);
      last = await new Primary(store, clock, `m${epoch}`, epoch).claim(last.image.state());
    }
    await grow(last, 3);
    const collector = last.collector();
    await collector.round(never);
    clock.spend(graceMs);
    await collector.round(never);
    const { claims, trimmedThrough } = last.image.state();
    expect(claims).toHaveLength(6);
    expect(trimmedThrough).toBeGreaterThan(claims[5] ?? Infinity);
    expect(keys(store, "log/").slice(0, 6)).toEqual(claims.map(logKey));
    await expectWhole(store, last, 2);
  });

  test("the successor carries out what was doomed, after a grace of its own", async () => {
    const { store, clock, primary } = bench();
    await primary.claim();
    await grow(primary);
    await primary.collector().round(never);
    clock.spend(graceMs);
    const next = await new Primary(store, clock, "b", 2).claim(primary.image.state());
    const collector = next.collector();
    expect((await collector.round(never)).deleted).toBe(0);
    clock.spend(graceMs);
    expect((await collector.round(never)).deleted).toBeGreaterThan(5);
    await expectWhole(store, next, 2);
  });

  test("a round is bounded and the next one goes on; broken off in the middle it is begun again", async () => {
    const { store, clock, primary } = bench();
    await primary.claim();
    await grow(primary, 6);
    const collector = primary.collector({ deletesPerRound: 3, parallelDeletes: 2 });
    await collector.round(never);
    clock.spend(graceMs);
    expect((await collector.round(never)).deleted).toBe(3);
    let calls = 0;
    primary.side.bucket.fate = (call) => (call === "delete" && ++calls === 2 ? "failed" : "right");
    await expect(collector.round(never)).rejects.toMatchObject({ kind: "transient" });
    primary.side.bucket.fate = () => "right";
    for (let round = 0; round < 20; round++) expect((await collector.round(never)).deleted).toBeLessThanOrEqual(3);
    expect(keys(store, "snapshots/")).toHaveLength(2);
    await expectWhole(store, primary, 2);
    await grow(primary, 1);
    await collector.round(never);
    expect(primary.image.state().trims.at(-1)?.slot).toBe(primary.image.position.slot);
  });

  test("a damaged snapshot is said and does not count as kept", async () => {
    const { store, clock, primary } = bench();
    await primary.claim();
    await grow(primary, 3);
    store.poke(snapshotKey(9), Buffer.from("damaged"));
    const collector = primary.collector();
    await collector.round(never);
    clock.spend(graceMs);
    await collector.round(never);
    expect(primary.warnings.some((message) => message.includes("can't be restored"))).toBe(true);
    for (const slot of [3, 6]) expect(await primary.snapshots.read(slot, never)).toBeDefined();
    const oldest = await primary.snapshots.read(3, never);
    const present = keys(store, "");
    for (const key of keysOf(oldest ?? EMPTY_IMAGE)) expect(present).toContain(key);
  });

  test("a snapshot that a primary put when it woke up, long after, holds nothing up", async () => {
    const { clock, primary, store } = bench();
    await primary.claim();
    await primary.checkpoint(primary.wal());
    const old = primary.image.state();
    await grow(primary, 4);
    const collector = primary.collector();
    await collector.round(never);
    clock.spend(graceMs);
    await collector.round(never);
    await primary.snapshots.put(old, never);
    expect(keys(store, "snapshots/")).toHaveLength(3);
    await grow(primary, 1);
    await collector.round(never);
    clock.spend(graceMs);
    await collector.round(never);
    expect(keys(store, "snapshots/")).toHaveLength(2);
    await expectWhole(store, primary, 2);
  });

  test("a claim of somebody who slept, put into a slot that was trimmed, goes with the next trim", async () => {
    const { clock, primary, store } = bench();
    await primary.claim();
    await grow(primary, 4);
    const collector = primary.collector();
    await collector.round(never);
    clock.spend(graceMs);
    await collector.round(never);
    const sleeper = side(store, clock, "sleeper", 9);
    expect((await sleeper.claim({ slot: 1, chain: digest }, 2, never)).outcome).toBe("won");
    expect(await sleeper.reader.findGap(3, never)).toBe("trimmed");
    await grow(primary, 1);
    await collector.round(never);
    clock.spend(graceMs);
    await collector.round(never);
    expect(keys(store, "log/")[0]).toBe(logKey(0));
    expect(keys(store, "log/")).not.toContain(logKey(2));
  });

  test("orphans of ended epochs go, those of this one and what is pinned stay", async () => {
    const { store, clock, primary } = bench();
    await primary.claim();
    await primary.upload("orphan.sst");
    await grow(primary, 1);
    const next = await new Primary(store, clock, "b", 2).claim(primary.image.state());
    await next.upload("fresh.sst");
    await grow(next, 3);
    const collector = next.collector();
    await collector.round(never);
    clock.spend(graceMs);
    await collector.round(never);
    const left = keys(store, "tables/");
    expect(left.some((key) => key.includes("orphan"))).toBe(false);
    expect(left.some((key) => key.includes("fresh"))).toBe(true);
  });
});

test("run ends with the signal's reason or when fenced, and goes on after trouble", async () => {
  const { store, clock, primary } = bench();
  await primary.claim();
  await grow(primary);
  let calls = 0;
  primary.side.bucket.fate = (call) => (call === "list" && calls++ === 0 ? "failed" : "right");
  const other = side(store, clock, "b", 5);
  await won(other.claim, primary.image.position, 2);
  await expect(primary.collector().run(never)).rejects.toMatchObject({ code: "Fenced" });
  expect(primary.warnings).toEqual([expect.stringContaining("tried again")]);
  await expect(primary.collector().run(AbortSignal.abort(new Error("stop")))).rejects.toThrow("stop");
});

test("random lives: whatever is kept stays whole, only what the log doomed goes", async () => {
  for (let seed = 1; seed <= 25; seed++) {
    const { store, clock, primary } = bench();
    const random = new SmallRandom(seed);
    const newest = random.between(1, 3);
    const retention = { snapshots: newest, windowMs: 0, gracePeriodMs: graceMs };
    const changes = { retention, deletesPerRound: random.between(1, 50) };
    let current = await primary.claim();
    let collector = current.collector(changes);
    await current.checkpoint(current.wal());
    await current.snapshot();
    const doomedEver = new Set<string>();
    let present = new Set(keys(store, ""));
    for (let step = 0; step < 60; step++) {
      const dice = random.between(0, 11);
      const tables = [...current.image.files].filter(([, file]) => file.kind === "table");
      if (dice <= 2) await current.append(draft("heartbeat"));
      else if (dice <= 4) await current.checkpoint(current.wal(), await current.upload(`${step}.sst`));
      else if (dice === 5) {
        const [known] = tables;
        const reuse = known?.[1] as Extract<ImageFile, { kind: "table" }> | undefined;
        if (reuse !== undefined) await current.checkpoint({ ...reuse, type: "table", file: `@companions/${step}` });
      } else if (dice === 6 && tables.length > 0) {
        await current.checkpoint({ type: "remove", file: tables[random.between(0, tables.length - 1)]?.[0] ?? "" });
      } else if (dice === 7 && current.image.files.has("db/1.log"))
        await current.checkpoint({ type: "remove", file: "db/1.log" });
      else if (dice <= 9) await current.snapshot();
      else if (dice === 10) clock.spend(random.between(0, graceMs));
      else {
        current = await new Primary(store, clock, `m${step}`, seed * 100 + step).claim(current.image.state());
        collector = current.collector(changes);
      }
      await collector.round(never);
      const { trims, trimmedThrough, claims } = current.image.state();
      for (const trim of trims) for (const key of trim.keys) doomedEver.add(key);
      const now = new Set(keys(store, ""));
      for (const key of present) {
        if (now.has(key)) continue;
        const slot = key.startsWith("log/") ? Number(key.slice(4)) : undefined;
        if (slot === undefined) expect(doomedEver).toContain(key);
        else expect(slot <= trimmedThrough && !claims.includes(slot)).toBe(true);
      }
      present = now;
      await expectWhole(store, current, newest);
    }
  }
});
