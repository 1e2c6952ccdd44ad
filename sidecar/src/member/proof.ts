/**
 * That the bucket keeps its promises (bucket/probe.ts). To find out takes about as long as a small restore, so it is done beside whatever only reads: following proves every byte by
 * itself. Nothing is claimed before, and no disk is touched that may hold what nobody else has.
 */
export interface Proof {
  /** True once it has passed, false after `ms`; being asked has it begin, if it has not. Rejects with the signal's reason. A bucket that does not keep them ends the run, not this. */
  within(ms: number, signal: AbortSignal): Promise<boolean>;
}

/** Until it has passed. */
export async function proven(proof: Proof, signal: AbortSignal): Promise<void> {
  while (!(await proof.within(WAIT_MS, signal))) signal.throwIfAborted();
}

const WAIT_MS = 60_000;
