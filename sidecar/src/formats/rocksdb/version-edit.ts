import { MetaMasterError } from "../../base/errors.js";
import { ByteReader } from "./byte-reader.js";
import { safeFileNumber } from "./file-names.js";

/** A table file that an edit adds (tags 7, 100, 102, 103). */
export interface AddedTable {
  readonly level: number;
  readonly number: number;
  /** Index into db_paths / cf_paths; 0 is the first, by default the database's directory. */
  readonly pathId: number;
  readonly size: number;
  readonly smallestSequence: bigint;
  readonly largestSequence: bigint;
  readonly oldestBlobFile: number | undefined;
  /** Since RocksDB 7.9: orders L0; a compaction's output has the smallest of its inputs, all else a new one. */
  readonly epoch: bigint | undefined;
}

interface AddedBlob {
  readonly number: number;
  readonly blobs: bigint;
  readonly bytes: bigint;
}

/** One record of a MANIFEST (db/version_edit.h). Fields that are not there are undefined. */
export interface VersionEdit {
  columnFamily: number;
  databaseId?: string;
  comparator?: string;
  logNumber?: number;
  previousLogNumber?: number;
  nextFileNumber?: number;
  lastSequence?: bigint;
  maxColumnFamily?: number;
  minLogNumberToKeep?: number;
  compactCursors: number;
  deletedTables: { level: number; number: number }[];
  addedTables: AddedTable[];
  addedBlobs: AddedBlob[];
  blobGarbage: AddedBlob[];
  /** track_and_verify_wals_in_manifest: a WAL was created, or synced to a size. */
  addedWals: { number: number; syncedSize: bigint | undefined }[];
  /** WALs with smaller numbers are gone. */
  walsDeletedBefore?: number;
  addedColumnFamily?: string;
  droppedColumnFamily: boolean;
  /** Edits of the same atomic group that follow this one. */
  remainingInGroup?: number;
  fullHistoryTimestampLow: boolean;
  persistTimestamps?: boolean;
  subcompactionProgress: boolean;
  /** Tags that this reader doesn't know and that their writer allows to ignore. */
  ignoredTags: number[];
}

const IGNORABLE_TAG_BIT = 0x2000;
const IGNORABLE_FIELD_BLOCKED_BIT = 0x40;
const PATH_ID_MAX = 3;
/** An internal key is a user key and 8 bytes of sequence and type (db/dbformat.h). */
const INTERNAL_KEY_BYTES_MIN = 8;

/** `where` names file and offset. Throws `ManifestCorrupt` or `ManifestUnsupported`. */
export function decodeVersionEdit(payload: Uint8Array, where: string): VersionEdit {
  return new EditDecoder(payload, where).decode();
}

function emptyVersionEdit(): VersionEdit {
  return {
    columnFamily: 0,
    compactCursors: 0,
    deletedTables: [],
    addedTables: [],
    addedBlobs: [],
    blobGarbage: [],
    addedWals: [],
    droppedColumnFamily: false,
    fullHistoryTimestampLow: false,
    subcompactionProgress: false,
    ignoredTags: [],
  };
}

class EditDecoder {
  readonly #in: ByteReader;
  readonly #where: string;
  readonly #edit: VersionEdit = emptyVersionEdit();

  constructor(payload: Uint8Array, where: string) {
    this.#in = new ByteReader(payload);
    this.#where = where;
  }

  decode(): VersionEdit {
    while (this.#in.remaining > 0) {
      const tag = this.#need(this.#in.varint32(), "a tag");
      if (!this.#scalarTag(tag) && !this.#structureTag(tag)) this.#unknownTag(tag);
    }
    return this.#edit;
  }

  #scalarTag(tag: number): boolean {
    const edit = this.#edit;
    switch (tag) {
      case 1:
        edit.comparator = this.#text("comparator");
        return true;
      case 2:
        edit.logNumber = this.#number("log number");
        return true;
      case 3:
        edit.nextFileNumber = this.#number("next file number");
        return true;
      case 4:
        edit.lastSequence = this.#need(this.#in.varint64(), "last sequence");
        return true;
      case 9:
        edit.previousLogNumber = this.#number("previous log number");
        return true;
      case 10:
        edit.minLogNumberToKeep = this.#number("min log number to keep");
        return true;
      case 200:
        edit.columnFamily = this.#need(this.#in.varint32(), "column family");
        return true;
      case 201:
        edit.addedColumnFamily = this.#text("column family name");
        return true;
      case 202:
        edit.droppedColumnFamily = true;
        return true;
      case 203:
        edit.maxColumnFamily = this.#need(this.#in.varint32(), "max column family");
        return true;
      case 300:
        edit.remainingInGroup = this.#need(this.#in.varint32(), "atomic group");
        return true;
      case 8193:
        edit.databaseId = this.#text("database id");
        return true;
      default:
        return false;
    }
  }

