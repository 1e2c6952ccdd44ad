import { crc32c, maskCrc } from "./crc32c.js";
import { readUint32 } from "./byte-reader.js";
import {
  BLOCK_BYTES,
  HEADER_BYTES,
  IGNORABLE_TYPE_BIT,
  RECYCLABLE_HEADER_BYTES,
  headerBytes,
  isDataType,
  isRecyclableType,
  recordType,
  type RecordState,
  type Refusal,
  type TornCause,
} from "./record-framing.js";

/** Takes what the reader finds; `bytes` are only lent for the call. */
export interface RecordSink {
  /** A fragment of a logical record; its checksum is right. `end offset` is known by the reader's `wholeEnd` once `last`. */
  data(
    bytes: Uint8Array,
    start: number,
    end: number,
    first: boolean,
    last: boolean,
    endOffset: number,
  ): Refusal | undefined;
  /** A whole record of another kind (types 9 and up). `index` counts the physical records before it in this file. */
  special(type: number, bytes: Uint8Array, start: number, end: number, offset: number): Refusal | undefined;
}

export interface RecordReaderStart {
  /** A logical record's end, or 0. */
  readonly offset: number;
  readonly recycled: boolean;
  /** A data record in the legacy format was read. */
  readonly legacy: boolean;
}

const CLEAN: RecordState = { kind: "clean" };
const NEEDS_MORE = 0;
const STOPPED = -1;

/**
 * Reads the framing of a growing WAL or MANIFEST, fed in pieces of any size. Checks every fragment's CRC and order. Holds at most one
 * unfinished fragment (32 KiB). Contract: each feed's bytes are the file's bytes at `nextOffset`, which goes back to the fragment's start when
 * what is there is not a record (yet).
 */
export class RecordReader {
  readonly #sink: RecordSink;
  /** Low 32 bits of the WAL's number; undefined for a MANIFEST, where recyclable types don't occur. */
  readonly #logNumber: number | undefined;
  /** The unfinished fragment's bytes so far. */
  readonly #held: Uint8Array = new Uint8Array(BLOCK_BYTES);
  #heldBytes = 0;
  /** File offset of the next fragment (of held[0], if anything is held). */
  #offset: number;
  #wholeEnd: number;
  #recycled: boolean;
  #legacy: boolean;
  #inRecord = false;
  #recordStart = 0;
  #recordBytes = 0;
  #state: RecordState = CLEAN;
  /** The chunk being fed and its place in the file, for looking ahead. */
  #chunk: Uint8Array = new Uint8Array(0);
  #chunkOffset = 0;

  constructor(sink: RecordSink, logNumber: number | undefined, start?: RecordReaderStart) {
    this.#sink = sink;
    this.#logNumber = logNumber === undefined ? undefined : logNumber % 2 ** 32;
    this.#offset = start?.offset ?? 0;
    this.#wholeEnd = this.#offset;
    this.#recycled = start?.recycled ?? false;
    this.#legacy = start?.legacy ?? false;
  }

  get nextOffset(): number {
    return this.#offset + this.#heldBytes;
  }

  get wholeEnd(): number {
    return this.#wholeEnd;
  }

  get state(): RecordState {
    return this.#state;
  }

  /** Record types of a recycled file were seen: its inode's bytes are overwritten in place. */
  get recycled(): boolean {
    return this.#recycled;
  }

  get legacy(): boolean {
    return this.#legacy;
  }

  /**
   * Forgets an unfinished fragment: the next feed begins where it begins. For the end of a recycled file, where what looks like a fragment may be the file's past, soon
   * to be written over.
   */
  rewind(): void {
    this.#heldBytes = 0;
  }

  feed(chunk: Uint8Array): void {
    if (this.#isFinal()) return;
    this.#state = CLEAN;
    this.#chunk = chunk;
    this.#chunkOffset = this.nextOffset;
    this.#consume(chunk);
    if (this.#state === CLEAN && (this.#heldBytes > 0 || this.#inRecord)) {
      const offset = this.#inRecord ? this.#recordStart : this.#offset;
      this.#state = { kind: "torn", cause: "partial", offset, reason: "the record is not complete" };
    }
    this.#chunk = new Uint8Array(0);
  }

  #isFinal(): boolean {
    return this.#state.kind === "unsupported" || (this.#state.kind === "corrupt" && this.#state.final);
  }

