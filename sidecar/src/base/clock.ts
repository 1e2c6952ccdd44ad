/** Time, passed in everywhere so that a simulation can own it. All values in milliseconds. */
export interface Clock {
  /** Never steps back, unrelated to the wall; leases and deadlines are measured with it. */
  monotonicMs(): number;
  /** Milliseconds since 1970; for people and for records, never for decisions of safety. */
  wallMs(): number;
  /** Resolves after `ms`; rejects at once with `signal.reason` when aborted. Must never leave a timer behind. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** A reason to cut short one's own sleep. The standard one is an exception with a stack, made for nobody, at every request. */
export const NO_LONGER = Symbol("nobody waits for it any longer");
