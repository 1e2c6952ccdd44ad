import { eachParallel } from "../base/each-parallel.js";
import { MetaMasterError, hasCode, messageOf } from "../base/errors.js";
import { pagesOf } from "../bucket/pages.js";
import { TABLE_PREFIX, type Digest, type Position, type ReadEntry } from "../formats/entry.js";
import { Image, oldestSlotNeeded } from "../formats/image-fold.js";
import { EMPTY_IMAGE, type ImageFile, type ImageState } from "../formats/image.js";
import type { Snapshot } from "../formats/snapshot.js";
import { digestOfObject } from "./object-digest.js";
import { replayFrom } from "./restore.js";
import type { SnapshotShelf } from "./restore-target.js";
import type { ReplicaTools } from "./tools.js";

/** One thing that is wrong (`error`: something can't be restored) or odd (`warning`). `code` is stable. */
export interface Finding {
  readonly severity: "error" | "warning";
  readonly code: string;
  /** A key of the bucket or a path on the disk. */
  readonly subject: string;
  readonly message: string;
}

export interface VerifyReport {
  readonly findings: readonly Finding[];
  readonly entries: number;
  readonly snapshots: number;
  readonly objects: number;
  /** Of the objects that were looked at, or of the files. */
  readonly bytes: number;
  readonly end: Position;
}

export interface VerifySettings {
  /** Read every object whole and compare its sha256; otherwise only presence and size. */
  readonly digests: boolean;
}

interface Needed {
  readonly size: number;
  readonly sha256: Digest;
  /** What refers to it, for messages. */
  readonly by: string;
}

/** Goes on after what is wrong, so that one report tells all of it. */
export async function verifyBucket(
  tools: ReplicaTools,
  shelf: SnapshotShelf,
  settings: VerifySettings,
  signal: AbortSignal,
): Promise<VerifyReport> {
  const check = new BucketCheck(tools, shelf);
  await check.snapshots(signal);
  await check.log(signal);
  await check.objects(settings, signal);
  return check.report();
}

class BucketCheck {
  readonly #tools: ReplicaTools;
  readonly #shelf: SnapshotShelf;
  readonly #findings: Finding[] = [];
  readonly #snapshots = new Map<number, Snapshot>();
  readonly #needed = new Map<string, Needed>();
  readonly #doomed = new Set<string>();
  /** Accounted for, and to be doomed one day. */
  readonly #unused = new Set<string>();
  #entries = 0;
  #objects = 0;
  #bytes = 0;
  #end: Position = { slot: -1, chain: "" };

  constructor(tools: ReplicaTools, shelf: SnapshotShelf) {
    this.#tools = tools;
    this.#shelf = shelf;
  }

  report(): VerifyReport {
    return {
      findings: this.#findings,
      entries: this.#entries,
      snapshots: this.#snapshots.size,
      objects: this.#objects,
      bytes: this.#bytes,
      end: this.#end,
    };
  }

