import { MetaMasterError } from "../../base/errors.js";
import { BLOB_DIRECT_WRITE_HINT } from "./options-file.js";
import type { Feature, RecordState } from "./record-framing.js";

const unsupported: Record<Feature, { readonly code: string; readonly hint: string }> = {
  blobReference: {
    code: "BlobReferencesInWal",
    hint: BLOB_DIRECT_WRITE_HINT,
  },
  batchTag: {
    code: "WriteBatchUnsupported",
    hint: "This RocksDB writes an operation this version doesn't know: upgrade MetaMaster.",
  },
};

/** A WAL's state as an error; undefined while it is an ordinary one. `file` is named in it. */
export function walProblem(file: string, state: RecordState): MetaMasterError | undefined {
  if (state.kind !== "corrupt" && state.kind !== "unsupported") return undefined;
  const details = { file, offset: state.offset };
  const message = `${file}, offset ${state.offset}: ${state.reason}`;
  if (state.kind === "corrupt") {
    return new MetaMasterError("WalCorrupt", "corrupt", message, {
      details,
      hint: "The database itself can't recover past this; a checkpoint lets replication go on, and the disk should be looked at.",
    });
  }
  const { code, hint } = (state.feature && unsupported[state.feature]) ?? {
    code: "WalRecordUnsupported",
    hint: "This RocksDB writes a WAL record this version doesn't know: upgrade MetaMaster, or turn the feature off.",
  };
  return new MetaMasterError(code, "invalid", message, { details, hint });
}
