import { clearTimeout, setTimeout } from "node:timers";
import type { Clock } from "./clock.js";

/** The longest time that a timer of Node can wait; a longer sleep is several of them. */
const TIMER_MS_MAX = 2 ** 31 - 1;

/** The real time of this process. */
export class SystemClock implements Clock {
  monotonicMs(): number {
    return performance.now();
  }

  wallMs(): number {
    return new Date().getTime();
  }

  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    let left = ms;
    for (; left > TIMER_MS_MAX; left -= TIMER_MS_MAX) await once(TIMER_MS_MAX, signal);
    await once(left, signal);
  }
}

function once(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) {
      reject(signal.reason);
      return;
    }
    const timer = setTimeout(finish, ms);
    signal?.addEventListener("abort", abort, { once: true });

    function finish(): void {
      signal?.removeEventListener("abort", abort);
      resolve();
    }
    function abort(): void {
      clearTimeout(timer);
      reject(signal?.reason);
    }
  });
}
