import { rename, writeFile } from "node:fs/promises";

/** How to reach a cluster, and as whom. */
export interface Access {
  readonly server: string;
  /** PEM. */
  readonly ca: string;
  readonly namespace?: string;
  readonly token?: string;
  /** PEM. */
  readonly certificate?: { readonly certificate: string; readonly key: string };
}

/** Writes a kubeconfig that stands alone: it names no other file. YAML is a superset of the JSON that this is. */
export async function writeKubeconfig(path: string, access: Access): Promise<void> {
  const { server, ca, namespace, token, certificate } = access;
  const user = {
    ...(token === undefined ? {} : { token }),
    ...(certificate === undefined
      ? {}
      : {
          "client-certificate-data": base64(certificate.certificate),
          "client-key-data": base64(certificate.key),
        }),
  };
  const context = { cluster: "e2e", user: "e2e", ...(namespace === undefined ? {} : { namespace }) };
  const config = {
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: "e2e", cluster: { server, "certificate-authority-data": base64(ca) } }],
    users: [{ name: "e2e", user }],
    contexts: [{ name: "e2e", context }],
    "current-context": "e2e",
  };
  await writeFile(`${path}.new`, JSON.stringify(config, undefined, 1), { mode: 0o600 });
  await rename(`${path}.new`, path);
}

function base64(text: string): string {
  return Buffer.from(text).toString("base64");
}
