const GROUP = "monitoring.coreos.com";

/** Definitions of the Prometheus operator's kinds that take any fields: their real ones are of a product that the tests don't have. */
export function openCrds(kinds: readonly string[]): string {
  const items = kinds.map((kind) => {
    const plural = `${kind.toLowerCase()}s`;
    const schema = { openAPIV3Schema: { type: "object", "x-kubernetes-preserve-unknown-fields": true } };
    return {
      apiVersion: "apiextensions.k8s.io/v1",
      kind: "CustomResourceDefinition",
      metadata: { name: `${plural}.${GROUP}` },
      spec: {
        group: GROUP,
        scope: "Namespaced",
        names: { kind, plural },
        versions: [{ name: "v1", served: true, storage: true, schema }],
      },
    };
  });
  return JSON.stringify({ apiVersion: "v1", kind: "List", items });
}
