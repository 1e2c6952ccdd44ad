import { MetaMasterError } from "../../base/errors.js";
import type { FileHandle, FileSystem } from "../../base/file-system.js";
import type { ImagePath } from "../../formats/entry.js";
import { WalCursor, type WalFeed } from "../../formats/rocksdb/wal-cursor.js";
import type { WalRecords } from "../../formats/rocksdb/wal-records.js";
import { ReadAhead, type Scratch } from "./read-ahead.js";

/** Whole records that lie one after the other and fit an entry together, or one record that is larger than an entry. */
export interface Piece {
  readonly start: number;
  end: number;
  first: bigint | undefined;
  last: bigint | undefined;
}

export interface WalFileStart {
  readonly number: number;
  readonly file: ImagePath;
  /** Where its bytes are read. */
  readonly path: string;
  readonly inode: bigint;
  /** Bytes of it that the image holds. */
  readonly shipped: number;
  readonly pieceBytesMax: number;
}

/** One WAL: how much of it was seen, checked, handed to the writer, and is durable. Offsets in bytes. */
export class WalFile {
  readonly number: number;
  readonly file: ImagePath;
  readonly inode: bigint;
  readonly cursor: WalCursor;
  #path: string;
  /** Size at the last look. */
  seen: number;
  /** Handed to the writer. */
  shipped: number;
  durable: number;
  /** Nothing is written to it any more: a later WAL held a batch when this one was measured, or nobody can write to it. */
  final = false;
  /** The master has deleted or archived it. */
  gone = false;
  /** What keeps the copy of a recycled WAL from growing: the copy itself ends before it. */
  copyProblem: MetaMasterError | undefined;
  readonly #fs: FileSystem;
  readonly #pieceBytesMax: number;
  readonly #pieces: Piece[] = [];
  #checkedTo = 0;
  #handle: FileHandle | undefined;
  #moved = false;
  /** Settles when no read is under way. */
  #reading: Promise<unknown> = Promise.resolve();

  constructor(fs: FileSystem, start: WalFileStart) {
    this.#fs = fs;
    this.number = start.number;
    this.file = start.file;
    this.#path = start.path;
    this.inode = start.inode;
    this.seen = start.shipped;
    this.shipped = start.shipped;
    this.durable = start.shipped;
    this.#pieceBytesMax = start.pieceBytesMax;
    this.cursor = new WalCursor({ fileNumber: start.number, file: start.file });
  }

  get path(): string {
    return this.#path;
  }

  /** Bytes on the disk that were not looked at yet. */
  get unchecked(): number {
    return Math.max(0, this.seen - Math.max(this.#checkedTo, this.shipped));
  }

  /** What no record can be shipped past. */
  get problem(): MetaMasterError | undefined {
    return this.cursor.problem() ?? this.copyProblem;
  }

  /** Every whole record that was seen is in the image, and nothing else is in it. */
  get done(): boolean {
    return (
      this.problem === undefined && this.final && this.#checkedTo >= this.seen && this.durable >= this.cursor.wholeEnd
    );
  }

  /** Its bytes are (also) under another name now: opened there at the next read. */
  moveTo(path: string): void {
    this.#path = path;
    this.#moved = true;
  }

  /** Checks the bytes up to `limit`; `onFeed` is told what each step completed. Bad bytes show in `cursor.state`. */
  async scanTo(limit: number, scratch: Scratch, signal: AbortSignal, onFeed: (feed: WalFeed) => void): Promise<void> {
    // What is torn at the end becomes whole only by growing (a recycled file is a growing copy here).
    if (limit <= this.#checkedTo) return;
    const steps = new ReadAhead(scratch, limit, (bytes, offset) => this.readAt(bytes, offset));
    try {
      for (;;) {
        signal.throwIfAborted();
        const offset = this.cursor.nextOffset;
        const bytes = await steps.at(offset);
        if (bytes.length === 0) break;
        const feed = this.cursor.feed(bytes);
        this.#collect(feed);
        onFeed(feed);
        if (this.cursor.nextOffset <= offset || this.cursor.problem() !== undefined) break;
      }
    } finally {
      await steps.end();
    }
    // Damage may be a read that raced with a write: look again in the next round.
    if (this.cursor.state.kind !== "corrupt") this.#checkedTo = limit;
  }

  /** The next piece to ship. */
  get piece(): Piece | undefined {
    return this.#pieces[0];
  }

  /** The next piece is on its way. */
  took(): void {
    const piece = this.#pieces.shift();
    if (piece !== undefined) this.shipped = piece.end;
  }

  /** Exactly `target.length` bytes from `start`. One read at a time. */
  async readAt(target: Uint8Array, start: number): Promise<void> {
    const reading = this.#read(target, start);
    this.#reading = reading.catch(() => undefined);
    const got = await reading;
    if (got === target.length) return;
    throw new MetaMasterError(
      "WalShrank",
      "corrupt",
      `${this.#path} ends at ${start + got}, but it held ${start + target.length} bytes when it was measured.`,
      {
        hint: "Somebody truncated or replaced a WAL while it was shipped; only the master may write there.",
        details: { path: this.#path, offset: start + got },
      },
    );
  }

  async close(): Promise<void> {
    await this.#reading;
    const handle = this.#handle;
    this.#handle = undefined;
    await handle?.close();
  }

  async #read(target: Uint8Array, start: number): Promise<number> {
    if (this.#moved) {
      this.#moved = false;
      const old = this.#handle;
      this.#handle = undefined;
      await old?.close();
    }
    this.#handle ??= await this.#fs.open(this.#path, "read");
    return await this.#handle.read(target, start);
  }

  /** Fills pieces record by record, in steps of binary searches: a megabyte may hold 30,000 records. */
  #collect({ records }: WalFeed): void {
    let index = 0;
    // What an earlier epoch shipped is checked again, not shipped again.
    while (index < records.length && records.end(index) <= this.shipped) index++;
    while (index < records.length) {
      const open = this.#openPiece(records.end(index));
      const last = lastWithin(records, open.start + this.#pieceBytesMax, index);
      open.end = records.end(last);
      open.first ??= records.sequence(index);
      open.last = records.lastSequence(last);
      index = last + 1;
    }
    // Records that are no batches (compression, timestamp sizes) end the file for now.
    const { wholeEnd } = this.cursor;
    if (wholeEnd > Math.max(this.shipped, this.#pieces.at(-1)?.end ?? 0)) this.#openPiece(wholeEnd).end = wholeEnd;
  }

  /** The piece that a record which ends at `end` belongs to. */
  #openPiece(end: number): Piece {
    const open = this.#pieces.at(-1);
    if (open !== undefined && end - open.start <= this.#pieceBytesMax) return open;
    const start = open?.end ?? this.shipped;
    const piece: Piece = { start, end, first: undefined, last: undefined };
    this.#pieces.push(piece);
    return piece;
  }
}

/** The last record from `index` on that ends at or before `offset`; `index` itself if even that one does not. */
function lastWithin(records: WalRecords, offset: number, index: number): number {
  let low = index + 1;
  let high = records.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (records.end(middle) <= offset) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
