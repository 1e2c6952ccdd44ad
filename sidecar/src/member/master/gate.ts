import { Changes } from "../../base/changes.js";

/** What holds a master's container back until its member is primary: the kubelet asks at `/v1/gate` (docs/decisions/0013). */
export class Gate {
  readonly #changes = new Changes();
  #open = false;
  #everOpen = false;

  get isOpen(): boolean {
    return this.#open;
  }

  /** From the first opening on the kubelet starts the master's container whenever it ends, without asking again. */
  get wasOpened(): boolean {
    return this.#everOpen;
  }

  open(): void {
    this.#open = true;
    this.#everOpen = true;
    this.#changes.notify();
  }

  close(): void {
    this.#open = false;
  }

  /** Resolves once it is open; rejects with the signal's reason. */
  async opened(signal: AbortSignal): Promise<void> {
    while (!this.#open) await this.#changes.wait(signal);
  }
}
