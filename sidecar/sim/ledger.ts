import { createHash } from "node:crypto";
import { messageOf } from "../src/base/errors.js";
import { decodeEntry } from "../src/formats/entry-codec.js";
import { logKey, LOG_PREFIX, STANDBY_PREFIX, type Entry, type Operation, type Position } from "../src/formats/entry.js";
import { decodeSnapshot } from "../src/formats/snapshot.js";
import { inlineCompression } from "./compression.js";
import { Fold, type Files } from "./fold.js";
import type { ObjectStore, StoreChange } from "./object-store.js";
import { isPurger, Removal } from "./removal.js";
import type { Trace } from "./trace.js";
import { Violation } from "./violation.js";

export interface Slot {
  readonly chain: string;
  readonly entry: Entry;
  /** The image once this slot is in; an open group leaves it as it was. */
  readonly files: Files;
  readonly groupOpen: boolean;
  /** Of the store's time. */
  readonly atMs: number;
}

export interface LedgerParts {
  readonly store: ObjectStore;
  readonly trace: Trace;
  readonly report: (error: unknown) => void;
  readonly nowMs: () => number;
  /** What is doomed stays for so long, whatever anybody's wall clock says. */
  readonly graceMs: number;
}

/** Of a machine's monotonic clock, at most. */
const driftMax = 0.01;

type Trim = Extract<Operation, { type: "trim" }>;

/**
 * Watches the store and keeps the one true history: every object that appears is checked against the rules of the log, every object that goes
 * must have been doomed. What it knows it read from the store itself, at the moment it changed.
 */
export class Ledger {
  readonly #store: ObjectStore;
  readonly #trace: Trace;
  readonly #report: (error: unknown) => void;
  readonly #nowMs: () => number;
  readonly #graceMs: number;
  readonly #fold: Fold;
  readonly removal: Removal;
  readonly #slots: Slot[] = [];
  readonly #claims = new Map<number, { readonly slot: number; readonly member: string }>();
  /** By key: when a trim named it first. */
  readonly #doomed = new Map<string, number>();
  /** Content of all objects that ever were, by key. */
  readonly #objects = new Map<string, Uint8Array>();
  #clusterUid: string | undefined;
  #last: Promise<void> = Promise.resolve();
  #strays = 0;

  constructor({ store, trace, report, nowMs, graceMs }: LedgerParts) {
    this.#store = store;
    this.#trace = trace;
    this.#report = report;
    this.#nowMs = nowMs;
    this.#graceMs = graceMs;
    this.#fold = new Fold((key) => this.#objects.get(key));
    this.removal = new Removal(store);
  }

  /** Of the entries so far. */
  get clusterUid(): string | undefined {
    return this.#clusterUid;
  }

  /** It was there once. */
  knows(key: string): boolean {
    return this.#objects.has(key);
  }

  /** A member said that everything up to here is durable. */
  acknowledged(who: string, { slot, chain }: Position): void {
    if (this.#slots[slot]?.chain === chain) return;
    throw new Violation(
      "AcknowledgedIsInTheLog",
      `${who} acknowledged up to slot ${slot}, which is not in the history`,
    );
  }

  get lastSlot(): number {
    return this.#slots.length - 1;
  }

  get epoch(): number {
    return this.#slots.at(-1)?.entry.header.epoch ?? 0;
  }

  get trims(): number {
    return this.#slots.filter(({ entry }) => entry.header.kind === "trim").length;
  }

  get groups(): number {
    return this.#slots.filter(({ groupOpen }) => groupOpen).length;
  }

  slot(slot: number): Slot | undefined {
    return this.#slots[slot];
  }

  filesAt(slot: number): Files {
    return this.#slots[slot]?.files ?? new Map();
  }

  claimOf(epoch: number): { readonly slot: number; readonly member: string } | undefined {
    return this.#claims.get(epoch);
  }

  /** Called at the store's every change, before anything else happens; decoding takes microtasks only. */
  changed(change: StoreChange): void {
    this.#last = this.#last.then(() => this.#take(change)).catch(this.#report);
  }

  async #take(change: StoreChange): Promise<void> {
    const { who, what, key, bytes } = change;
    if (this.removal.begun || isPurger(who)) {
      this.#trace.line("store", `${who} ${what} ${key}${this.removal.begun ? ", of a deleted cluster" : ""}`);
      if (isPurger(who)) this.removal.changed(change, this.lastSlot, this.#nowMs());
      else this.removal.late(change);
      return;
    }
    if (what === "deleted") {
      this.#trace.line("store", `${who} deleted ${key}`);
      if (key.startsWith(LOG_PREFIX)) await this.#checkDeletedSlot(key, who);
      if (key.startsWith(STANDBY_PREFIX)) return this.#checkDeletedAnswer(key, who);
      return this.#checkDeleted(key, who);
    }
    this.#trace.line("store", `${who} ${what} ${key} ${bytes.length}`);
    const before = this.#objects.get(key);
    if (before !== undefined && !Buffer.from(before).equals(bytes) && !key.startsWith("snapshots/")) {
      if (key.startsWith(LOG_PREFIX) && what === "created") return this.#stray(key, who);
      throw new Violation("ObjectsNeverChange", `${who} put other bytes under ${key}`);
    }
    if (before !== undefined && key.startsWith(LOG_PREFIX) && what === "replaced") {
      throw new Violation("OneChain", `${who} replaced ${key}`);
    }
    if (!key.startsWith("snapshots/")) this.#objects.set(key, bytes.slice());
    if (key.startsWith(LOG_PREFIX) && before === undefined) await this.#append(key, bytes, who);
  }

  /** A put that comes so late that its slot was written, read and trimmed since. No harm as long as nobody builds on it. */
  #stray(key: string, who: string): void {
    this.#strays++;
    this.#trace.line("store", `${who}'s ${key} landed in a trimmed slot (stray ${this.#strays})`);
  }

