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

  async hold(folder: string, file: string, original: string, anew = false): Promise<string> {
    const path = await this.#links.hold(folder, file, original, anew);
    this.#held.push({ folder, file });
    return path;
  }

  async release(): Promise<void> {
    for (const { folder, file } of this.#held.splice(0)) await this.#links.release(folder, file);
  }
}

/**
 * Links of plans that the disk moved on under: the next plan has only to make the links of what is new since, so that it comes to an end however fast the master
 * compacts. Good for as long as every database goes on with the MANIFEST it had: after that a name may mean another file.
 */
export class KeptLinks {
  readonly #plans: PlanLinks[] = [];
  #manifests = "";

  keep(links: PlanLinks): void {
    this.#plans.push(links);
  }

  /** Lets go of all that was kept with other MANIFESTs. */
  async only(manifests: string): Promise<void> {
    if (manifests !== this.#manifests) await this.release();
    this.#manifests = manifests;
  }

  async release(): Promise<void> {
    for (const links of this.#plans.splice(0)) await links.release();
  }
}
