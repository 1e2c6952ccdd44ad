import type { MetaMasterError } from "../base/errors.js";
import { SMALL_FILE_BYTES_MAX, SNAPSHOT_PREFIX, TABLE_PREFIX, type EntryKind, type Operation } from "./entry.js";
import { imagePathFault } from "./image-path.js";

/** Wire tags; little-endian numbers; `str` is u16 length + UTF-8, `bytes` u32 length + bytes. See docs/reference/formats.md. */
const TAG = { append: 1, write: 2, table: 3, directory: 4, remove: 5, handover: 6, trim: 7 } as const;
const STRING_BYTES_MAX = 0xffff;
/** In one `trim` operation. */
export const TRIM_KEYS_MAX = 10_000;
const PERMISSIONS_MAX = 0o7777;

type Refuse = (reason: string) => MetaMasterError;

/** Operations in the wire's format, not yet in one piece. */
export interface EncodedOperations {
  /** Bytes. */
  readonly length: number;
  copyTo(target: Uint8Array): void;
}

class Writer implements EncodedOperations {
  readonly #parts: Uint8Array[] = [];
  #fixed = Buffer.allocUnsafe(256);
  #used = 0;

  number(value: number, size: 1 | 2 | 4): this {
    const at = this.#room(size);
    this.#fixed.writeUIntLE(value, at, size);
    return this;
  }

  /** A count up to 2^53 - 1 as u64. */
  count(value: number): this {
    this.#fixed.writeBigUInt64LE(BigInt(value), this.#room(8));
    return this;
  }

  text(value: string): this {
    const bytes = Buffer.from(value);
    if (bytes.length > STRING_BYTES_MAX) throw new RangeError(`a string of ${bytes.length} bytes`);
    return this.number(bytes.length, 2).raw(bytes);
  }

  raw(bytes: Uint8Array): this {
    this.#flush();
    this.#parts.push(bytes);
    return this;
  }

  finish(): this {
    this.#flush();
    return this;
  }

  get length(): number {
    return this.#parts.reduce((sum, { length }) => sum + length, 0);
  }

  copyTo(target: Uint8Array): void {
    let at = 0;
    for (const part of this.#parts) {
      target.set(part, at);
      at += part.length;
    }
  }

  #room(size: number): number {
    if (this.#used + size > this.#fixed.length) this.#flush();
    const at = this.#used;
    this.#used += size;
    return at;
  }

  #flush(): void {
    if (this.#used === 0) return;
    this.#parts.push(this.#fixed.subarray(0, this.#used));
    this.#fixed = Buffer.allocUnsafe(256);
    this.#used = 0;
  }
}

function encodeOne(writer: Writer, operation: Operation): void {
  writer.number(TAG[operation.type], 1);
  switch (operation.type) {
    case "append":
      writer.text(operation.file).count(operation.offset).number(operation.bytes.length, 4).raw(operation.bytes);
      break;
    case "write":
      writer
        .text(operation.file)
        .number(operation.permissions, 2)
        .number(operation.bytes.length, 4)
        .raw(operation.bytes);
      break;
    case "table":
      writer
        .text(operation.file)
        .number(operation.permissions, 2)
        .count(operation.size)
        .raw(Buffer.from(operation.sha256, "hex"))
        .text(operation.key);
      break;
    case "directory":
      writer.text(operation.file).number(operation.permissions, 2);
      break;
    case "remove":
      writer.text(operation.file);
      break;
    case "handover":
      writer.text(operation.to).count(operation.untilMs);
      break;
    case "trim":
      // throughSlot and executedThrough may be -1 (none): stored plus one.
      writer
        .count(operation.fromSlot)
        .count(operation.throughSlot + 1)
        .count(operation.executedThrough + 1)
        .number(operation.keys.length, 4);
      for (const key of operation.keys) writer.text(key);
      break;
  }
}

export function encodeOperations(operations: readonly Operation[]): EncodedOperations {
  const writer = new Writer();
  for (const operation of operations) encodeOne(writer, operation);
  return writer.finish();
}

class Reader {
  readonly #bytes: Buffer;
  readonly #refuse: Refuse;
  #at = 0;

