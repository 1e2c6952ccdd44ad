import { wait, type Action } from "../decisions/members.js";

const AGAIN_MS = 30_000;
/** So long the refusal of the request before may still be seen. */
const VIEW_MS = 1000;

interface Known {
  /** Who was to be primary when it was refused: who would be best by now may be another one at each look. */
  readonly target: string;
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

/** What a primary's sidecar has refused it is asked for again, but not at once, whoever is the target then; and one refusal is told once, however often it is given. */
export class SwitchoverRefusals {
  #known: Known | undefined;
  /** Of the primary's pod. */
  #by: string | undefined;
  /** Whom it was asked for last; undefined: what stands on the pod answers a wish of before. */
  #target: string | undefined;
  readonly #told = new Set<string>();

  /** `by`: the uid of the primary's pod; `refused`: what stands on it. Monotonic ms. */
  look(action: Action, by: string | undefined, refused: string | undefined, nowMs: number): Asked {
    // What waits for a moment, such as for a standby that fell behind, is the same wish afterwards.
    if (action.do === "Wait") return { action, shown: action, isNews: false };
    if (action.do !== "Switchover" || this.#by !== by) {
      this.#known = undefined;
      this.#target = undefined;
      this.#told.clear();
    }
    this.#by = by;
    if (action.do !== "Switchover" || this.#target === undefined) return { action, shown: action, isNews: false };
    const isNews = refused !== undefined && this.#heed(this.#target, refused, nowMs);
    if (this.#known === undefined) return { action, shown: action, isNews };
    const { target, why, atMs } = this.#known;
    const shown = wait(`the switchover to ${target} was refused, it will be asked for again: ${why}`);
    // Asked for, and not answered yet.
    if (refused === undefined) return { action, shown, isNews };
    return { action: nowMs - atMs >= AGAIN_MS ? action : shown, shown, isNews };
  }

  /** True: it is to be told. */
  #heed(target: string, why: string, nowMs: number): boolean {
    const known = this.#known;
    const isOther = known?.target !== target && nowMs - (known?.atMs ?? -Infinity) >= VIEW_MS;
    if (known?.why === why && !isOther) return false;
    this.#known = { target, why, atMs: nowMs };
    const what = `${target} ${why}`;
    const isNews = !this.#told.has(what);
    this.#told.add(what);
    return isNews;
  }

  asked(target: string, nowMs: number): void {
    this.#target = target;
    if (this.#known !== undefined) this.#known.atMs = nowMs;
  }

  /** It has been refused before: that it is asked for is no news. */
  isKnown(): boolean {
    return this.#known !== undefined;
  }
}
