/** zstd, passed in: real code runs it off the main thread, the simulation in line so that its order is fixed. */
export interface Compression {
  compress(bytes: Uint8Array): Promise<Uint8Array>;
  /** As `compress`, to the beginning of `target`, without memory of its own: the frame's length in bytes. Throws a RangeError if it doesn't fit. */
  compressInto(bytes: Uint8Array, target: Uint8Array): Promise<number>;
  /** Throws `CompressionCorrupt` (corrupt) if the frame is bad or would give more than `maxBytes`. The result shares no memory with `bytes`. */
  decompress(bytes: Uint8Array, maxBytes: number): Promise<Uint8Array>;
}