  constructor(bytes: Uint8Array, refuse: Refuse) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#refuse = refuse;
  }

  get done(): boolean {
    return this.#at === this.#bytes.length;
  }

  refuse(reason: string): MetaMasterError {
    return this.#refuse(`${reason} (byte ${this.#at} of its body)`);
  }

  number(size: 1 | 2 | 4): number {
    return this.#bytes.readUIntLE(this.#take(size), size);
  }

  count(): number {
    const value = Number(this.#bytes.readBigUInt64LE(this.#take(8)));
    if (!Number.isSafeInteger(value)) throw this.refuse("a number is too large");
    return value;
  }

  text(): string {
    const bytes = this.raw(this.number(2));
    try {
      return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    } catch {
      throw this.refuse("a name is not UTF-8");
    }
  }

  file(): string {
    const path = this.text();
    const fault = imagePathFault(path);
    if (fault !== undefined) throw this.refuse(`a file name ${fault}`);
    return path;
  }

  permissions(): number {
    const value = this.number(2);
    if (value > PERMISSIONS_MAX) throw this.refuse("permissions are not valid");
    return value;
  }

  raw(length: number): Uint8Array {
    const at = this.#take(length);
    return this.#bytes.subarray(at, at + length);
  }

  #take(length: number): number {
    if (length > this.#bytes.length - this.#at) throw this.refuse("an operation is cut off");
    const at = this.#at;
    this.#at += length;
    return at;
  }
}

function decodeTrim(reader: Reader): Operation {
  const [fromSlot, through, executed, count] = [reader.count(), reader.count(), reader.count(), reader.number(4)];
  if (count > TRIM_KEYS_MAX) throw reader.refuse(`a trim of ${count} keys`);
  if (fromSlot > through) throw reader.refuse("a trim that goes backwards");
  const keys: string[] = [];
  for (let i = 0; i < count; i++) {
    const key = reader.text();
    // Whoever carries it out deletes these: neither a slot nor the cluster's identity may ever be among them.
    if (!key.startsWith(TABLE_PREFIX) && !key.startsWith(SNAPSHOT_PREFIX))
      throw reader.refuse("a trim of a foreign key");
    keys.push(key);
  }
  return { type: "trim", fromSlot, throughSlot: through - 1, keys, executedThrough: executed - 1 };
}

function decodeOne(reader: Reader): Operation {
  const tag = reader.number(1);
  switch (tag) {
    case TAG.append:
      return { type: "append", file: reader.file(), offset: reader.count(), bytes: reader.raw(reader.number(4)) };
    case TAG.write: {
      const [file, permissions, length] = [reader.file(), reader.permissions(), reader.number(4)];
      if (length > SMALL_FILE_BYTES_MAX) throw reader.refuse(`a small file of ${length} bytes`);
      return { type: "write", file, permissions, bytes: reader.raw(length) };
    }
    case TAG.table: {
      const [file, permissions, size] = [reader.file(), reader.permissions(), reader.count()];
      return {
        type: "table",
        file,
        permissions,
        size,
        sha256: Buffer.from(reader.raw(32)).toString("hex"),
        key: reader.text(),
      };
    }
    case TAG.directory:
      return { type: "directory", file: reader.file(), permissions: reader.permissions() };
    case TAG.remove:
      return { type: "remove", file: reader.file() };
    case TAG.handover:
      return { type: "handover", to: reader.text(), untilMs: reader.count() };
    case TAG.trim:
      return decodeTrim(reader);
    default:
      throw reader.refuse(`operation ${tag} is unknown`);
  }
}

const ALLOWED: Readonly<Record<EntryKind, ReadonlySet<Operation["type"]>>> = {
  claim: new Set(),
  heartbeat: new Set(),
  wal: new Set(["append", "write", "table", "directory", "remove"]),
  checkpoint: new Set(["append", "write", "table", "directory", "remove"]),
  handover: new Set(["handover"]),
  release: new Set(["handover"]),
  trim: new Set(["trim"]),
};

/** Strict: nothing may be left over, and each operation must belong in an entry of that kind. Bytes point into `body`. */
export function decodeOperations(kind: EntryKind, body: Uint8Array, refuse: Refuse): Operation[] {
  const reader = new Reader(body, refuse);
  const operations: Operation[] = [];
  while (!reader.done) {
    const operation = decodeOne(reader);
    if (!ALLOWED[kind].has(operation.type)) throw reader.refuse(`an entry of kind ${kind} with ${operation.type}`);
    operations.push(operation);
  }
  return operations;
}
