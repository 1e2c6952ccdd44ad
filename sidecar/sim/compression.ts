import { zstdCompressSync, zstdDecompressSync } from "node:zlib";
import type { Compression } from "../src/base/compression.js";
import { MetaMasterError } from "../src/base/errors.js";

/** zstd in line: no thread whose end could come in another order. */
export const inlineCompression: Compression = {
  compress: async (bytes) => zstdCompressSync(bytes),
  decompress: async (bytes, maxBytes) => {
    try {
      return zstdDecompressSync(bytes, { maxOutputLength: Math.max(1, maxBytes) });
    } catch (error) {
      throw new MetaMasterError("CompressionCorrupt", "corrupt", "the zstd frame is bad or too large", {
        cause: error,
      });
    }
  },
};
