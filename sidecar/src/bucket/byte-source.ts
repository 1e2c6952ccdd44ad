import type { ByteSource } from "./bucket.js";
import { MetaMasterError } from "../base/errors.js";

/** Bytes in memory; `read` gives views, not copies: they must not change while a put is under way. */
export function bytesSource(bytes: Uint8Array): ByteSource {
  return { size: bytes.length, read: async (offset, length) => bytes.subarray(offset, offset + length) };
}

/** `read`, held to its contract: a source that gives fewer or more bytes than asked for (a file that shrank) must never become an object. */
export async function readExactly(source: ByteSource, offset: number, length: number): Promise<Uint8Array> {
  const bytes = await source.read(offset, length);
  if (bytes.length !== length) {
    throw new MetaMasterError(
      "SourceChanged",
      "invalid",
      `What is to be uploaded changed while it was read: asked for ${length} bytes at ${offset} of ${source.size}, got ${bytes.length}.`,
      {
        hint: "Upload it again from its present content.",
        details: { offset, length, size: source.size, got: bytes.length },
      },
    );
  }
  return bytes;
}
