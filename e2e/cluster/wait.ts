import { setTimeout as sleep } from "node:timers/promises";

/** Asks until the probe gives something other than undefined or throws no more; the error tells what the last try said. */
export async function waitFor<T>(
  what: string,
  msMax: number,
  probe: () => Promise<T | undefined>,
  pauseMs = 100,
): Promise<T> {
  const deadline = performance.now() + msMax;
  let last = "never answered";
  for (;;) {
    try {
      const answer = await probe();
      if (answer !== undefined) return answer;
      last = "not yet";
    } catch (error) {
      last = error instanceof Error ? error.message.slice(0, 2_000) : String(error);
    }
    if (performance.now() > deadline) throw new Error(`${what}: not within ${msMax / 1000} s; at last: ${last}`);
    await sleep(pauseMs);
  }
}
