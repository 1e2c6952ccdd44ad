/** Smaller buffers may be cut from a pool that others use, too. */
const RELEASED_BYTES_MIN = 64 * 1024;

/**
 * Gives the memory of `bytes` back at once. V8 counts what lies outside its heap late: at 100 MB/s of buffers that are dropped, hundreds of
 * megabytes stand between two collections, and the collections cost more than what was done with the bytes. Only for bytes that are the
 * caller's alone; they, and all that points into their buffer, are empty afterwards.
 */
export function release(bytes: Uint8Array): void {
  if (bytes.length >= RELEASED_BYTES_MIN && bytes.buffer instanceof ArrayBuffer) bytes.buffer.transfer(0);
}
