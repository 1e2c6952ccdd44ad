import { constants, zstdCompressSync } from "node:zlib";
import { recordType } from "../record-framing.js";
import { ByteWriter } from "./bytes.js";
import { RecordWriter } from "./record-writer.js";

export interface WalWriterOptions {
  readonly recyclable?: boolean;
  readonly compressed?: boolean;
}

/** Writes a WAL the way RocksDB does, for tests and the simulator's model master. */
export class WalWriter {
  readonly fileNumber: number;
  readonly #records: RecordWriter;
  readonly #compressed: boolean;
  #started = false;

  constructor(fileNumber: number, options: WalWriterOptions = {}) {
    this.fileNumber = fileNumber;
    this.#records = new RecordWriter(fileNumber, options.recyclable ?? false);
    this.#compressed = options.compressed ?? false;
  }

  /** The file's size once everything given out so far is appended. */
  get offset(): number {
    return this.#records.offset;
  }

  /** The bytes to append to the file for one batch (`buildBatch`). */
  append(payload: Uint8Array): Uint8Array {
    if (!this.#compressed) return this.#records.append(payload);
    const frame = zstdCompressSync(payload, { params: { [constants.ZSTD_c_checksumFlag]: 1 } });
    const start = this.#started ? [] : [this.special(recordType.setCompression, new ByteWriter().fixed32(7).done())];
    return Buffer.concat([...start, this.#records.append(frame)]);
  }

  /** The bytes of a record that is no batch: type 9 and up. */
  special(type: number, payload: Uint8Array): Uint8Array {
    this.#started = true;
    return this.#records.appendPhysical(type, payload);
  }
}
