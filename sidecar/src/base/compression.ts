/** zstd, passed in: real code runs it off the main thread, the simulation in line so that its order is fixed. */
export interface Compression {
  compress(bytes: Uint8Array): Promise<Uint8Array>;
  /** Throws `CompressionCorrupt` (corrupt) if the frame is bad or would give more than `maxBytes`. The result shares no memory with `bytes`. */
  decompress(bytes: Uint8Array, maxBytes: number): Promise<Uint8Array>;
}
