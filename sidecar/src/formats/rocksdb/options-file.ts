import { MetaMasterError } from "../../base/errors.js";

/** A file of ten thousand column families has some 60 MB. */
export const OPTIONS_BYTES_MAX = 64 * 1024 * 1024;

export const BLOB_DIRECT_WRITE_HINT =
  "Turn blob direct write off; blob files written by flushes and compactions are supported.";

/** Options of an OPTIONS file that name directories, and what makes them mean the database's own. */
const directoryOptions: ReadonlyMap<string, string> = new Map([
  ["wal_dir", ""],
  ["db_paths", "{}"],
  ["cf_paths", "{}"],
  ["db_log_dir", ""],
]);

interface OptionsChange {
  /** 1-based. */
  readonly line: number;
  readonly option: string;
  readonly was: string;
}

export interface RewrittenOptions {
  readonly bytes: Uint8Array;
  readonly changes: readonly OptionsChange[];
}

/**
 * An OPTIONS file that names no directory, whatever line it stands on (`wal_dir`, `db_paths`, `cf_paths`, `db_log_dir`). A copy of a database with the
 * original's would read, and delete, the original's WAL. `walDirectory`: the copy's own, where it has a separate one. Bytes that need no change
 * come back as they are.
 */
export function rewriteOptions(bytes: Uint8Array, walDirectory: string = ""): RewrittenOptions {
  const changes: OptionsChange[] = [];
  // latin1 keeps every byte, whatever the encoding.
  const lines = Buffer.from(bytes).toString("latin1").split("\n");
  const rewritten = lines.map((line, index) => {
    const match = /^(\s*)([A-Za-z_]+)(\s*=\s*)(.*?)(\s*)$/.exec(line);
    const option = match?.[2];
    const neutral = option === undefined ? undefined : directoryOptions.get(option);
    if (match === null || option === undefined || neutral === undefined) return line;
    const wanted = option === "wal_dir" ? escapeValue(walDirectory) : neutral;
    const was = match[4]!;
    if (was === wanted || isNeutral(was, neutral, wanted)) return line;
    changes.push({ line: index + 1, option, was });
    return `${match[1]}${option}${match[3]}${wanted}${match[5]}`;
  });
  return { bytes: changes.length === 0 ? bytes : Buffer.from(rewritten.join("\n"), "latin1"), changes };
}

function isNeutral(was: string, neutral: string, wanted: string): boolean {
  return wanted === neutral && (was === "" || was === "{}");
}

/** options/options_helper.cc, EscapeOptionString: ':', ';', '#', '\\' and line ends. As UTF-8 bytes in a latin1 string, like the rest. */
function escapeValue(value: string): string {
  const escaped = value
    .replaceAll(/[\\:;#]/g, (character) => `\\${character}`)
    .replaceAll("\n", "\\n")
    .replaceAll("\r", "\\r");
  return Buffer.from(escaped, "utf8").toString("latin1");
}

/**
 * Throws for options of databases that can't be replicated. Blob direct write (RocksDB 11.2+) refers to blob files before the MANIFEST knows them, also
 * from within wide-column values, where no reader of the WAL sees it. `path`: for the message.
 */
export function refuseOptions(bytes: Uint8Array, path: string): void {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
  if (!/^[ \t]*enable_blob_direct_write[ \t]*=[ \t]*true[ \t\r]*$/m.test(text)) return;
  throw new MetaMasterError(
    "BlobReferencesInWal",
    "invalid",
    `${path} sets enable_blob_direct_write: the values would be in neither the WAL nor a file that the MANIFEST knows.`,
    {
      hint: BLOB_DIRECT_WRITE_HINT,
      details: { path },
    },
  );
}
