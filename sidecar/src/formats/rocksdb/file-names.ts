import { MetaMasterError } from "../../base/errors.js";

/**
 * Names of a RocksDB directory (file/filename.cc). File numbers are uint64 there, and packed with 62 bits; ours are JavaScript numbers, so
 * one past 2^53 - 1 is refused (a database that makes a thousand files a second gets there in 285,000 years).
 */
export type FileName =
  | { readonly type: "wal"; readonly number: number; readonly archived: boolean }
  | { readonly type: "manifest"; readonly number: number }
  | { readonly type: "current" }
  | { readonly type: "options"; readonly number: number }
  | { readonly type: "identity" }
  | { readonly type: "lock" }
  /** `LOG`, `LOG.old`, `LOG.old.<time>`: text for people, never replicated. */
  | { readonly type: "infoLog" }
  | { readonly type: "table"; readonly number: number }
  | { readonly type: "blob"; readonly number: number }
  /** `.dbtmp`: being written, never part of an image. */
  | { readonly type: "temporary" }
  /** What RocksDB itself may leave behind and rebuilds: METADB-N, COMPACTION_PROGRESS-N. */
  | { readonly type: "auxiliary" };

const FILE_NUMBER_MAX = Number.MAX_SAFE_INTEGER;
const numbered = /^(\d{1,20})\.(log|sst|ldb|blob|dbtmp)$/;
const archivedWal = /^archive\/(\d{1,20})\.log$/;

const fixedNames: Readonly<Record<string, FileName>> = {
  CURRENT: { type: "current" },
  IDENTITY: { type: "identity" },
  LOCK: { type: "lock" },
  LOG: { type: "infoLog" },
};

/** `name` is relative to the database's directory. `undefined`: not a name RocksDB uses. */
export function parseFileName(name: string): FileName | undefined {
  if (Object.hasOwn(fixedNames, name)) return fixedNames[name];
  if (/^LOG\.old(\.\d+)?$/.test(name)) return { type: "infoLog" };
  if (/^(OPTIONS-\d+|COMPACTION_PROGRESS-\d+|CURRENT|IDENTITY)\.dbtmp$/.test(name)) return { type: "temporary" };
  if (/^(METADB|COMPACTION_PROGRESS)-\d+$/.test(name)) return { type: "auxiliary" };
  const dashed = /^(MANIFEST|OPTIONS)-(\d{1,20})$/.exec(name);
  if (dashed !== null) {
    const number = parseNumber(dashed[2]!);
    return number === undefined ? undefined : { type: dashed[1] === "MANIFEST" ? "manifest" : "options", number };
  }
  const archived = archivedWal.exec(name);
  const match = archived ?? numbered.exec(name);
  const number = match === null ? undefined : parseNumber(match[1]!);
  if (match === null || number === undefined) return undefined;
  if (archived !== null) return { type: "wal", number, archived: true };
  switch (match[2]!) {
    case "log":
      return { type: "wal", number, archived: false };
    case "blob":
      return { type: "blob", number };
    case "dbtmp":
      return { type: "temporary" };
    default:
      return { type: "table", number };
  }
}

function parseNumber(digits: string): number | undefined {
  const number = Number(digits);
  return number <= FILE_NUMBER_MAX ? number : undefined;
}

/** A file number read from a file's content as one of ours. */
export function safeFileNumber(value: bigint): number | undefined {
  return value <= BigInt(FILE_NUMBER_MAX) ? Number(value) : undefined;
}

function padded(number: number): string {
  return String(number).padStart(6, "0");
}

export function walFileName(number: number): string {
  return `${padded(number)}.log`;
}

export function tableFileName(number: number): string {
  return `${padded(number)}.sst`;
}

/** What tables are called in directories that LevelDB or a RocksDB before 2.7 made; RocksDB looks for this name second. */
export function oldTableFileName(number: number): string {
  return `${padded(number)}.ldb`;
}

export function blobFileName(number: number): string {
  return `${padded(number)}.blob`;
}

export function manifestFileName(number: number): string {
  return `MANIFEST-${padded(number)}`;
}

export function optionsFileName(number: number): string {
  return `OPTIONS-${padded(number)}`;
}

/** CURRENT is one line; anything longer is not one. */
export const CURRENT_BYTES_MAX = 64;

/**
 * The MANIFEST that a CURRENT file names. RocksDB refuses one without its newline (db/version_set.cc, `GetCurrentManifestPath`), and so do
 * we: half of it was written.
 */
export function parseCurrent(bytes: Uint8Array, file: string = "CURRENT"): { name: string; number: number } {
  const text = bytes.length <= CURRENT_BYTES_MAX ? Buffer.from(bytes).toString("latin1") : "";
  const name = text.endsWith("\n") ? text.slice(0, -1) : undefined;
  const parsed = name === undefined ? undefined : parseFileName(name);
  if (name === undefined || parsed?.type !== "manifest") {
    throw new MetaMasterError(
      "CurrentFileInvalid",
      "corrupt",
      `${file} does not name a MANIFEST: ${bytes.length} bytes, ${JSON.stringify(text.slice(0, 40))}`,
      {
        hint: "A RocksDB directory's CURRENT holds one line, MANIFEST-<number>, ended by a newline; restore it from the bucket.",
      },
    );
  }
  return { name, number: parsed.number };
}

export function formatCurrent(manifestNumber: number): Uint8Array {
  return Buffer.from(`${manifestFileName(manifestNumber)}\n`, "latin1");
}
