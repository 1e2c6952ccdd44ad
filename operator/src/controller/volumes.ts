import type { MetaMasterCluster } from "../../../crds/src/index.js";
import { text, type LiveObject } from "../kube/objects.js";

const UNITS: Readonly<Record<string, number>> = {
  "": 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
};

/** Bytes; NaN: no quantity. */
export function bytesOf(quantity: string): number {
  const [, count = "NaN", unit = ""] = /^([0-9]+(?:\.[0-9]+)?)([A-Za-z]*)$/.exec(quantity) ?? [];
  return Number(count) * (UNITS[unit] ?? Number.NaN);
}

/** Claims that ask for less than the resource does now: Kubernetes grows them where their class allows it. */
export function claimsToGrow(cluster: MetaMasterCluster, claims: readonly LiveObject[]): LiveObject[] {
  const wanted = bytesOf(cluster.spec.volumeClaimTemplate.spec.resources.requests.storage);
  return claims.filter((claim) => {
    const asked = text(claim, "spec", "resources", "requests", "storage");
    return asked !== undefined && bytesOf(asked) < wanted;
  });
}

interface Asked {
  readonly storage: string;
  /** Why it was refused. */
  readonly why: string | undefined;
  readonly atMs: number;
}

const AGAIN_MS = 10 * 60_000;

/** What was asked of the claims that are too small, and what came of it. */
export class VolumeGrowth {
  readonly #asked = new Map<string, Asked>();

  /** Forgets all others: they are as large as they should be, or gone. */
  keep(claims: readonly string[]): void {
    for (const claim of this.#asked.keys()) if (!claims.includes(claim)) this.#asked.delete(claim);
  }

  isDue(claim: string, storage: string, nowMs: number): boolean {
    const last = this.#asked.get(claim);
    return last === undefined || last.storage !== storage || nowMs - last.atMs >= AGAIN_MS;
  }

  /** False: the same as before. */
  asked(claim: string, asked: Asked): boolean {
    const last = this.#asked.get(claim);
    this.#asked.set(claim, asked);
    return last?.storage !== asked.storage || last.why !== asked.why;
  }

  get trouble(): string | undefined {
    const refused = [...this.#asked].filter(([, { why }]) => why !== undefined);
    const [first] = refused;
    if (first === undefined) return undefined;
    const [, { storage, why }] = first;
    return `${refused.map(([claim]) => claim).join(", ")} can't grow to ${storage}: ${why ?? ""}`;
  }
}
