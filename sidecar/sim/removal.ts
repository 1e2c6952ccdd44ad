import { hasCode } from "../src/base/errors.js";
import { decodeEntryHeader } from "../src/formats/entry-codec.js";
import { CLUSTER_KEY, LOG_PREFIX, logKey } from "../src/formats/entry.js";
import { decodeCluster, isDeleted } from "../src/log/cluster-identity.js";
import type { ObjectStore, StoreChange } from "./object-store.js";
import { Violation } from "./violation.js";

export function isPurger(who: string): boolean {
  return who.startsWith("purge");
}

/** The end that a purge puts into a slot. */
function isEndEntry(bytes: Uint8Array, key: string): boolean {
  try {
    decodeEntryHeader(bytes, key);
    return false;
  } catch (error) {
    return hasCode(error, "ClusterDeleted");
  }
}

/** What purges have done to one cluster's prefix, each change checked against the order that lets them die anywhere (src/log/purge/purge.ts). */
export class Removal {
  readonly #store: ObjectStore;
  /** What was in the prefix before and is nobody's of ours. */
  readonly #foreign = new Set<string>();
  readonly #ends = new Set<number>();
  /** Came from members, although their cluster is being deleted. */
  readonly #late = new Set<string>();
  /** The first end was put, the identity was replaced, the identity was deleted. */
  fencedMs: number | undefined;
  begun = false;
  gone = false;
  /** Of whatever comes once all is gone: a request that was long on its way, or somebody who slept. */
  onAfterwards: (change: StoreChange) => void = () => undefined;

  constructor(store: ObjectStore) {
    this.#store = store;
  }

  /** Other people's, who must find it as it was. */
  leave(key: string): void {
    this.#foreign.add(key);
  }

  /** A member's change since the deletion began. */
  late(change: StoreChange): void {
    const { what, key } = change;
    if (what === "deleted") this.#late.delete(key);
    else this.#late.add(key);
    if (this.gone) this.onAfterwards(change);
  }

  /** A purge's change. `lastSlot`: of the members' log. */
  changed(change: StoreChange, lastSlot: number, nowMs: number): void {
    if (this.gone) return this.onAfterwards(change);
    const { who, what, key, bytes } = change;
    const bad = (why: string): Violation => new Violation("PurgeKeepsItsOrder", `${who}: ${key} ${what}, ${why}`);
    if (what === "created") {
      if (!key.startsWith(LOG_PREFIX) || !isEndEntry(bytes, key)) throw bad("a purge creates nothing but ends");
      // Long on its way: it must be swept as what members wrote.
      if (this.begun) return void this.#late.add(key);
      const slot = Number(key.slice(LOG_PREFIX.length));
      if (slot <= lastSlot) throw bad(`the log went on to ${lastSlot}`);
      this.#ends.add(slot);
      this.fencedMs ??= nowMs;
    } else if (what === "replaced") {
      if (key !== CLUSTER_KEY || !isDeleted(decodeCluster(bytes, "the store")))
        throw bad("it replaces the identity alone");
      if (!this.#ends.has(lastSlot + 1) && !this.begun) throw bad(`and slot ${lastSlot + 1} is open to everybody`);
      this.begun = true;
    } else this.#deleted(key, bad);
  }

  #deleted(key: string, bad: (why: string) => Violation): void {
    if (!this.begun) throw bad("and the identity does not say that the cluster is being deleted");
    if (this.#foreign.has(key)) throw bad("which is not ours");
    if (this.#late.delete(key)) return;
    const isEnd = [...this.#ends].some((slot) => key === logKey(slot));
    if (!isEnd && key !== CLUSTER_KEY) return;
    const left = this.left().filter((each) => !isEnd || !this.#isLast(each));
    if (left.length > 0) throw bad(`and ${left[0]} is still there`);
    if (key === CLUSTER_KEY) this.gone = true;
  }

  #isLast(key: string): boolean {
    return key === CLUSTER_KEY || [...this.#ends].some((slot) => key === logKey(slot));
  }

  /** What is still there of what the cluster had before its deletion began. */
  left(): string[] {
    return this.#store
      .entries()
      .map(([key]) => key)
      .filter((key) => !this.#foreign.has(key) && !this.#late.has(key));
  }

  get lateKeys(): readonly string[] {
    return [...this.#late];
  }
}
