import type { Links } from "./links.js";

/** The links that one plan holds: all of them go with it, also where it was given up half made. */
export class PlanLinks {
  readonly #links: Links;
  readonly #held: { readonly folder: string; readonly file: string }[] = [];

  constructor(links: Links) {
    this.#links = links;
  }

  pathOf(folder: string, file: string): string {
    return this.#links.pathOf(folder, file);
  }

  async hold(folder: string, file: string, original: string): Promise<string> {
    const path = await this.#links.hold(folder, file, original);
    this.#held.push({ folder, file });
    return path;
  }

  async release(): Promise<void> {
    for (const { folder, file } of this.#held.splice(0)) await this.#links.release(folder, file);
  }
}
