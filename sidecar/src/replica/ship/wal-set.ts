import { type MetaMasterError, hasCode, messageOf } from "../../base/errors.js";
import type { ImagePath } from "../../formats/entry.js";
import { parseFileName, walFileName } from "../../formats/rocksdb/file-names.js";
import { SequenceCoverage } from "../../formats/rocksdb/sequence-coverage.js";
import type { WalRecords } from "../../formats/rocksdb/wal-records.js";
import type { DatabaseLocation } from "../layout.js";
import { Buffers } from "../../base/buffers.js";
import type { WalMarks } from "./cut.js";
import type { Links } from "./links.js";
import type { Listings } from "./listing.js";
import type { ShipTools } from "./settings.js";
import type { Shipped } from "./shipped.js";
import type { Scratch } from "./read-ahead.js";
import { Turn } from "./turn.js";
import { probeRecycled, WalCopy } from "./wal-copy.js";
import { WalFile } from "./wal-file.js";

/** Checked in one step: about a millisecond of the event loop. */
const SCRATCH_BYTES = 256 * 1024;

/** Why WAL may not be shipped before a checkpoint has put the MANIFEST beyond it. */
export interface Hold {
  readonly reason: "Gap" | "Reopen" | "Start";
  readonly message: string;
}

export interface WalSetParts {
  readonly tools: ShipTools;
  readonly links: Links;
  readonly listings: Listings;
  readonly shipped: Shipped;
  readonly pieceBytesMax: number;
  readonly onHold: (hold: Hold) => void;
  readonly onTrouble: (message: string) => void;
  readonly onSeen: (bytes: number) => void;
  /** WAL bytes that were seen and need no shipping any more. */
  readonly onWaived: (bytes: number) => void;
}

interface LastBatch {
  readonly file: WalFile;
  readonly sequence: bigint;
  readonly upTo: bigint;
  /** The next batch need not adjoin it. */
  readonly passed?: boolean;
}

/** The WALs of one database that matter: found, kept by links, measured for a cut, checked in order. */
export class WalSet {
  readonly #database: DatabaseLocation;
  readonly #parts: WalSetParts;
  readonly #files = new Map<number, WalFile>();
  readonly #copies = new Map<number, WalCopy>();
  readonly #linkable = new Set<number>();
  /** Not kept, and at the last look too short to tell whether the master recycles it: nothing of it counts yet. */
  readonly #short = new Set<number>();
  readonly coverage = new SequenceCoverage();
  readonly #scratch: Scratch = [new Uint8Array(SCRATCH_BYTES), new Uint8Array(SCRATCH_BYTES)];
  /** Copying may run beside a scan and other copies: each needs its own memory. */
  readonly #copyBuffers = new Buffers(SCRATCH_BYTES);
  /** WALs below it are obsolete by the MANIFEST of the image. */
  #floor = 0;
  /** The last batch that was checked: its first and its last sequence number. */
  #last: LastBatch | undefined;
  /** A WAL that was shipped is another file now. */
  replaced = false;
  /** What the image has of WALs is another database's. */
  #anew = false;
  readonly #apart: { readonly after: number; readonly message: string }[] = [];
  #ended = false;
  /** Rounds and the keeper look at the same files. */
  readonly #turn = new Turn();

  constructor(database: DatabaseLocation, parts: WalSetParts) {
    this.#database = database;
    this.#parts = parts;
  }

  get directory(): string {
    return this.#database.walPath ?? this.#database.path;
  }

  /** Ascending by number. */
  get files(): readonly WalFile[] {
    return [...this.#files.values()].toSorted((left, right) => left.number - right.number);
  }

  get highest(): number {
    return Math.max(0, ...this.#files.keys());
  }

  get(number: number): WalFile | undefined {
    return this.#files.get(number);
  }

  imagePath(number: number): ImagePath {
    const folder = this.#database.walPath === undefined ? this.#database.name : `${this.#database.name}@wal`;
    return `${folder}/${walFileName(number)}`;
  }

  /** A link or copy that an earlier run left: the only place where a WAL may still be that the master has deleted since. */
  async adoptLeftover(name: string): Promise<void> {
    const parsed = parseFileName(name);
    const { links, tools, shipped } = this.#parts;
    const { name: database } = this.#database;
    const original = await tools.fs.stat(`${this.directory}/${name}`);
    const left = await tools.fs.stat(links.pathOf(database, name));
    if (parsed?.type !== "wal" || original !== undefined || left === undefined) {
      await links.drop(database, name);
      return;
    }
    if ((shipped.sizeOf(this.imagePath(parsed.number)) ?? 0) >= left.size) await links.drop(database, name);
    else {
      const file = this.#create(parsed.number, links.pathOf(database, name), left.inode);
      file.gone = true;
      file.final = true;
    }
  }

  /** Measures for a cut, newest first; what is gone and final keeps its size. */
  marks(): Promise<WalMarks> {
    return this.#turn.take(async () => {
      await this.#discover();
      const marks: { number: number; size: number }[] = [];
      for (const file of this.files.toReversed()) {
        if (!file.final) await this.#measure(file);
        marks.unshift({ number: file.number, size: file.seen });
      }
      return marks;
    });
  }