  async snapshots(signal: AbortSignal): Promise<void> {
    const slots = await this.#shelf.list(signal);
    for (const slot of slots) {
      const snapshot = await this.#try(`snapshots/${slot}`, () => this.#shelf.read(slot, signal));
      if (snapshot === undefined) continue;
      this.#snapshots.set(slot, snapshot);
    }
    await this.#dropDoomed(signal);
    for (const [slot, snapshot] of this.#snapshots) this.#need(snapshot, `the snapshot at slot ${slot}`);
  }

  /** Snapshots that a trim has doomed may be there for a while, without all that they need. */
  async #dropDoomed(signal: AbortSignal): Promise<void> {
    const newest = [...this.#snapshots.values()].at(-1);
    if (newest === undefined) return;
    const base = { image: newest, ifTrimmed: undefined };
    let end: ImageState = newest;
    try {
      end = await replayFrom(this.#tools, undefined, base, { kind: "end" }, signal);
    } catch (error) {
      // What is wrong with the log is found, and told, below.
      if (!(error instanceof MetaMasterError) || error.kind === "transient") throw error;
    }
    for (const { keys } of end.trims) for (const key of keys) this.#doomed.add(key);
    for (const key of end.garbage.keys()) this.#unused.add(key);
    for (const [slot, snapshot] of this.#snapshots) {
      if (snapshot !== newest && oldestSlotNeeded(snapshot) <= end.trimmedThrough) this.#snapshots.delete(slot);
    }
  }

  /** From the oldest slot that a snapshot needs (or the first) to the end. */
  async log(signal: AbortSignal): Promise<void> {
    const [oldest] = this.#snapshots.values();
    const first = oldest === undefined ? 0 : Math.min(oldestSlotNeeded(oldest), oldest.position.slot + 1);
    let image = oldest === undefined ? new Image(EMPTY_IMAGE) : undefined;
    let previous: ReadEntry | undefined;
    for (let slot = first; ; slot++) {
      const before = this.#findings.length;
      const entry = await this.#try(`log/${slot}`, () => this.#tools.reader.read(slot, signal));
      if (entry === undefined) {
        const damaged = this.#findings.length > before;
        if (!damaged && !(await this.#goesOn(slot, signal))) break;
        if (!damaged)
          this.#error("LogGap", `log/${slot}`, `the entry in slot ${slot} is missing, and the log goes on behind it`);
        [image, previous] = [undefined, undefined];
        continue;
      }
      this.#entries++;
      this.#end = entry.position;
      if (previous !== undefined && entry.header.previous !== previous.position.chain) {
        this.#error(
          "ChainBroken",
          `log/${slot}`,
          `the entry in slot ${slot} follows another one than slot ${slot - 1} holds`,
        );
        image = undefined;
      }
      previous = entry;
      image = this.#fold(image, entry);
      this.#tools.progress.report("log", this.#entries, this.#entries);
    }
    if (image !== undefined) this.#need(image.state(), "the log's end");
  }

  async objects({ digests }: VerifySettings, signal: AbortSignal): Promise<void> {
    const { bucket, fetch, progress } = this.#tools;
    const sizes = new Map<string, number>();
    for await (const page of pagesOf(bucket, TABLE_PREFIX, signal)) {
      for (const { key, size } of page) sizes.set(key, size);
    }
    const whole: (readonly [string, Needed])[] = [];
    for (const [key, needed] of this.#needed) {
      if (this.#doomed.has(key)) continue;
      const size = sizes.get(key);
      this.#objects++;
      this.#bytes += size ?? 0;
      if (size === undefined) this.#error("ObjectMissing", key, `it is missing, and ${needed.by} needs it`);
      else if (size !== needed.size)
        this.#error("ObjectSize", key, `it has ${size} bytes, and ${needed.by} needs ${needed.size}`);
      else whole.push([key, needed]);
    }
    const known = [this.#needed, this.#doomed, this.#unused];
    const orphans = [...sizes.keys()].filter((key) => !known.some((keys) => keys.has(key)));
    if (orphans.length > 0) {
      const message = `${orphans.length} objects below ${TABLE_PREFIX} are referred to by nothing (an upload that was given up, or one under way)`;
      this.#findings.push({ severity: "warning", code: "ObjectsUnreferenced", subject: orphans[0] ?? "", message });
    }
    if (!digests) return;
    const total = whole.reduce((sum, [, { size }]) => sum + size, 0);
    let done = 0;
    await eachParallel(whole, fetch.parallelFiles, signal, async ([key, needed], inner) => {
      const sha256 = await digestOfObject(bucket, key, needed.size, fetch.rangeBytes, inner, (bytes) => {
        done += bytes;
        progress.report("objects", done, total);
      });
      if (sha256 !== needed.sha256)
        this.#error("ObjectCorrupt", key, `its bytes have another sha256 than ${needed.by} says`);
    });
  }

  /** Entries in the slots before the first snapshot are only checked by themselves: what they build on is gone. */
  #fold(image: Image | undefined, entry: ReadEntry): Image | undefined {
    const { slot } = entry.position;
    for (const operation of entry.operations) {
      if (operation.type === "trim") for (const key of operation.keys) this.#doomed.add(key);
    }
    const snapshot = this.#snapshots.get(slot);
    if (image === undefined) return snapshot === undefined ? undefined : this.#startAt(snapshot, entry);
    try {
      for (const { operations } of image.push(entry)) {
        for (const operation of operations) {
          if (operation.type !== "table") continue;
          const { key, size, sha256 } = operation;
          this.#needed.set(key, { size, sha256, by: `the entry in slot ${slot}` });
        }
      }
    } catch (error) {
      this.#report(`log/${slot}`, error);
      return undefined;
    }
    if (snapshot !== undefined) this.#compare(image.state(), snapshot);
    return image;
  }

  #startAt(snapshot: Snapshot, entry: ReadEntry): Image {
    if (snapshot.position.chain !== entry.position.chain) {
      this.#error(
        "SnapshotMismatch",
        `snapshots/${snapshot.position.slot}`,
        "it was taken at another entry than the log has in its slot",
      );
    }
    return new Image(snapshot);
  }

  #compare(folded: ImageState, snapshot: Snapshot): void {
    const subject = `snapshots/${snapshot.position.slot}`;
    for (const path of new Set([...folded.files.keys(), ...snapshot.files.keys()])) {
      const [one, two] = [folded.files.get(path), snapshot.files.get(path)];
      if (one !== undefined && two !== undefined && describe(one) === describe(two)) continue;
      this.#error("SnapshotMismatch", subject, `${path} is not what the log says`);
    }
  }

  /** Is anything behind this slot? */
  async #goesOn(slot: number, signal: AbortSignal): Promise<boolean> {
    try {
      return (await this.#tools.reader.findGap(slot, signal)) !== undefined;
    } catch (error) {
      if (hasCode(error, "LogGap")) return true;
      throw error;
    }
  }

  #need(image: ImageState, by: string): void {
    for (const file of image.files.values()) {
      const object = file.kind === "table" ? file : file.kind === "append" ? file.base : undefined;
      if (object !== undefined) this.#needed.set(object.key, { size: object.size, sha256: object.sha256, by });
    }
  }

  async #try<T>(subject: string, read: () => Promise<T>): Promise<T | undefined> {
    try {
      return await read();
    } catch (error) {
      this.#report(subject, error);
      return undefined;
    }
  }

  /** What is wrong with the content is a finding; what keeps us from looking is not. */
  #report(subject: string, error: unknown): void {
    if (!(error instanceof MetaMasterError) || (error.kind !== "corrupt" && error.code !== "ForeignCluster"))
      throw error;
    this.#error(error.code, subject, messageOf(error));
  }

  #error(code: string, subject: string, message: string): void {
    this.#findings.push({ severity: "error", code, subject, message });
  }
}

/** Equal texts, equal content. */
function describe(file: ImageFile): string {
  if (file.kind === "append") return `append ${file.size}`;
  if (file.kind === "table") return `table ${file.size} ${file.sha256} ${file.permissions}`;
  if (file.kind === "small") return `small ${file.permissions} ${Buffer.from(file.bytes).toString("base64")}`;
  return `directory ${file.permissions}`;
}