  #structureTag(tag: number): boolean {
    const edit = this.#edit;
    switch (tag) {
      case 5:
        this.#need(this.#in.varint32(), "compaction cursor's level");
        this.#internalKey("compaction cursor");
        edit.compactCursors++;
        return true;
      case 6: {
        const level = this.#need(this.#in.varint32(), "deleted file's level");
        edit.deletedTables.push({ level, number: this.#number("deleted file's number") });
        return true;
      }
      case 7:
      case 100:
      case 102:
      case 103:
        edit.addedTables.push(this.#table(tag));
        return true;
      case 400:
      case 8194:
        edit.addedBlobs.push(this.#blob(true));
        return true;
      case 401:
      case 8195:
        edit.blobGarbage.push(this.#blob(false));
        return true;
      case 8196:
        this.#walAddition(this.#in);
        return true;
      case 8197:
        edit.walsDeletedBefore = this.#number("WAL deletion");
        return true;
      case 8199:
        this.#walAddition(this.#field("WAL addition"));
        return true;
      case 8200:
        edit.walsDeletedBefore = this.#safe(this.#field("WAL deletion").varint64(), "WAL deletion");
        return true;
      case 8198:
        this.#field("full history timestamp");
        edit.fullHistoryTimestampLow = true;
        return true;
      case 8201:
        edit.persistTimestamps = this.#need(this.#field("persist timestamps").byte(), "persist timestamps") === 1;
        return true;
      case 8202:
        this.#field("subcompaction progress");
        edit.subcompactionProgress = true;
        return true;
      case 8203:
        this.#field("last MANIFEST size");
        return true;
      default:
        return false;
    }
  }

  #unknownTag(tag: number): void {
    if ((tag & IGNORABLE_TAG_BIT) === 0) this.#unsupported(`tag ${tag}`);
    this.#field(`tag ${tag}`);
    this.#edit.ignoredTags.push(tag);
  }

  #table(tag: number): AddedTable {
    const level = this.#need(this.#in.varint32(), "new file's level");
    const number = this.#number("new file's number");
    let pathId = tag === 102 ? this.#need(this.#in.varint32(), "new file's path id") : 0;
    const size = this.#number("new file's size");
    this.#internalKey("new file's smallest key");
    this.#internalKey("new file's largest key");
    const sequences = tag !== 7;
    const smallestSequence = sequences ? this.#need(this.#in.varint64(), "new file's smallest sequence") : 0n;
    const largestSequence = sequences ? this.#need(this.#in.varint64(), "new file's largest sequence") : 0n;
    const extra = tag === 103 ? this.#tableFields() : undefined;
    pathId = extra?.pathId ?? pathId;
    if (pathId > PATH_ID_MAX) this.#corrupt(`path id ${pathId} of file ${number}`);
    const { oldestBlobFile, epoch } = extra ?? {};
    return { level, number, pathId, size, smallestSequence, largestSequence, oldestBlobFile, epoch };
  }

  /** Tag, length, value each, up to tag 1. */
  #tableFields(): { pathId?: number; oldestBlobFile?: number; epoch?: bigint } {
    const fields: { pathId?: number; oldestBlobFile?: number; epoch?: bigint } = {};
    for (;;) {
      const tag = this.#need(this.#in.varint32(), "new file's field");
      if (tag === 1) return fields;
      const value = this.#field("new file's field");
      if (tag === 3) this.#edit.minLogNumberToKeep = this.#safe(value.fixed64(), "new file's min log number");
      else if (tag === 4) fields.oldestBlobFile = this.#safe(value.varint64(), "oldest blob file");
      else if (tag === 13) fields.epoch = this.#need(value.varint64(), "epoch number");
      else if (tag === 65) fields.pathId = this.#need(value.byte(), "path id");
      else if ((tag & IGNORABLE_FIELD_BLOCKED_BIT) !== 0) this.#unsupported(`field ${tag} of a new file`);
    }
  }

  #blob(addition: boolean): AddedBlob {
    const number = this.#number("blob file's number");
    const blobs = this.#need(this.#in.varint64(), "blob count");
    const bytes = this.#need(this.#in.varint64(), "blob bytes");
    if (addition) {
      this.#field("blob checksum method");
      this.#field("blob checksum");
    }
    for (;;) {
      const tag = this.#need(this.#in.varint32(), "blob file's field");
      if (tag === 0) return { number, blobs, bytes };
      if ((tag & IGNORABLE_FIELD_BLOCKED_BIT) !== 0) this.#unsupported(`field ${tag} of a blob file`);
      this.#field("blob file's field");
    }
  }

  #walAddition(from: ByteReader): void {
    const number = this.#safe(from.varint64(), "WAL number");
    let syncedSize: bigint | undefined;
    for (;;) {
      const tag = this.#need(from.varint32(), "WAL's field");
      if (tag === 1) break;
      if (tag !== 2) this.#unsupported(`field ${tag} of a WAL`);
      syncedSize = this.#need(from.varint64(), "WAL's synced size");
    }
    this.#edit.addedWals.push({ number, syncedSize });
  }

  #internalKey(what: string): void {
    const key = this.#need(this.#in.lengthPrefixed(), what);
    if (key.length < INTERNAL_KEY_BYTES_MIN) this.#corrupt(what);
  }

  #field(what: string): ByteReader {
    return new ByteReader(this.#need(this.#in.lengthPrefixed(), what));
  }

  #text(what: string): string {
    return Buffer.from(this.#need(this.#in.lengthPrefixed(), what)).toString("utf8");
  }

  #number(what: string): number {
    return this.#safe(this.#in.varint64(), what);
  }

  #safe(value: bigint | undefined, what: string): number {
    return this.#need(safeFileNumber(this.#need(value, what)), what);
  }

  #need<T>(value: T | undefined, what: string): T {
    return value ?? this.#corrupt(what);
  }

  #corrupt(what: string): never {
    throw new MetaMasterError("ManifestCorrupt", "corrupt", `${this.#where}: ${what} can't be read`, {
      hint: "RocksDB itself can't open this MANIFEST; restore the database from the bucket.",
    });
  }

  #unsupported(what: string): never {
    throw new MetaMasterError("ManifestUnsupported", "invalid", `${this.#where}: ${what} is not known`, {
      hint: "This RocksDB writes something this version doesn't know: upgrade MetaMaster, or turn the feature off.",
    });
  }
}