  /** The database is another one: nothing that was seen counts. */
  restart(): Promise<void> {
    return this.#turn.take(async () => {
      for (const file of this.files) await this.#forget(file);
      this.coverage.clear();
      this.#floor = 0;
      this.#last = undefined;
      this.#apart.length = 0;
      this.#anew = true;
      this.replaced = false;
    });
  }

  /** The group that replaced the image's files is emitted. */
  restarted(): void {
    this.#anew = false;
  }

  /** A look at names and sizes only, for links, copies and the lag. Bytes that were not looked at yet. */
  peek(): Promise<number> {
    return this.#turn.take(async () => {
      await this.#discover();
      let fresh = 0;
      for (const file of this.files) {
        if (!file.final) await this.#measure(file);
        fresh += file.unchecked;
      }
      return fresh;
    });
  }

  /** WALs below `minimum` may hold what is not looked at: a checkpoint makes them obsolete, so nothing need adjoin them. */
  passOver(minimum: number): void {
    if (this.#last !== undefined && this.#last.file.number < minimum) this.#last = { ...this.#last, passed: true };
  }

  /** Checks everything up to the cut, in the order of the numbers. */
  async scan(marks: WalMarks, signal: AbortSignal): Promise<void> {
    for (const { number, size } of marks) {
      const file = this.#files.get(number);
      if (file === undefined) continue;
      const batchesBefore = file.cursor.batches;
      await file.scanTo(size, this.#scratch, signal, ({ records, wentBackAt }) => {
        if (wentBackAt !== undefined) this.#wentBack(file);
        cover(this.coverage, records);
        if (records.length === 0) return;
        if (batchesBefore === 0 && this.#last?.file !== file) this.#noteStart(file, records.sequence(0));
        const index = records.length - 1;
        this.#last = { file, sequence: records.sequence(index), upTo: records.lastSequence(index) };
      });
    }
    this.#finalize(marks);
  }

  /**
   * Two WALs whose sequences don't adjoin are a hole only if a WAL between them came and went unseen, and none goes before the MANIFEST is
   * beyond it. `minimum`: the smallest WAL that the MANIFEST of this cut needs.
   */
  checkStarts(minimum: number): void {
    for (const { after, message } of this.#apart.splice(0)) {
      if (minimum > after + 1) this.#gap(message);
    }
  }

  /** What keeps this database's WAL from being shipped up to the cut: damage that only the master's own flush gets past. */
  problem(): MetaMasterError | undefined {
    for (const file of this.files) {
      if (file.problem !== undefined) return file.problem;
    }
    return undefined;
  }

  /** A record that is there in full but fails its check: perhaps about to be written, so nothing can be promised about what follows. */
  unclear(): string | undefined {
    for (const { file, cursor, final } of this.files) {
      const { state } = cursor;
      if (!final && state.kind === "torn" && state.cause !== "partial" && state.cause !== "zeros") {
        return `${file}, offset ${state.offset}: ${state.reason}`;
      }
    }
    return undefined;
  }

  /** The image's MANIFEST needs no WAL below `floor` any more. */
  forgetBelow(floor: number): Promise<void> {
    return this.#turn.take(async () => {
      this.#floor = Math.max(this.#floor, floor);
      for (const file of this.files) {
        if (file.number < this.#floor) await this.#forget(file);
      }
    });
  }

  /** Lets go of what needs no keeping: shipped and never written again. */
  tidy(): Promise<void> {
    return this.#turn.take(async () => {
      for (const file of this.files) {
        if (!file.done) continue;
        await this.#unkeep(file);
        if (file.gone) this.#files.delete(file.number);
      }
    });
  }

  /** The spool is full: files that only our links keep are given up; a gap follows. True if there were any. */
  letGo(): Promise<boolean> {
    return this.#turn.take(async () => {
      const kept = this.files.filter((file) => file.gone && !file.done);
      // First the hold, so that nothing is shipped across the gap while files go.
      if (kept.length > 0) this.#gap(`the spool is full, ${kept.length} WALs not yet shipped were let go`);
      for (const file of kept) await this.#forget(file);
      return kept.length > 0;
    });
  }

  /** The master is dead: what the next cut measures is final. */
  masterEnded(): void {
    this.#ended = true;
  }

  async close(): Promise<void> {
    for (const file of this.#files.values()) await file.close();
    for (const copy of this.#copies.values()) await copy.close();
  }

  async #discover(): Promise<void> {
    const present = new Set<number>();
    for (const { name } of await this.#parts.listings.list(this.directory)) {
      const parsed = parseFileName(name);
      if (parsed?.type !== "wal" || parsed.number < this.#floor) continue;
      present.add(parsed.number);
      const known = this.#files.get(parsed.number);
      if (known === undefined) await this.#found(parsed.number, name);
      else if (!this.#kept(known) && !known.done) await this.#keep(known);
    }
    for (const file of this.files) {
      if (present.has(file.number) || file.gone) continue;
      file.gone = true;
      await this.#vanished(file);
    }
  }

  async #found(number: number, name: string): Promise<void> {
    const path = `${this.directory}/${name}`;
    const stat = await this.#parts.tools.fs.stat(path);
    if (stat === undefined) {
      // Whatever it held was flushed before it could be deleted, but nothing of it was seen.
      this.#gap(`WAL ${number} came and went unseen`);
      return;
    }
    const file = this.#create(number, path, stat.inode);
    await this.#keep(file);
  }

  #create(number: number, path: string, inode: bigint): WalFile {
    const image = this.imagePath(number);
    const { tools, shipped, pieceBytesMax } = this.#parts;
    const size = this.#anew ? 0 : (shipped.sizeOf(image) ?? 0);
    const file = new WalFile(tools.fs, { number, file: image, path, inode, shipped: size, pieceBytesMax });
    this.#files.set(number, file);
    return file;
  }

  #kept(file: WalFile): boolean {
    return this.#copies.has(file.number) || this.#linkable.has(file.number);
  }

  /** By a link, or by a copy if the master recycles its WALs. An empty file does not tell yet: linked, and looked at again. */
  async #keep(file: WalFile): Promise<void> {
    const { links, tools } = this.#parts;
    const original = `${this.directory}/${walFileName(file.number)}`;
    const folder = this.#database.name;
    const name = walFileName(file.number);
    let recycled: boolean | undefined = true;
    this.#short.delete(file.number);
    try {
      recycled = await probeRecycled(tools.fs, original);
      const path = await links.make(folder, name, original);
      if (recycled === true) {
        await links.drop(folder, name);
        const copy = new WalCopy(tools.fs, { number: file.number, original, copy: path });
        await this.#advance(copy).catch((error: unknown) => copy.close().then(() => Promise.reject(error)));
        this.#copies.set(file.number, copy);
        links.adopt(folder, name);
      } else if (recycled === false) this.#linkable.add(file.number);
      file.copyProblem = this.#copies.get(file.number)?.problem();
      file.moveTo(path);
    } catch (error) {
      if (hasCode(error, "FileNotFound")) return;
      if (!hasCode(error, "DiskFull") && !hasCode(error, "FileSystemFailure")) throw error;
      // The size of a recycled WAL says nothing, and its bytes may be written over while they are read: without a copy nothing of it counts.
      // Before the probe has answered it may be one.
      file.copyProblem = recycled === true ? error : undefined;
      if (recycled === undefined) this.#short.add(file.number);
      tools.logger.warn({ path: original, err: error }, "A WAL can't be kept by a link yet; it is tried again.");
      this.#parts.onTrouble(`${original} can't be linked: ${messageOf(error)}`);
    }
  }

  /** Asks for the master's own name of the file: under ours it would be found even if the master has another one there by now. */
  async #measure(file: WalFile): Promise<void> {
    const { fs } = this.#parts.tools;
    const original = await fs.stat(`${this.directory}/${walFileName(file.number)}`);
    const copy = this.#copies.get(file.number);
    if (original !== undefined && original.inode !== file.inode) {
      this.replaced = true;
      return;
    }
    if (copy === undefined) {
      if (file.copyProblem !== undefined || this.#short.has(file.number)) return;
      const stat = original ?? (await fs.stat(file.path));
      if (stat !== undefined) this.#see(file, stat.size);
    } else {
      await this.#advance(copy);
      file.copyProblem = copy.problem();
      this.#see(file, copy.size);
    }
  }

  #see(file: WalFile, size: number): void {
    if (size < file.shipped) this.replaced = true;
    if (size <= file.seen) return;
    this.#parts.onSeen(size - file.seen);
    file.seen = size;
  }

  /** Gone from the directory: with a link or copy nothing is lost; else it may be in the archive. */
  async #vanished(file: WalFile): Promise<void> {
    const { fs } = this.#parts.tools;
    if ((await fs.stat(file.path)) === undefined || file.path.startsWith(`${this.directory}/`)) {
      const archived = `${this.directory}/archive/${walFileName(file.number)}`;
      const stat = await fs.stat(archived);
      if (stat?.inode === file.inode) {
        file.moveTo(archived);
        // Nothing is written to it there: it needs no copy.
        file.copyProblem = undefined;
        this.#short.delete(file.number);
      } else {
        if (!file.done) this.#gap(`WAL ${file.number} was deleted before it was shipped`);
        await this.#forget(file);
        return;
      }
    }
    await this.#measure(file);
    file.final = true;
  }

  /** The first batch of a WAL: does it adjoin the last one before it? */
  #noteStart(file: WalFile, first: bigint): void {
    const last = this.#last;
    if (last === undefined) return;
    if (first < last.sequence) return this.#wentBack(file);
    if (last.passed === true) return;
    // A prepare (two-phase commit) uses none of the numbers it counts: the next batch begins where it began.
    if (first === last.upTo + 1n || first === last.sequence) return;
    this.#apart.push({
      after: last.file.number,
      message: `between WAL ${last.file.number} (to sequence ${last.upTo}) and WAL ${file.number} (from ${first}) one may be missing`,
    });
  }

  #finalize(marks: WalMarks): void {
    let laterHasBatch = false;
    for (const { number, size } of marks.toReversed()) {
      const file = this.#files.get(number);
      if (file === undefined) continue;
      if ((laterHasBatch || this.#ended) && file.seen === size && !file.final) {
        file.final = true;
        const { state } = file.cursor;
        if (laterHasBatch && state.kind === "torn" && state.cause !== "zeros") {
          this.#gap(`WAL ${number} ends in half a record (offset ${state.offset}) and a later one holds data`);
        }
      }
      if (file.cursor.batches > 0) laterHasBatch = true;
    }
  }

  #wentBack(file: WalFile): void {
    this.coverage.clear();
    this.#gap(`sequence numbers go back in WAL ${file.number}: the database was reopened after losing writes`);
  }

  #gap(message: string): void {
    this.#parts.onHold({ reason: "Gap", message: `${this.#database.name}: ${message}` });
  }

  async #unkeep(file: WalFile): Promise<void> {
    await file.close();
    const copy = this.#copies.get(file.number);
    this.#copies.delete(file.number);
    this.#linkable.delete(file.number);
    this.#short.delete(file.number);
    await copy?.close();
    await this.#parts.links.drop(this.#database.name, walFileName(file.number));
  }

  async #forget(file: WalFile): Promise<void> {
    this.#files.delete(file.number);
    this.#parts.onWaived(Math.max(0, file.seen - file.durable));
    await this.#unkeep(file);
  }

  async #advance(copy: WalCopy): Promise<void> {
    const { bytes, give } = this.#copyBuffers.take(SCRATCH_BYTES);
    try {
      await copy.advance(bytes);
    } finally {
      give();
    }
  }
}

/** Adds runs of records that adjoin at once: a bigint for every record would cost more than reading it. */
function cover(coverage: SequenceCoverage, records: WalRecords): void {
  let start = 0;
  for (let index = 0; index < records.length; index++) {
    const next = records.approximateSequence(index) + records.count(index);
    if (index + 1 < records.length && records.approximateSequence(index + 1) === next && next < 2 ** 53) continue;
    const [first, last] = [records.sequence(start), records.sequence(index) + BigInt(records.count(index)) - 1n];
    if (last >= first) coverage.add(first, last);
    start = index + 1;
  }
}
