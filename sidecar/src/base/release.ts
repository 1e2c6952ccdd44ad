/** Smaller arrays may be cut from a pool that others use, too; but none of a pool's is all of it. */
const PART_BYTES_MIN = 64 * 1024;
const WHOLE_BYTES_MIN = 16 * 1024;

/**
 * Gives the memory of `bytes` back at once. V8 counts what lies outside its heap late: at 100 MB/s of buffers that are dropped, hundreds of
 * megabytes stand between two collections, and the collections cost more than what was done with the bytes. Only for bytes that are the
 * caller's alone; they, and all that points into their buffer, are empty afterwards.
 */
export function release(bytes: Uint8Array): void {
  const { buffer, length } = bytes;
  const isOwn = length >= (length === buffer.byteLength ? WHOLE_BYTES_MIN : PART_BYTES_MIN);
  if (isOwn && buffer instanceof ArrayBuffer) buffer.transfer(0);
}
