import type { FileSystem } from "../../base/file-system.js";
import type { ManifestMark } from "./cut.js";
export class ManifestTracker {
  constructor(fs: FileSystem, directory: string) { void fs; void directory; }
  name = ""; wholeEnd = 0; minimumWal = 0;
  async follow(mark: ManifestMark, signal: AbortSignal): Promise<void> { void mark; void signal; }
  liveFiles(): { name: string; size: number | undefined }[] { return []; }
  bindsAfter(offset: number, covers: (first: bigint, last: bigint) => boolean): boolean { void offset; void covers; return false; }
  async close(): Promise<void> {}
}
