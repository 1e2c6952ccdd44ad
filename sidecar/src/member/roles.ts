import type { Clock } from "../base/clock.js";
import { Changes } from "../base/changes.js";

export type Role =
  /** Comparing the disk with the log, restoring, repairing. */
  | "Syncing"
  /** Follows the log, ready to take over. */
  | "Standby"
  /** Follows to the very end, claims, opens the master. */
  | "Promoting"
  /** Its master writes. */
  | "Primary"
  /** Its master is being ended, because leadership is lost or given up. */
  | "Fencing"
  /** Stands still for a named reason until told to go on. */
  | "Halted";

export interface RoleState {
  /** Grows by one with each change; what a long poll waits on. */
  readonly version: number;
  readonly role: Role;
  /** Why it is in this role, one sentence. */
  readonly reason: string;
  /** Epoch of this member's own claim while it has one. */
  readonly epoch: number | undefined;
  /** True while the master may open the databases for writing. */
  readonly writable: boolean;
  readonly sinceWallMs: number;
}

/** The member's role now and lately, observable. */
export class RoleBoard {
  static readonly #historyLength = 50;
  readonly #clock: Clock;
  readonly #changes = new Changes();
  readonly #history: RoleState[] = [];
  #state: RoleState;
  #onRole: ((state: RoleState, previous: RoleState) => void)[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#state = {
      version: 1,
      role: "Syncing",
      reason: "starting",
      epoch: undefined,
      writable: false,
      sinceWallMs: clock.wallMs(),
    };
    this.#history.push(this.#state);
  }

  get state(): RoleState {
    return this.#state;
  }

  /** Oldest first, at most 50. */
  get history(): readonly RoleState[] {
    return this.#history;
  }

  /** Listeners are called in the act: they must be quick and must not throw. */
  onRole(listener: (state: RoleState, previous: RoleState) => void): () => void {
    this.#onRole.push(listener);
    return () => {
      this.#onRole = this.#onRole.filter((each) => each !== listener);
    };
  }

  enter(role: Role, reason: string, more: { epoch?: number; writable?: boolean } = {}): void {
    const previous = this.#state;
    this.#state = {
      version: previous.version + 1,
      role,
      reason,
      epoch: more.epoch,
      writable: more.writable ?? false,
      sinceWallMs: this.#clock.wallMs(),
    };
    this.#history.push(this.#state);
    if (this.#history.length > RoleBoard.#historyLength) this.#history.shift();
    for (const listener of this.#onRole) listener(this.#state, previous);
    this.#changes.notify();
  }

  /** The state as soon as its version is greater than `version`; rejects with the signal's reason. */
  async after(version: number, signal: AbortSignal): Promise<RoleState> {
    while (this.#state.version <= version) await this.#changes.wait(signal);
    return this.#state;
  }
}

/** A change of role, or why the same role goes on; for the log. */
export function roleText({ role, reason }: RoleState, previous: RoleState): string {
  return role === previous.role ? `${role}: ${reason}` : `${previous.role} -> ${role}: ${reason}`;
}
