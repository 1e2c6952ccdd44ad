import type { Clock } from "../base/clock.js";
import { MetaMasterError } from "../base/errors.js";
import type { Bucket } from "./bucket.js";
import type { Operation } from "./errors.js";
import { WrappedBucket } from "./wrapped-bucket.js";

export interface ObservedCall {
  readonly operation: Operation;
  /** `exists`: a create found the key taken; `absent`: nothing under the key. `Aborted`: by the caller. Else the error's code. */
  readonly outcome: string;
  readonly durationMs: number;
  /** Of the body; 0 unless the call succeeded. */
  readonly bytesSent: number;
  readonly bytesReceived: number;
}

export interface BucketObserver {
  onCall(call: ObservedCall): void;
}

/** A bucket that tells of every call; put it beneath `retrying` to see single tries, above it to see what the product waits for. */
export function observed(bucket: Bucket, components: { clock: Clock; observer: BucketObserver }): Bucket {
  const { clock, observer } = components;
  return new WrappedBucket(bucket, async (info, call, work) => {
    const { operation } = info;
    const startMs = clock.monotonicMs();
    const tell = (outcome: string, bytesSent: number, bytesReceived: number): void =>
      observer.onCall({ operation, outcome, durationMs: clock.monotonicMs() - startMs, bytesSent, bytesReceived });
    try {
      const answer = await work(call);
      const sent = operation === "put" || answer === "created" ? info.bytes : 0;
      tell(outcomeOf(operation, answer), sent, answer instanceof Uint8Array ? answer.length : 0);
      return answer;
    } catch (error) {
      tell(error instanceof MetaMasterError ? error.code : "Aborted", 0, 0);
      throw error;
    }
  });
}

function outcomeOf(operation: Operation, answer: unknown): string {
  if (answer === "exists") return "exists";
  return (operation === "get" || operation === "head") && answer === undefined ? "absent" : "ok";
}
