import { messageOf } from "../base/errors.js";
import { Backoff } from "./backoff.js";
import type { MemberContext } from "./context.js";
import type { Watch } from "./watch.js";

/** `gate: RoleAware`: the command runs beside a standby too (as a secondary, for reads), and learns its role from /v1/role. */
export class RoleAwareRunner {
  readonly #context: MemberContext;
  readonly #backoff: Backoff;
  #notBeforeMs = -Infinity;

  constructor(context: MemberContext) {
    this.#context = context;
    this.#backoff = new Backoff(context.components.random, context.settings.retry);
  }

  /** Starts it if it should run and doesn't; a command that ends at once is started again ever less often. */
  async keepRunning(watch: Watch): Promise<void> {
    const { settings, components } = this.#context;
    const { master, clock, logger } = components;
    if (settings.gate !== "RoleAware" || master.running || watch.image.files.size === 0) return;
    if (watch.reconciled === "Ahead" || watch.reconciled === "Adoptable") return;
    if (clock.monotonicMs() < this.#notBeforeMs) return;
    this.#notBeforeMs = clock.monotonicMs() + this.#backoff.nextMs();
    try {
      // Without leadership there is no lease to outlive; the watchdog still ends it with this process.
      await master.start(watch.epoch, Infinity);
    } catch (error) {
      logger.warn({ err: error }, `the role-aware command could not be started: ${messageOf(error)}`);
    }
  }
}
