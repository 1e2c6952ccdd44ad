import { readFileSync } from "node:fs";
import { join } from "node:path";
import { stringify } from "yaml";
import { root, type Helm, type Manifest } from "./helm.js";

const HEAD = `# Made by \`make install.yaml\` of charts/metamaster with its default values; edit the chart instead.
#   kubectl apply --server-side -f install.yaml
# Taking it away with kubectl delete -f would delete the CustomResourceDefinition, and every MetaMasterCluster with it: leave that out (the first document).
`;

/** The chart for those who don't use helm. */
export async function installYaml(helm: Helm): Promise<string> {
  const manifests = (await helm.manifests()).filter(({ kind }) => kind !== "CustomResourceDefinition").map(withoutHelm);
  const namespace = {
    apiVersion: "v1",
    kind: "Namespace",
    metadata: { name: "metamaster-system", labels: { "pod-security.kubernetes.io/enforce": "restricted" } },
  };
  const crd = readFileSync(join(root, "crds/metamaster.io_metamasterclusters.yaml"), "utf8");
  const documents = [namespace, ...manifests].map((manifest) => stringify(manifest, { lineWidth: 0 }));
  return HEAD + [crd, ...documents].join("---\n");
}

const own = ["helm.sh/chart", "app.kubernetes.io/managed-by"];

function withoutHelm(manifest: Manifest): Manifest {
  return JSON.parse(JSON.stringify(manifest), (key: string, value: unknown) => {
    if (key !== "labels" || typeof value !== "object" || value === null) return value;
    return Object.fromEntries(Object.entries(value).filter(([label]) => !own.includes(label)));
  }) as Manifest;
}
