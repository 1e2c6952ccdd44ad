import { createRequire } from "node:module";

/** The parts of the two bindings that are used; neither package ships types. Loaded by require: both are CommonJS with native code. */
interface NativeDatabase {
  ready(): Promise<void>;
  put(key: string, value: string): Promise<void>;
  flush(): Promise<void>;
  close(): Promise<void>;
}

interface LevelDatabase {
  open(): Promise<void>;
  put(key: string, value: string): Promise<void>;
  close(): Promise<void>;
}

const load = createRequire(import.meta.url);

/** RocksDB 10.5: rows in a table and in the WAL. */
export async function writeWithNativeBinding(directory: string, rows: number): Promise<void> {
  const Database = load("rocksdb-native") as new (path: string) => NativeDatabase;
  const database = new Database(directory);
  await database.ready();
  for (let row = 0; row < rows; row++) {
    await database.put(`key${row}`, `value ${row} `.repeat(row % 50));
    if (row === Math.floor(rows / 2)) await database.flush();
  }
  await database.close();
}

/** RocksDB 9.7. */
export async function writeWithNxteditionBinding(directory: string, rows: number): Promise<void> {
  const create = load("@nxtedition/rocksdb") as { RocksLevel: new (path: string, options?: object) => LevelDatabase };
  const database = new create.RocksLevel(directory);
  await database.open();
  for (let row = 0; row < rows; row++) await database.put(`key${row}`, `value ${row} `.repeat(row % 50));
  await database.close();
}
