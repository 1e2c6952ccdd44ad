import { Decoder, Encoder } from "./coding.js";
import type { Row } from "./table-file.js";

export interface FamilyRow extends Row {
  readonly family: number;
}

const put = 0x01;
const putInFamily = 0x05;

/** A WAL record: rows with consecutive sequence numbers (db/write_batch.cc). */
export function encodeBatch(rows: readonly FamilyRow[]): Uint8Array {
  const out = new Encoder().fixed64(rows[0]?.sequence ?? 0).fixed32(rows.length);
  for (const { family, key, value } of rows) {
    if (family === 0) out.byte(put);
    else out.byte(putInFamily).varint(family);
    out.text(key).text(value);
  }
  return out.done();
}

export interface Batch {
  readonly sequence: number;
  readonly rows: readonly FamilyRow[];
}

export function decodeBatch(bytes: Uint8Array): Batch {
  const input = new Decoder(bytes);
  const sequence = input.fixed64();
  const count = input.fixed32();
  const rows: FamilyRow[] = [];
  while (input.more) {
    const type = input.byte();
    if (type !== put && type !== putInFamily) throw new Error(`unexpected record ${type}`);
    const family = type === put ? 0 : input.varint();
    rows.push({ family, key: input.text(), value: input.text(), sequence: sequence + rows.length });
  }
  if (rows.length !== count) throw new Error(`a batch of ${count} rows holds ${rows.length}`);
  return { sequence, rows };
}
