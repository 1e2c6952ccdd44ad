import type { FileSystem } from "../base/file-system.js";
import { parseFileName, walFileName } from "../formats/rocksdb/file-names.js";
import { WalCursor } from "../formats/rocksdb/wal-cursor.js";
import type { ImageState } from "../formats/image.js";
import { readLocalDatabase, type LocalDatabase } from "./local-database.js";
import type { ReplicaTools } from "./tools.js";

const STEP_BYTES = 1024 * 1024;

/**
 * A hole in what a database holds beyond the log, as a power failure leaves it: an older WAL is gone or cut whose name or bytes nobody had synced, a newer one is there. RocksDB opens
 * such a directory without a word (rocksdb-on-disk: no silent hole). Seen by sequence numbers: what a WAL begins with must follow on what tables, the log or the WAL before it hold.
 * Where tables lost their numbers to a compaction it may say too much, never too little; then the bucket wins, as for all damage.
 */
export async function findTailGap(
  { fs, layout }: Pick<ReplicaTools, "fs" | "layout">,
  image: ImageState,
): Promise<string | undefined> {
  for (const location of layout.layout.databases) {
    const database = await readLocalDatabase(fs, location);
    const gap = database === undefined ? undefined : await gapOf(fs, database, image);
    if (gap !== undefined) return gap;
  }
  return undefined;
}

async function gapOf(
  fs: FileSystem,
  { location, state }: LocalDatabase,
  image: ImageState,
): Promise<string | undefined> {
  const directory = location.walPath ?? location.path;
  let last = BigInt(image.sequences.get(location.name) ?? 0);
  for (const { largestSequence } of state.tables()) if (largestSequence > last) last = largestSequence;
  for (const number of await neededWals(fs, directory, state.walFloor())) {
    const path = `${directory}/${walFileName(number)}`;
    const range = await sequencesOf(fs, path, number);
    if (range === undefined) continue;
    if (range.first > last + 1n) return `${path} begins with sequence ${range.first}, and nothing holds ${last + 1n}`;
    if (range.last > last) ({ last } = range);
  }
  return undefined;
}

async function neededWals(fs: FileSystem, directory: string, floor: number): Promise<number[]> {
  const numbers: number[] = [];
  for (const { name } of await fs.list(directory)) {
    const parsed = parseFileName(name);
    if (parsed?.type === "wal" && !parsed.archived && parsed.number >= floor) numbers.push(parsed.number);
  }
  return numbers.toSorted((left, right) => left - right);
}

/** Of its whole records; undefined: it has none. */
async function sequencesOf(
  fs: FileSystem,
  path: string,
  fileNumber: number,
): Promise<{ readonly first: bigint; readonly last: bigint } | undefined> {
  const file = await fs.open(path, "read");
  try {
    const { size } = await file.stat();
    const cursor = new WalCursor({ fileNumber, file: path });
    const slice = new Uint8Array(Math.min(STEP_BYTES, size));
    let first: bigint | undefined;
    let last = 0n;
    for (let offset = 0; offset < size; offset = cursor.nextOffset) {
      const got = await file.read(slice.subarray(0, Math.min(slice.length, size - offset)), offset);
      if (got === 0) break;
      const { records } = cursor.feed(slice.subarray(0, got));
      for (let index = 0; index < records.length; index++) {
        first ??= records.sequence(index);
        const end = records.lastSequence(index);
        if (end > last) last = end;
      }
      if (cursor.nextOffset <= offset) break;
    }
    return first === undefined ? undefined : { first, last };
  } finally {
    await file.close();
  }
}
