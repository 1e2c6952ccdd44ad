/** Writes and reads RocksDB's integers and strings (util/coding.h); numbers stay far below 2^53 here. */
export class Encoder {
  readonly #parts: Buffer[] = [];

  varint(value: number): this {
    const bytes: number[] = [];
    let rest = value;
    for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
    bytes.push(rest);
    this.#parts.push(Buffer.from(bytes));
    return this;
  }

  fixed32(value: number): this {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value);
    this.#parts.push(bytes);
    return this;
  }

  fixed64(value: number): this {
    return this.fixed32(value % 2 ** 32).fixed32(Math.floor(value / 2 ** 32));
  }

  byte(value: number): this {
    this.#parts.push(Buffer.from([value]));
    return this;
  }

  text(value: string | Uint8Array): this {
    const bytes = Buffer.from(value as string);
    this.varint(bytes.length);
    this.#parts.push(bytes);
    return this;
  }

  done(): Uint8Array {
    return Buffer.concat(this.#parts);
  }
}

export class Decoder {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get more(): boolean {
    return this.#at < this.#bytes.length;
  }

  byte(): number {
    const byte = this.#bytes[this.#at++];
    if (byte === undefined) throw new Error("read past the end");
    return byte;
  }

  varint(): number {
    let value = 0;
    for (let factor = 1; ; factor *= 0x80) {
      const byte = this.byte();
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
    }
  }

  fixed32(): number {
    return this.byte() + this.byte() * 2 ** 8 + this.byte() * 2 ** 16 + this.byte() * 2 ** 24;
  }

  fixed64(): number {
    return this.fixed32() + this.fixed32() * 2 ** 32;
  }

  text(): string {
    const length = this.varint();
    const end = this.#at + length;
    if (end > this.#bytes.length) throw new Error("read past the end");
    const text = Buffer.from(this.#bytes.buffer, this.#bytes.byteOffset + this.#at, length).toString("latin1");
    this.#at = end;
    return text;
  }
}
