/** WriteBatch header: sequence fixed64, count fixed32 (db/write_batch.cc). */
export const BATCH_HEADER_BYTES = 12;

export type BatchRecordKind =
  | "put"
  | "delete"
  | "singleDelete"
  | "merge"
  | "deleteRange"
  | "blobIndex"
  | "putEntity"
  | "timedPut"
  | "logData"
  | "noop"
  | "beginPrepare"
  | "beginPersistedPrepare"
  | "beginUnprepare"
  | "endPrepare"
  | "commit"
  | "commitWithTimestamp"
  | "rollback";

export interface BatchLayout {
  readonly kind: BatchRecordKind;
  /** A column family id comes first. */
  readonly family: boolean;
  /** Varint-prefixed strings in the body. */
  readonly strings: number;
  /** Counted in the header, takes a sequence number. */
  readonly counted: boolean;
}

/** db/dbformat.h, enum ValueType, and db/write_batch.cc, ReadRecordFromWriteBatch. */
export const batchLayouts: ReadonlyMap<number, BatchLayout> = new Map([
  ...keyed("delete", 0x00, 0x04, 1),
  ...keyed("put", 0x01, 0x05, 2),
  ...keyed("merge", 0x02, 0x06, 2),
  ...keyed("singleDelete", 0x07, 0x08, 1),
  ...keyed("deleteRange", 0x0f, 0x0e, 2),
  ...keyed("blobIndex", 0x11, 0x10, 2),
  ...keyed("putEntity", 0x16, 0x17, 2),
  ...keyed("timedPut", 0x18, 0x19, 2),
  marker("logData", 0x03, 1),
  marker("noop", 0x0d, 0),
  marker("beginPrepare", 0x09, 0),
  marker("beginPersistedPrepare", 0x12, 0),
  marker("beginUnprepare", 0x13, 0),
  marker("endPrepare", 0x0a, 1),
  marker("commit", 0x0b, 1),
  marker("rollback", 0x0c, 1),
  marker("commitWithTimestamp", 0x15, 2),
]);

function keyed(kind: BatchRecordKind, tag: number, familyTag: number, strings: number): [number, BatchLayout][] {
  return [
    [tag, { kind, family: false, strings, counted: true }],
    [familyTag, { kind, family: true, strings, counted: true }],
  ];
}

function marker(kind: BatchRecordKind, tag: number, strings: number): [number, BatchLayout] {
  return [tag, { kind, family: false, strings, counted: false }];
}
