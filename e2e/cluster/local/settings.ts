import { flags } from "../flags.js";

/** The addresses of a slot, as `machine.sh` gives them out. */
export class Addresses {
  readonly #net: string;

  constructor(slot: number) {
    this.#net = `10.${180 + slot}`;
  }

  get host(): string {
    return `${this.#net}.0.1`;
  }

  get pods(): string {
    return `${this.#net}.64.0/18`;
  }

  get services(): string {
    return `${this.#net}.128.0/17`;
  }

  /** Of the service `kubernetes`. */
  get firstService(): string {
    return `${this.#net}.128.1`;
  }

  node(index: number): string {
    return `${this.#net}.0.${10 + index}`;
  }

  podsOf(index: number): string {
    return `${this.#net}.${64 + index}.0/24`;
  }
}

/** Of the control plane; `pki` gives the path of a file of the authority. */
export function apiServerFlags(addresses: Addresses, etcd: string, pki: (file: string) => string): string[] {
  return flags({
    "etcd-servers": etcd,
    "bind-address": addresses.host,
    "advertise-address": addresses.host,
    "secure-port": 6443,
    "service-cluster-ip-range": addresses.services,
    "authorization-mode": "Node,RBAC",
    "enable-admission-plugins": "NodeRestriction",
    "client-ca-file": pki("ca.crt"),
    "tls-cert-file": pki("apiserver.crt"),
    "tls-private-key-file": pki("apiserver.key"),
    "kubelet-client-certificate": pki("admin.crt"),
    "kubelet-client-key": pki("admin.key"),
    // Nobody resolves the nodes' names here.
    "kubelet-preferred-address-types": "InternalIP",
    "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
    "service-account-key-file": pki("service-accounts.key"),
    "service-account-signing-key-file": pki("service-accounts.key"),
    "requestheader-client-ca-file": pki("ca.crt"),
    "requestheader-allowed-names": "front-proxy",
    "allow-privileged": true,
    // Webhooks are called at their pods: no service address is routed on this machine itself.
    "enable-aggregator-routing": true,
  });
}

export function managerFlags(addresses: Addresses, kubeconfig: string, pki: (file: string) => string): string[] {
  return flags({
    kubeconfig,
    "bind-address": addresses.host,
    "service-account-private-key-file": pki("service-accounts.key"),
    "root-ca-file": pki("ca.crt"),
    "use-service-account-credentials": true,
    "cluster-signing-cert-file": pki("ca.crt"),
    "cluster-signing-key-file": pki("ca.key"),
    "leader-elect": false,
    "authentication-kubeconfig": kubeconfig,
    "authorization-kubeconfig": kubeconfig,
    // The default, 50 s, would only make the tests wait.
    "node-monitor-grace-period": "20s",
  });
}

export function schedulerFlags(addresses: Addresses, kubeconfig: string): string[] {
  return flags({
    kubeconfig,
    "bind-address": addresses.host,
    "leader-elect": false,
    "authentication-kubeconfig": kubeconfig,
    "authorization-kubeconfig": kubeconfig,
  });
}

export function corefile(addresses: Addresses, kubeconfig: string): string {
  return `.:53 {
  bind ${addresses.host}
  errors
  ready ${addresses.host}:8181
  kubernetes cluster.local in-addr.arpa {
    kubeconfig ${kubeconfig}
  }
  cache 5
}
`;
}

export const storageClasses = {
  apiVersion: "v1",
  kind: "List",
  items: [
    {
      apiVersion: "storage.k8s.io/v1",
      kind: "StorageClass",
      metadata: { name: "local", annotations: { "storageclass.kubernetes.io/is-default-class": "true" } },
      provisioner: "kube.local/directory",
      volumeBindingMode: "WaitForFirstConsumer",
    },
    {
      apiVersion: "storage.k8s.io/v1",
      kind: "StorageClass",
      metadata: { name: "shared" },
      provisioner: "kube.local/directory",
      parameters: { shared: "true" },
    },
  ],
};
