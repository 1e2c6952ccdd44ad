/** Host of an address to listen at: IPv6 and IPv4, or what there is of them. */
export const EVERYWHERE = "*";

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** `host:port` or `[v6]:port`; undefined if it isn't, or the port is below `minPort`. */
export function parseAddress(text: string, minPort: 0 | 1): Address | undefined {
  const [, bracketed, plain, digits = ""] = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  const port = Number(digits);
  return host === undefined || port < minPort || port > 65_535 ? undefined : { host, port };
}

/** The same for listening: `*` is all addresses of both families. */
export function parseListenAddress(text: string): Address | undefined {
  const port = /^\*:(\d{1,5})$/.exec(text)?.[1];
  if (port === undefined) return parseAddress(text, 0);
  return Number(port) > 65_535 ? undefined : { host: EVERYWHERE, port: Number(port) };
}

export function formatAddress({ host, port }: Address): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || host === "::ffff:127.0.0.1" || /^127\.\d+\.\d+\.\d+$/.test(host);
}
