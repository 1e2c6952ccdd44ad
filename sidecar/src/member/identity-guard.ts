import type { ReadEntry, WriterId } from "../formats/entry.js";
import { MetaMasterError } from "../base/errors.js";

/**
 * Finds another process that writes under this member's name. One entry is no proof: the last put of an earlier run that is dead may land late, and if the data
 * directory was wiped nobody remembers that run. But a dead process has at most one put under way: the second entry proves that it lives.
 */
export class IdentityGuard {
  readonly #self: WriterId;
  readonly #earlier: ReadonlySet<string>;
  readonly #seen = new Map<string, number>();
  #armed = false;

  constructor(self: WriterId, earlierNonces: readonly string[]) {
    this.#self = self;
    this.#earlier = new Set(earlierNonces);
  }

  /** The log was read to its end once: what comes from now on is newer than our start. */
  arm(): void {
    this.#armed = true;
  }

  /** Throws `DuplicateIdentity`. */
  observe(entry: ReadEntry): void {
    const { writer, slot } = entry.header;
    if (!this.#armed || writer.member !== this.#self.member) return;
    if (writer.nonce === this.#self.nonce || this.#earlier.has(writer.nonce)) return;
    const count = (this.#seen.get(writer.nonce) ?? 0) + 1;
    this.#seen.set(writer.nonce, count);
    if (count < 2) return;
    throw new MetaMasterError(
      "DuplicateIdentity",
      "invalid",
      `slot ${slot} was written by another process under this member's name, ${writer.member}`,
      {
        hint: "Two members must never share a name or a copied data directory.",
        details: { slot, member: writer.member, nonce: writer.nonce, ownNonce: this.#self.nonce },
      },
    );
  }
}
