import type { MetaMasterCluster } from "../../../crds/src/index.js";
import { namespaceOf } from "../objects/names.js";

/** What no rule of the resource can tell: names the field and says what to do. Undefined: nothing is wrong. */
export function invalidOf(cluster: MetaMasterCluster, all: readonly MetaMasterCluster[]): string | undefined {
  const { bootstrap } = cluster.spec;
  if (bootstrap.from !== undefined) {
    return "spec.bootstrap.from is not supported yet: restore the other cluster's prefix with `metamaster restore` onto the first member's volume, and use bootstrap.type Adopt.";
  }
  const other = all.find((each) => each !== cluster && sharesPrefix(each, cluster) && comesBefore(each, cluster));
  if (other === undefined) return undefined;
  const name = `${namespaceOf(other)}/${other.metadata.name}`;
  return `spec.bucket.url ${cluster.spec.bucket.url} is, holds or lies in that of ${name}: one prefix for one resource. Nothing is started; make this resource anew with a prefix of its own.`;
}

/** The same prefix, or one within the other, in the same store. */
function sharesPrefix(a: MetaMasterCluster, b: MetaMasterCluster): boolean {
  if ((a.spec.bucket.endpoint ?? "") !== (b.spec.bucket.endpoint ?? "")) return false;
  const [one, other] = [prefixOf(a), prefixOf(b)];
  return one.startsWith(other) || other.startsWith(one);
}

function prefixOf({ spec }: MetaMasterCluster): string {
  return `${spec.bucket.url.replace(/\/+$/, "")}/`;
}

/** Who was there first keeps the prefix. */
function comesBefore(a: MetaMasterCluster, b: MetaMasterCluster): boolean {
  return age(a) < age(b);
}

function age({ metadata }: MetaMasterCluster): string {
  return `${metadata.creationTimestamp ?? ""} ${metadata.uid ?? ""}`;
}
