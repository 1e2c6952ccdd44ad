import type { Disk, FileNode } from "../disk.js";

export type Step = Generator<void, void, void>;

export const names = {
  wal: (number: number): string => `${String(number).padStart(6, "0")}.log`,
  table: (number: number): string => `${String(number).padStart(6, "0")}.sst`,
  manifest: (number: number): string => `MANIFEST-${String(number).padStart(6, "0")}`,
  options: (number: number): string => `OPTIONS-${String(number).padStart(6, "0")}`,
};

const numbered = /^(?:MANIFEST-|OPTIONS-)?(\d{6,})(?:\.log|\.sst|\.dbtmp)?$/;

/** The number in a file's name, if it has one. */
export function numberOf(name: string): number | undefined {
  const match = numbered.exec(name);
  return match === null ? undefined : Number(match[1]);
}

/** A file of one database while it is written; a write may be seen half done, as any reader of a real file system may see it. */
export function* writeInPieces(disk: Disk, file: FileNode, position: number, bytes: Uint8Array, split: number): Step {
  const at = Math.floor(bytes.length * split);
  if (at > 0 && at < bytes.length) {
    disk.write(file, bytes.subarray(0, at), position);
    yield;
    disk.write(file, bytes.subarray(at), position + at);
  } else disk.write(file, bytes, position);
}

export function writeWhole(disk: Disk, path: string, bytes: Uint8Array): FileNode {
  disk.unlink(path);
  const file = disk.create(path);
  disk.append(file, bytes);
  file.data.sync();
  return file;
}
