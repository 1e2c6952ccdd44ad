import type { SeededRandom } from "./random.js";

type Unsynced =
  | { readonly kind: "write"; readonly offset: number; readonly bytes: Uint8Array }
  | { readonly kind: "truncate"; readonly size: number };

const pageBytes = 4096;

/**
 * The bytes of one file: what processes read (the page cache) and what a power failure would leave. Until the first change of synced bytes the durable
 * content is a prefix of the visible one and costs nothing; append-only files never leave that state.
 */
export class FileData {
  #bytes = new Uint8Array(0);
  #size = 0;
  /** The durable content once it is no longer a prefix of the visible one. */
  #durable: Uint8Array | undefined;
  #durableSize = 0;
  #unsynced: Unsynced[] = [];

  get size(): number {
    return this.#size;
  }

  /** A view, valid until the next change. */
  view(): Uint8Array {
    return this.#bytes.subarray(0, this.#size);
  }

  write(bytes: Uint8Array, position: number): void {
    this.#keepDurable(position);
    this.#unsynced.push({ kind: "write", offset: position, bytes: new Uint8Array(bytes) });
    this.#grow(position + bytes.length);
    this.#bytes.set(bytes, position);
    this.#size = Math.max(this.#size, position + bytes.length);
  }

  truncate(size: number): void {
    this.#keepDurable(size);
    this.#unsynced.push({ kind: "truncate", size });
    this.#grow(size);
    if (size < this.#size) this.#bytes.fill(0, size, this.#size);
    this.#size = size;
  }

  sync(): void {
    this.#durable = undefined;
    this.#durableSize = this.#size;
    this.#unsynced = [];
  }

  /**
   * The power fails: the synced content, and of what came after it a beginning or, page by page, any part. What a lost write should have filled
   * before one that was kept is zeros.
   */
  loseUnsynced(random: SeededRandom): void {
    const pieces = this.#unsynced.flatMap(pages);
    const durable = this.#durable ?? this.#bytes.slice(0, this.#durableSize);
    const mode = random.weighted({ none: 2, all: 2, prefix: 3, subset: 2 });
    const prefix = mode === "prefix" ? random.between(0, pieces.length) : mode === "all" ? pieces.length : 0;
    const kept = pieces.filter((_, index) => (mode === "subset" ? random.chance(0.5) : index < prefix));
    const torn = mode === "prefix" ? pieces[prefix] : undefined;
    if (torn?.kind === "write" && torn.bytes.length > 1) {
      kept.push({ ...torn, bytes: torn.bytes.subarray(0, random.between(1, torn.bytes.length - 1)) });
    }
    this.#bytes = new Uint8Array(0);
    this.#size = 0;
    this.#durable = undefined;
    this.write(durable, 0);
    for (const piece of kept) {
      if (piece.kind === "write") this.write(piece.bytes, piece.offset);
      else this.truncate(piece.size);
    }
    this.sync();
  }

  #keepDurable(changedFrom: number): void {
    if (this.#durable === undefined && changedFrom < this.#durableSize)
      this.#durable = this.#bytes.slice(0, this.#durableSize);
  }

  #grow(size: number): void {
    if (size <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(size, this.#bytes.length * 2));
    grown.set(this.view());
    this.#bytes = grown;
  }
}

function pages(change: Unsynced): Unsynced[] {
  if (change.kind === "truncate" || change.bytes.length <= pageBytes) return [change];
  const pieces: Unsynced[] = [];
  for (let from = 0; from < change.bytes.length;) {
    const end = Math.min(change.bytes.length, from + pageBytes - ((change.offset + from) % pageBytes));
    pieces.push({ kind: "write", offset: change.offset + from, bytes: change.bytes.subarray(from, end) });
    from = end;
  }
  return pieces;
}
