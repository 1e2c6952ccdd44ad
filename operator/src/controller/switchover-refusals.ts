import { wait, type Action } from "../decisions/members.js";

const AGAIN_MS = 30_000;

interface Known {
  readonly target: string;
  readonly by: string | undefined;
  /** In the words of the primary's sidecar. */
  readonly why: string;
  /** When it was refused, or asked for again. */
  atMs: number;
}

export interface Asked {
  /** What is to be done now. */
  readonly action: Action;
  /** What people are told: while it is asked for again nothing is known but the refusal. */
  readonly shown: Action;
  /** The refusal has not been told yet. */
  readonly isNews: boolean;
}

/** What a primary's sidecar has refused it is asked for again, but not at once; and one refusal is told once, however often it is given. */
export class SwitchoverRefusals {
  #known: Known | undefined;

  /** `by`: the uid of the primary's pod; `refused`: what stands on it. Monotonic ms. */
  look(action: Action, by: string | undefined, refused: string | undefined, nowMs: number): Asked {
    // What waits for a moment, such as for a standby that fell behind, is the same wish afterwards.
    if (action.do === "Wait") return { action, shown: action, isNews: false };
    if (action.do !== "Switchover") {
      this.#known = undefined;
      return { action, shown: action, isNews: false };
    }
    const { target } = action;
    if (this.#known?.target !== target || this.#known.by !== by) this.#known = undefined;
    const isNews = refused !== undefined && refused !== this.#known?.why;
    if (isNews) this.#known = { target, by, why: refused, atMs: nowMs };
    if (this.#known === undefined) return { action, shown: action, isNews };
    const shown = wait(`the switchover to ${target} was refused, it will be asked for again: ${this.#known.why}`);
    // Asked for, and not answered yet.
    if (refused === undefined) return { action, shown, isNews };
    return { action: nowMs - this.#known.atMs >= AGAIN_MS ? action : shown, shown, isNews };
  }

  asked(nowMs: number): void {
    if (this.#known !== undefined) this.#known.atMs = nowMs;
  }

  /** It has been refused before: that it is asked for is no news. */
  isKnown(): boolean {
    return this.#known !== undefined;
  }
}
