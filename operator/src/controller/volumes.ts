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
function bytesOf(quantity: string): number {
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
