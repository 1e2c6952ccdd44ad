import { readFileSync } from "node:fs";
import { NodeFileSystem } from "../../base/node-file-system.js";
import { SystemClock } from "../../base/system-clock.js";
import { SystemRandom } from "../../base/system-random.js";
import { ZstdCompression } from "../../base/zstd-compression.js";

/** The real things that everything else is given. */
export interface System {
  readonly fs: NodeFileSystem;
  readonly clock: SystemClock;
  readonly random: SystemRandom;
  readonly compression: ZstdCompression;
}

export function openSystem(): System {
  return {
    fs: new NodeFileSystem(),
    clock: new SystemClock(),
    random: new SystemRandom(),
    compression: new ZstdCompression(),
  };
}

/** The product's version, from the package beside the sources or the build. */
export function productVersion(): string {
  for (const up of ["../../../package.json", "../../../../../sidecar/package.json"]) {
    try {
      const value: unknown = JSON.parse(readFileSync(new URL(up, import.meta.url), "utf8"));
      if (typeof value === "object" && value !== null && "version" in value && typeof value.version === "string")
        return value.version;
    } catch {
      // The other place, then.
    }
  }
  return "unknown";
}
