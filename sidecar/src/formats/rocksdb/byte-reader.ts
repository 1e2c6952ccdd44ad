/** Little-endian and varint fields out of a byte range; every read is bounds-checked and gives `undefined` when the bytes don't hold it. */
export class ByteReader {
  readonly #bytes: Uint8Array;
  readonly #end: number;
  #at: number;

  constructor(bytes: Uint8Array, start: number = 0, end: number = bytes.length) {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
  }

  get position(): number {
    return this.#at;
  }

  get remaining(): number {
    return this.#end - this.#at;
  }

  byte(): number | undefined {
    return this.#at < this.#end ? this.#bytes[this.#at++] : undefined;
  }

  fixed32(): number | undefined {
    if (this.remaining < 4) return undefined;
    const value = readUint32(this.#bytes, this.#at);
    this.#at += 4;
    return value;
  }

  fixed64(): bigint | undefined {
    if (this.remaining < 8) return undefined;
    const value = readUint64(this.#bytes, this.#at);
    this.#at += 8;
    return value;
  }

  /** At most 5 bytes, at most 2^32 - 1. */
  varint32(): number | undefined {
    let value = 0;
    for (let index = 0; index < 5; index++) {
      const byte = this.byte();
      if (byte === undefined) return undefined;
      if (index === 4 && byte > 0x0f) return undefined;
      value += (byte & 0x7f) * 2 ** (7 * index);
      if (byte < 0x80) return value;
    }
    return undefined;
  }

  /** At most 10 bytes, at most 2^64 - 1. */
  varint64(): bigint | undefined {
    let low = 0;
    for (let index = 0; index < 7; index++) {
      const byte = this.byte();
      if (byte === undefined) return undefined;
      low += (byte & 0x7f) * 2 ** (7 * index);
      if (byte < 0x80) return BigInt(low);
    }
    let value = BigInt(low);
    for (let index = 7; index < 10; index++) {
      const byte = this.byte();
      if (byte === undefined) return undefined;
      if (index === 9 && byte > 1) return undefined;
      value |= BigInt(byte & 0x7f) << BigInt(7 * index);
      if (byte < 0x80) return value;
    }
    return undefined;
  }

  /** A view of the next `length` bytes, no copy. */
  take(length: number): Uint8Array | undefined {
    if (length > this.remaining) return undefined;
    const start = this.#at;
    this.#at += length;
    return this.#bytes.subarray(start, start + length);
  }

  /** A varint32 length, then so many bytes; a view. */
  lengthPrefixed(): Uint8Array | undefined {
    const length = this.varint32();
    return length === undefined ? undefined : this.take(length);
  }

  /** As lengthPrefixed, without making the view; true if the bytes were there. */
  skipLengthPrefixed(): boolean {
    const length = this.varint32();
    if (length === undefined || length > this.remaining) return false;
    this.#at += length;
    return true;
  }
}

export function readUint32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
}

function readUint64(bytes: Uint8Array, at: number): bigint {
  return (BigInt(readUint32(bytes, at + 4)) << 32n) | BigInt(readUint32(bytes, at));
}