  async #append(key: string, bytes: Uint8Array, who: string): Promise<void> {
    const entry = await decodeEntry(bytes, key, inlineCompression).catch((error: unknown) => {
      throw new Violation("OneChain", `${who} wrote what is no entry: ${messageOf(error)}`);
    });
    const { slot, epoch, kind, previous, writer, cluster, more } = entry.header;
    const bad = (what: string): Violation => new Violation("OneChain", `${who} wrote slot ${slot}: ${what}`);
    this.#trace.line("log", `${slot} ${kind}${more ? "+" : ""} epoch ${epoch} by ${writer.member} ${describe(entry)}`);
    if (key !== logKey(slot)) throw bad(`under the key ${key}`);
    if (slot !== this.lastSlot + 1) throw bad(`the last one is ${this.lastSlot}`);
    if (previous !== (this.#slots.at(-1)?.chain ?? "")) throw bad("its predecessor's digest is another");
    this.#clusterUid ??= cluster;
    if (cluster !== this.#clusterUid) throw bad(`of cluster ${cluster}, not ${this.#clusterUid}`);
    const before = this.#slots.at(-1)?.entry.header;
    if (kind === "claim") {
      if (epoch !== this.epoch + 1) throw bad(`claims epoch ${epoch} after ${this.epoch}`);
      this.#claims.set(epoch, { slot, member: writer.member });
    } else if (before === undefined || epoch !== before.epoch || writer.nonce !== before.writer.nonce) {
      throw bad(`epoch ${epoch} of ${writer.member} ${writer.nonce}, without a claim`);
    }
    for (const operation of entry.operations) {
      if (operation.type === "table" && this.#doomed.has(operation.key)) {
        throw new Violation("TheDoomedStay", `slot ${slot} refers to ${operation.key}, which is doomed`);
      }
      if (operation.type === "trim") this.#trim(operation, slot);
    }
    this.#fold.push(entry);
    const chain = createHash("sha256").update(bytes).digest("hex");
    this.#slots.push({ chain, entry, files: this.#fold.files, groupOpen: this.#fold.open, atMs: this.#nowMs() });
  }

  #trim({ fromSlot, throughSlot, keys }: Trim, slot: number): void {
    for (let doomed = fromSlot; doomed <= throughSlot; doomed++) {
      if (this.#slots[doomed]?.entry.header.kind !== "claim") this.#doom(logKey(doomed));
    }
    const used = new Set<string>();
    for (const file of this.#fold.files.values()) if (file.kind === "object") used.add(file.key);
    for (const key of keys) {
      if (used.has(key)) throw new Violation("TheDoomedStay", `slot ${slot} dooms ${key}, which is in use`);
      this.#doom(key);
    }
  }

  #doom(key: string): void {
    if (!this.#doomed.has(key)) this.#doomed.set(key, this.#nowMs());
  }

  /** Whoever waits for an answer to the newest handover must find it. */
  #checkDeletedAnswer(key: string, who: string): void {
    const slot = Number(key.slice(STANDBY_PREFIX.length, key.lastIndexOf("/")));
    const newest = this.#slots.findLastIndex(({ entry }) => entry.header.kind === "handover");
    if (slot >= newest)
      throw new Violation("OnlyTheDoomedGo", `${who} deleted ${key}, the newest handover is ${newest}`);
  }

  #checkDeleted(key: string, who: string): void {
    const doomedMs = this.#doomed.get(key);
    if (doomedMs === undefined) throw new Violation("OnlyTheDoomedGo", `${who} deleted ${key}, which no trim names`);
    const afterMs = this.#nowMs() - doomedMs;
    if (afterMs >= this.#graceMs * (1 - driftMax)) return;
    throw new Violation("TheDoomedStay", `${who} deleted ${key} ${afterMs.toFixed(0)} ms after it was doomed`);
  }

  async #checkDeletedSlot(key: string, who: string): Promise<void> {
    const slot = Number(key.slice(LOG_PREFIX.length));
    if (this.#slots[slot]?.entry.header.kind === "claim") {
      throw new Violation("ClaimsStay", `${who} deleted the claim in slot ${slot}`);
    }
    // A restore from the newest snapshot must find every slot it needs.
    const snapshots = this.#store.entries().filter(([each]) => each.startsWith("snapshots/"));
    const newest = snapshots.at(-1);
    if (newest === undefined)
      throw new Violation("OnlyTheDoomedGo", `${who} deleted slot ${slot} with no snapshot there`);
    const { files, position } = await decodeSnapshot(newest[1], newest[0], inlineCompression);
    let oldest = position.slot + 1;
    for (const file of files.values()) {
      if (file.kind === "append" && file.base?.size !== file.size) oldest = Math.min(oldest, file.firstSlot);
    }
    if (slot >= oldest) {
      throw new Violation("OnlyTheDoomedGo", `${who} deleted slot ${slot}; ${newest[0]} needs slots from ${oldest}`);
    }
  }
}

function describe(entry: Entry): string {
  return entry.operations
    .map((operation): string => {
      switch (operation.type) {
        case "append":
          return `${operation.file}@${operation.offset}+${operation.bytes.length}`;
        case "handover":
          return `to ${operation.to === "" ? "anybody" : operation.to}`;
        case "trim":
          return `slots ${operation.fromSlot}-${operation.throughSlot}, ${operation.keys.length} keys, executed ${operation.executedThrough}`;
        case "write":
        case "table":
        case "directory":
        case "remove":
          break;
      }
      return `${operation.type} ${operation.file}`;
    })
    .join(", ");
}
