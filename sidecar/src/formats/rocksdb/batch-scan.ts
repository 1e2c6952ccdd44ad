import { BATCH_HEADER_BYTES, batchLayouts } from "./batch-layouts.js";

const STRINGS = 3;
const FAMILY = 4;
const BLOB = 8;
const UNKNOWN = 0xff;
const VARINT_SHIFT_MAX = 28;

/** What scanning needs to know of each tag, in a byte. */
const tags = new Uint8Array(256).fill(UNKNOWN);
for (const [tag, { kind, strings, family }] of batchLayouts) {
  tags[tag] = strings | (family ? FAMILY : 0) | (kind === "blobIndex" ? BLOB : 0);
}

const phase = { tag: 0, family: 1, length: 2 } as const;

export type BatchFault = "blobReference" | "unknownTag" | "malformed";

/**
 * Looks for operations that can't be replicated, in a batch that comes in fragments of any size: only tags and lengths are read, keys and values are
 * stepped over. One instance serves one batch after the other.
 */
export class BatchScan {
  #phase: number = phase.tag;
  /** Bytes that are stepped over. */
  #skip = BATCH_HEADER_BYTES;
  /** Strings still to come of the present operation. */
  #strings = 0;
  #value = 0;
  #shift = 0;
  unknownTag = 0;

  begin(): void {
    this.#phase = phase.tag;
    this.#skip = BATCH_HEADER_BYTES;
    this.#value = 0;
    this.#shift = 0;
  }

  feed(bytes: Uint8Array, start: number, end: number): BatchFault | undefined {
    let at = start + this.#skip;
    while (at < end) {
      if (this.#phase === phase.tag) {
        const tag = bytes[at++]!;
        const known = tags[tag]!;
        if (known === UNKNOWN) {
          this.unknownTag = tag;
          return "unknownTag";
        }
        if ((known & BLOB) !== 0) return "blobReference";
        this.#strings = known & STRINGS;
        if ((known & FAMILY) !== 0) this.#phase = phase.family;
        else if (this.#strings > 0) this.#phase = phase.length;
        continue;
      }
      const byte = bytes[at++]!;
      if (byte >= 0x80 || this.#shift > 0) {
        this.#value += (byte & 0x7f) * 2 ** this.#shift;
        this.#shift += 7;
        if (byte >= 0x80) {
          if (this.#shift > VARINT_SHIFT_MAX) return "malformed";
          continue;
        }
      } else this.#value = byte;
      at += this.#number();
    }
    this.#skip = at - end;
    return undefined;
  }

  /** Ends the batch: it must end where an operation ends. */
  end(): BatchFault | undefined {
    return this.#skip === 0 && this.#phase === phase.tag && this.#shift === 0 ? undefined : "malformed";
  }

  /** A varint is complete: the bytes to step over. */
  #number(): number {
    const value = this.#value;
    this.#value = 0;
    this.#shift = 0;
    if (this.#phase === phase.family) {
      this.#phase = this.#strings > 0 ? phase.length : phase.tag;
      return 0;
    }
    if (--this.#strings === 0) this.#phase = phase.tag;
    return value;
  }
}
