import { HOST_NETWORK_MESSAGE, HTTP_PORT, PORT_MESSAGE, type MetaMasterCluster } from "../../../crds/src/index.js";
import { keyOf, list, number, text, type LiveObject } from "../kube/objects.js";

const UNTIL_CHANGED = "Nothing is made of this spec until that is changed.";

/** What no rule of the resource can tell, or what was there before there was one: names the field and says what to do. Undefined: nothing is wrong. `all`: every resource there is. */
export function invalidOf(cluster: MetaMasterCluster, all: readonly LiveObject[]): string | undefined {
  return invalidPrefix(cluster, all) ?? invalidTemplate(cluster);
}

/** The same of the prefix in the bucket alone. */
export function invalidPrefix(cluster: MetaMasterCluster, all: readonly LiveObject[]): string | undefined {
  const { bootstrap, bucket } = cluster.spec;
  const { from } = bootstrap;
  if (from !== undefined && isWithin(from.url, bucket.url)) {
    return `spec.bootstrap.from.url ${from.url} is, holds or lies in spec.bucket.url: name another cluster's prefix. Nothing is made of this spec; make the resource anew.`;
  }
  const other = all.find(
    (each) => keyOf(each) !== keyOf(cluster) && sharesPrefix(each, cluster) && age(each) < age(cluster),
  );
  if (other === undefined) return undefined;
  return `spec.bucket.url ${bucket.url} is, holds or lies in that of ${keyOf(other)}: one prefix for one resource. Nothing is made of this spec: take back what was changed (spec.bucket.endpoint), or make the resource anew with a prefix of its own.`;
}

/** The API server lets a field that stands there be until it is changed. */
function invalidTemplate({ spec }: MetaMasterCluster): string | undefined {
  const { hostNetwork, containers, initContainers = [] } = spec.template.spec;
  if (hostNetwork === true) return `spec.${HOST_NETWORK_MESSAGE}. ${UNTIL_CHANGED}`;
  const taken = [...containers, ...initContainers].find((each) => list(each, "ports").some(isOurs));
  return taken && `spec.template.spec, ports of the container ${taken.name}: ${PORT_MESSAGE}. ${UNTIL_CHANGED}`;
}

function isOurs(port: unknown): boolean {
  return number(port, "containerPort") === HTTP_PORT && (text(port, "protocol") ?? "TCP") === "TCP";
}

/** The same prefix, or one within the other, in the same store. */
function sharesPrefix(a: unknown, b: unknown): boolean {
  if (text(a, "spec", "bucket", "endpoint") !== text(b, "spec", "bucket", "endpoint")) return false;
  return isWithin(text(a, "spec", "bucket", "url") ?? "", text(b, "spec", "bucket", "url") ?? "");
}

/** Either in the other. */
function isWithin(a: string, b: string): boolean {
  const [one, other] = [a, b].map((url) => `${url.replace(/\/+$/, "")}/`) as [string, string];
  return one.startsWith(other) || other.startsWith(one);
}

/** Who was there first keeps the prefix. */
function age(resource: unknown): string {
  return `${text(resource, "metadata", "creationTimestamp") ?? ""} ${text(resource, "metadata", "uid") ?? ""}`;
}
