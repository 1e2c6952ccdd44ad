import type { MetaMasterError } from "../base/errors.js";
import type { EntryHeader, EntryKind, SequenceRange, WriterId } from "./entry.js";

export const HEADER_BYTES_MAX = 64 * 1024;
const NAME_BYTES_MAX = 253;
const DATABASES_MAX = 256;
const KINDS: ReadonlySet<string> = new Set<EntryKind>([
  "claim",
  "wal",
  "checkpoint",
  "heartbeat",
  "handover",
  "release",
  "trim",
]);
const HEX_DIGEST = /^[0-9a-f]{64}$/;
const HEX_NONCE = /^[0-9a-f]{32}$/;
const DECIMAL = /^(0|[1-9][0-9]{0,19})$/;
const UINT64_MAX = (1n << 64n) - 1n;

type Refuse = (reason: string) => MetaMasterError;

/** JSON in this field order, UTF-8. */
export function encodeHeader(header: EntryHeader): Uint8Array {
  const { version, cluster, slot, epoch, kind, previous, writer, wallTimeMs, more, sequences } = header;
  const ordered = {
    version,
    cluster,
    slot,
    epoch,
    kind,
    previous,
    writer: { member: writer.member, nonce: writer.nonce },
    wallTimeMs,
    more,
    sequences: sequences.map(({ database, first, last }) => ({ database, first, last })),
  };
  return Buffer.from(JSON.stringify(ordered));
}

class Fields {
  readonly #values: ReadonlyMap<string, unknown>;
  readonly #refuse: Refuse;
  readonly #where: string;

  constructor(value: unknown, names: readonly string[], where: string, refuse: Refuse) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) throw refuse(`${where} is not an object`);
    this.#values = new Map(Object.entries(value));
    this.#refuse = refuse;
    this.#where = where;
    for (const name of this.#values.keys()) if (!names.includes(name)) throw refuse(`${where} has an unknown field`);
    for (const name of names) if (!this.#values.has(name)) throw refuse(`${where} lacks ${name}`);
  }

  raw(name: string): unknown {
    return this.#values.get(name);
  }

  text(name: string, holds: (text: string) => boolean): string {
    const value = this.raw(name);
    if (typeof value !== "string" || !holds(value)) throw this.#refuse(`${this.#where}.${name} is not valid`);
    return value;
  }

  count(name: string): number {
    const value = this.raw(name);
    if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0)
      throw this.#refuse(`${this.#where}.${name} is not a count`);
    return value;
  }

  flag(name: string): boolean {
    const value = this.raw(name);
    if (typeof value !== "boolean") throw this.#refuse(`${this.#where}.${name} is not true or false`);
    return value;
  }
}

const isName = (text: string): boolean => text.length > 0 && Buffer.byteLength(text) <= NAME_BYTES_MAX;

function isKindName(text: string): text is EntryKind {
  return KINDS.has(text);
}

function parseWriter(value: unknown, refuse: Refuse): WriterId {
  const fields = new Fields(value, ["member", "nonce"], "header.writer", refuse);
  return { member: fields.text("member", isName), nonce: fields.text("nonce", (text) => HEX_NONCE.test(text)) };
}

const isSequence = (text: string): boolean => DECIMAL.test(text) && BigInt(text) <= UINT64_MAX;

function parseSequences(value: unknown, refuse: Refuse): SequenceRange[] {
  if (!Array.isArray(value) || value.length > DATABASES_MAX) throw refuse("header.sequences is not a list");
  return value.map((item: unknown) => {
    const fields = new Fields(item, ["database", "first", "last"], "header.sequences", refuse);
    return {
      database: fields.text("database", isName),
      first: fields.text("first", isSequence),
      last: fields.text("last", isSequence),
    };
  });
}

const FIELDS = ["version", "cluster", "slot", "epoch", "kind", "previous", "writer", "wallTimeMs", "more", "sequences"];

/** Strict: unknown or missing fields, wrong types and values out of range are refused. */
export function decodeHeader(bytes: Uint8Array, refuse: Refuse): EntryHeader {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw refuse("its header is not JSON");
  }
  const fields = new Fields(value, FIELDS, "header", refuse);
  if (fields.count("version") !== 1) throw refuse("its header has an unknown version");
  const kind = fields.text("kind", isKindName);
  if (!isKindName(kind)) throw refuse("header.kind is not valid");
  const slot = fields.count("slot");
  const more = fields.flag("more");
  if (more && kind !== "wal" && kind !== "checkpoint") throw refuse(`an entry of kind ${kind} can't have more to come`);
  return {
    version: 1,
    cluster: fields.text("cluster", isName),
    slot,
    epoch: fields.count("epoch"),
    kind,
    previous: fields.text("previous", (text) => (slot === 0 ? text === "" : HEX_DIGEST.test(text))),
    writer: parseWriter(fields.raw("writer"), refuse),
    wallTimeMs: fields.count("wallTimeMs"),
    more,
    sequences: parseSequences(fields.raw("sequences"), refuse),
  };
}
