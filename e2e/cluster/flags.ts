/** `--name=value` for each. */
export function flags(values: Readonly<Record<string, string | number | boolean>>): string[] {
  return Object.entries(values).map(([name, value]) => `--${name}=${value}`);
}

/** For a single etcd whose data nobody misses after a power failure. */
export function etcdFlags(data: string, client: string, peer: string): string[] {
  return flags({
    name: "etcd",
    "data-dir": data,
    "unsafe-no-fsync": true,
    "log-level": "warn",
    "listen-client-urls": client,
    "advertise-client-urls": client,
    "listen-peer-urls": peer,
    "initial-advertise-peer-urls": peer,
    "initial-cluster": `etcd=${peer}`,
  });
}
