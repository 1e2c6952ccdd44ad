import { NO_LONGER, type Clock } from "./clock.js";

export interface Limits {
  /** The caller's; its reason is thrown as it is. */
  readonly signal?: AbortSignal | undefined;
  readonly ms: number;
  /** What to throw when the time is over. */
  readonly late: () => Error;
}

/**
 * Runs `work` until it settles, `ms` are over or the caller aborts, whichever comes first: then the signal that `work` was given is
 * aborted and the call rejects at once, even if `work` hangs for ever (a silent server, a dead NFS mount). What a cut `work` still
 * answers is dropped: the caller was told that the effect is unknown.
 */
export async function withDeadline<T>(
  clock: Clock,
  limits: Limits,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const { signal, ms, late } = limits;
  signal?.throwIfAborted();
  const inner = new AbortController();
  const timer = new AbortController();
  const { promise: cut, reject } = Promise.withResolvers<never>();
  const end = (reason: unknown): void => {
    reject(reason);
    inner.abort(reason);
  };
  const onAbort = (): void => end(signal?.reason);
  signal?.addEventListener("abort", onAbort, { once: true });
  clock.sleep(ms, timer.signal).then(
    () => end(late()),
    // Only our own abort below ends it early.
    () => undefined,
  );
  try {
    const running = work(inner.signal);
    running.catch(() => undefined);
    return await Promise.race([running, cut]);
  } finally {
    signal?.removeEventListener("abort", onAbort);
    timer.abort(NO_LONGER);
  }
}
