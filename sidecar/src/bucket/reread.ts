import { open } from "node:fs/promises";
import { hasCode, type MetaMasterError } from "../base/errors.js";
import type { Bucket } from "./bucket.js";
import { WrappedBucket } from "./wrapped-bucket.js";

/** Files that calls to a store rest on, and that may be replaced while it runs: credentials, the CA. */
export interface Reread<T> {
  /** With this a store refuses what they held. */
  readonly code: string;
  /** Before a call: what they hold. */
  readonly now: () => T | Promise<T>;
  /** Looks at once. */
  readonly changedSince: (then: T) => Promise<boolean>;
  /** The refusal, with where the files are. */
  readonly explain: (error: MetaMasterError) => MetaMasterError;
}

/** A call that is refused for what the files held is made once more if they hold something else by now. */
export function withReread<T>({ code, now, changedSince, explain }: Reread<T>, bucket: Bucket): Bucket {
  return new WrappedBucket(bucket, async (_info, call, work) => {
    const then = await now();
    try {
      return await work(call);
    } catch (error) {
      if (!hasCode(error, code)) throw error;
      if (!(await changedSince(then))) throw explain(error);
    }
    try {
      return await work(call);
    } catch (error) {
      throw hasCode(error, code) ? explain(error) : error;
    }
  });
}

/** Never more than `bytesMax` are read: throws if there are more, and what `open` throws. */
export async function readSmallFile(path: string, bytesMax: number): Promise<string> {
  const file = await open(path, "r");
  try {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(bytesMax + 1), 0, bytesMax + 1);
    if (bytesRead > bytesMax) throw new Error(`it has more than ${bytesMax} bytes`);
    return buffer.toString("utf8", 0, bytesRead);
  } finally {
    await file.close();
  }
}
