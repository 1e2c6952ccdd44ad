import type { Bucket } from "../bucket/bucket.js";
import { STANDBY_PREFIX, standbyFolder } from "../formats/entry.js";

/** Which standbys there are. Nobody keeps a list: they answer to a primary that is about to hand over. */
export interface RollCall {
  /** Says that `member` has read the handover entry in `slot`, and could take over. */
  answer(slot: number, member: string, signal: AbortSignal): Promise<void>;
  /** Who has answered to the entry in `slot`, in order. */
  present(slot: number, signal: AbortSignal): Promise<readonly string[]>;
  /** Removes what was answered to earlier ones. */
  clearBefore(slot: number, signal: AbortSignal): Promise<void>;
}

/** Answers are empty objects `standbys/<slot>/<member>`; all that were given since the last roll call fit one page. */
export class BucketRollCall implements RollCall {
  readonly #bucket: Bucket;

  constructor(bucket: Bucket) {
    this.#bucket = bucket;
  }

  async answer(slot: number, member: string, signal: AbortSignal): Promise<void> {
    await this.#bucket.putIfAbsent(`${standbyFolder(slot)}${member}`, new Uint8Array(0), { signal });
  }

  async present(slot: number, signal: AbortSignal): Promise<readonly string[]> {
    const folder = standbyFolder(slot);
    const { objects } = await this.#bucket.list(folder, { signal });
    return objects.map(({ key }) => key.slice(folder.length));
  }

  async clearBefore(slot: number, signal: AbortSignal): Promise<void> {
    const { objects } = await this.#bucket.list(STANDBY_PREFIX, { signal });
    for (const { key } of objects) if (key < standbyFolder(slot)) await this.#bucket.delete(key, { signal });
  }
}