  #consume(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.length) {
      const blockLeft = BLOCK_BYTES - (this.#offset % BLOCK_BYTES);
      if (blockLeft < HEADER_BYTES) {
        const skipped = Math.min(blockLeft, chunk.length - at);
        this.#offset += skipped;
        at += skipped;
        continue;
      }
      if (this.#heldBytes > 0) {
        at += this.#topUp(chunk, at);
        if (this.#heldBytes < this.#wanted(this.#held, 0, this.#heldBytes)) continue;
        const consumed = this.#attempt(this.#held, 0, this.#heldBytes);
        this.#heldBytes = 0;
        if (consumed === STOPPED) return;
        this.#offset += consumed;
        continue;
      }
      const consumed = this.#attempt(chunk, at, chunk.length - at);
      if (consumed === STOPPED) return;
      if (consumed === NEEDS_MORE) {
        this.#held.set(chunk.subarray(at));
        this.#heldBytes = chunk.length - at;
        return;
      }
      this.#offset += consumed;
      at += consumed;
    }
  }

  /** Bytes moved from the chunk to the held fragment. */
  #topUp(chunk: Uint8Array, at: number): number {
    const missing = this.#wanted(this.#held, 0, this.#heldBytes) - this.#heldBytes;
    const moved = Math.max(0, Math.min(missing, chunk.length - at));
    this.#held.set(chunk.subarray(at, at + moved), this.#heldBytes);
    this.#heldBytes += moved;
    return moved;
  }

  /** How many bytes of the fragment at #offset must be in hand for the next step. */
  #wanted(bytes: Uint8Array, start: number, have: number): number {
    if (have < HEADER_BYTES) return HEADER_BYTES;
    const length = bytes[start + 4]! | (bytes[start + 5]! << 8);
    const type = bytes[start + 6]!;
    const blockLeft = BLOCK_BYTES - (this.#offset % BLOCK_BYTES);
    if (type === recordType.zero && length === 0) return blockLeft < RECYCLABLE_HEADER_BYTES ? blockLeft : HEADER_BYTES;
    const total = headerBytes(type) + length;
    return total > blockLeft ? HEADER_BYTES : total;
  }

  /** Handles the fragment at #offset. The bytes consumed, NEEDS_MORE, or STOPPED with #state set. */
  #attempt(bytes: Uint8Array, start: number, have: number): number {
    if (have < this.#wanted(bytes, start, have)) return NEEDS_MORE;
    const blockLeft = BLOCK_BYTES - (this.#offset % BLOCK_BYTES);
    const length = bytes[start + 4]! | (bytes[start + 5]! << 8);
    const type = bytes[start + 6]!;
    if (type === recordType.zero && length === 0) return this.#zeros(bytes, start, blockLeft);
    const header = headerBytes(type);
    const total = header + length;
    if (total > blockLeft) return this.#stop("length", "a record longer than its block", 0);
    if (header === RECYCLABLE_HEADER_BYTES) {
      const stopped = this.#checkLogNumber(bytes, start, total);
      if (stopped !== undefined) return stopped;
    }
    if (maskCrc(crc32c(bytes, start + 6, start + total)) !== readUint32(bytes, start)) {
      return this.#stop("checksum", "a record whose checksum is wrong", total);
    }
    if (header === HEADER_BYTES && this.#recycled && isDataType(type)) {
      return this.#stop("type", "a record without a log number in a recycled WAL", total);
    }
    return this.#deliver(type, bytes, start + header, start + total) ? total : STOPPED;
  }

  #checkLogNumber(bytes: Uint8Array, start: number, total: number): number | undefined {
    if (this.#logNumber === undefined || this.#legacy) {
      return this.#stop("type", "a record of a recycled WAL where none can be", total);
    }
    this.#recycled = true;
    if (readUint32(bytes, start + HEADER_BYTES) === this.#logNumber) return undefined;
    return this.#stop("type", "a record of the WAL that this file was before", total);
  }

  /** Writers of recyclable headers fill the last 7 to 10 bytes of a block with zeros; any other zeros are unwritten space. */
  #zeros(bytes: Uint8Array, start: number, blockLeft: number): number {
    if (this.#recycled && blockLeft < RECYCLABLE_HEADER_BYTES) {
      if (bytes.subarray(start, start + blockLeft).every((byte) => byte === 0)) return blockLeft;
    }
    return this.#stop("zeros", "zeros where a record should begin", 0);
  }

  #deliver(type: number, bytes: Uint8Array, start: number, end: number): boolean {
    const fragmentEnd = this.#offset + headerBytes(type) + (end - start);
    const refusal = isDataType(type)
      ? this.#deliverData(type, bytes, start, end, fragmentEnd)
      : this.#deliverSpecial(type, bytes, start, end, fragmentEnd);
    if (refusal === undefined) return true;
    const offset = this.#inRecord ? this.#recordStart : this.#offset;
    this.#state =
      refusal.kind === "unsupported"
        ? { kind: "unsupported", offset, reason: refusal.reason, feature: refusal.feature }
        : { kind: "corrupt", offset, reason: refusal.reason, final: true };
    return false;
  }

  #deliverData(type: number, bytes: Uint8Array, start: number, end: number, fragmentEnd: number): Refusal | undefined {
    const position = type >= recordType.recyclableFull ? type - 4 : type;
    const first = position === recordType.full || position === recordType.first;
    const last = position === recordType.full || position === recordType.last;
    // Early writers could leave an empty First fragment at the end of a block (db/log_reader.cc, ReadRecord).
    if (first && this.#inRecord && this.#recordBytes > 0) return corrupt("a record begins inside another");
    if (!first && !this.#inRecord) return corrupt("a record whose beginning is missing");
    if (type < recordType.recyclableFull) this.#legacy = true;
    if (first) {
      this.#inRecord = true;
      this.#recordStart = this.#offset;
      this.#recordBytes = 0;
    }
    this.#recordBytes += end - start;
    const refusal = this.#sink.data(bytes, start, end, first, last, fragmentEnd);
    if (refusal === undefined && last) {
      this.#inRecord = false;
      this.#wholeEnd = fragmentEnd;
    }
    return refusal;
  }

  #deliverSpecial(
    type: number,
    bytes: Uint8Array,
    start: number,
    end: number,
    fragmentEnd: number,
  ): Refusal | undefined {
    if (this.#inRecord) return corrupt(`a record of type ${type} inside another record`);
    const refusal = this.#sink.special(type, bytes, start, end, this.#offset);
    if (refusal === undefined) this.#wholeEnd = fragmentEnd;
    return refusal;
  }

  /** `total`: the bytes the bad fragment claims, 0 if that can't be trusted. */
  #stop(cause: TornCause, reason: string, total: number): number {
    const offset = this.#offset;
    if (this.#validRecordFollows(offset, total)) {
      this.#state = { kind: "corrupt", offset, reason: `${reason}, with valid records after it`, final: false };
    } else if (this.#recycled) {
      this.#state = { kind: "recycled", offset, reason };
    } else {
      this.#state = { kind: "torn", cause, offset, reason };
    }
    return STOPPED;
  }

  /** Looks right behind the bad fragment and at the start of each later block in hand, as RocksDB's reader would go on. */
  #validRecordFollows(offset: number, total: number): boolean {
    const nextBlock = (Math.floor(offset / BLOCK_BYTES) + 1) * BLOCK_BYTES;
    if (total > 0 && offset + total + HEADER_BYTES <= nextBlock && this.#validAt(offset + total)) return true;
    const chunkEnd = this.#chunkOffset + this.#chunk.length;
    for (let block = nextBlock; block < chunkEnd; block += BLOCK_BYTES) if (this.#validAt(block)) return true;
    return false;
  }

  #validAt(offset: number): boolean {
    const start = offset - this.#chunkOffset;
    const have = this.#chunk.length - start;
    if (start < 0 || have < HEADER_BYTES) return false;
    const type = this.#chunk[start + 6]!;
    const length = this.#chunk[start + 4]! | (this.#chunk[start + 5]! << 8);
    const total = headerBytes(type) + length;
    if (!isDataType(type) || total > have || total > BLOCK_BYTES - (offset % BLOCK_BYTES)) return false;
    if (isRecyclableType(type) ? this.#legacy : this.#recycled) return false;
    if (isRecyclableType(type) && readUint32(this.#chunk, start + HEADER_BYTES) !== this.#logNumber) return false;
    return maskCrc(crc32c(this.#chunk, start + 6, start + total)) === readUint32(this.#chunk, start);
  }
}

function corrupt(reason: string): Refusal {
  return { kind: "corrupt", reason };
}

/** What a sink says to a record type that it doesn't know. */
export function unknownType(type: number): Refusal | undefined {
  if ((type & IGNORABLE_TYPE_BIT) !== 0) return undefined;
  return { kind: "unsupported", reason: `a record of the unknown type ${type}` };
}
