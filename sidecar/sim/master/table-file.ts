import { crc32c } from "../../src/formats/rocksdb/crc32c.js";

/** A value under a key, with the sequence number that wrote it. */
export interface Row {
  readonly key: string;
  readonly value: string;
  readonly sequence: number;
}

/** Tables are opaque to the product, so they are what is easiest to check here: text with a checksum. */
export function encodeTable(rows: readonly Row[]): Uint8Array {
  const text = rows.map(({ key, value, sequence }) => `${key} ${sequence} ${value}\n`).join("");
  const body = Buffer.from(text, "latin1");
  return Buffer.concat([body, Buffer.from(`#${rows.length} ${crc32c(body)}\n`, "latin1")]);
}

/** Undefined if a byte is wrong or missing. */
export function decodeTable(bytes: Uint8Array): Row[] | undefined {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");
  const end = text.lastIndexOf("#");
  if (end === -1) return undefined;
  const body = text.slice(0, end);
  const rows = body === "" ? [] : body.slice(0, -1).split("\n").map(decodeRow);
  return text.slice(end) === `#${rows.length} ${crc32c(Buffer.from(body, "latin1"))}\n` ? rows : undefined;
}

function decodeRow(line: string): Row {
  const [key = "", sequence = "", value = ""] = line.split(" ");
  return { key, sequence: Number(sequence), value };
}
