import { ByteWriter } from "./bytes.js";

export type BatchOperation =
  | {
      readonly type: "put" | "merge" | "deleteRange" | "blobIndex";
      readonly key: string | Uint8Array;
      readonly value: string | Uint8Array;
      readonly columnFamily?: number;
    }
  | { readonly type: "delete" | "singleDelete"; readonly key: string | Uint8Array; readonly columnFamily?: number }
  | { readonly type: "logData"; readonly value: string | Uint8Array }
  | { readonly type: "noop" };

/** Tag without and with a column family id. */
const tags = {
  put: [0x01, 0x05],
  merge: [0x02, 0x06],
  delete: [0x00, 0x04],
  singleDelete: [0x07, 0x08],
  deleteRange: [0x0f, 0x0e],
  blobIndex: [0x11, 0x10],
} as const;

/** A WriteBatch as it is in a WAL record: sequence, count, operations. */
export function buildBatch(sequence: bigint, operations: readonly BatchOperation[]): Uint8Array {
  const count = operations.filter((each) => each.type !== "logData" && each.type !== "noop").length;
  const writer = new ByteWriter().fixed64(sequence).fixed32(count);
  for (const operation of operations) {
    if (operation.type === "noop") {
      writer.byte(0x0d);
    } else if (operation.type === "logData") {
      writer.byte(0x03).prefixed(operation.value);
    } else {
      const columnFamily = operation.columnFamily ?? 0;
      writer.byte(tags[operation.type][columnFamily === 0 ? 0 : 1]);
      if (columnFamily !== 0) writer.varint(columnFamily);
      writer.prefixed(operation.key);
      if ("value" in operation) writer.prefixed(operation.value);
    }
  }
  return writer.done();
}
