import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { createServer, type Server, type TLSSocket } from "node:tls";
import { Authority } from "../cluster/local/certificates.js";

/** HTTPS in front of a server that speaks HTTP, with a certificate of an authority of its own (`ca.crt` in the folder). */
export class TlsProxy {
  readonly caFile: string;
  readonly #server: Server;
  readonly #sockets = new Set<TLSSocket>();

  private constructor(server: Server, caFile: string) {
    this.#server = server;
    this.caFile = caFile;
  }

  static async start(targetPort: number, folder: string): Promise<TlsProxy> {
    const { caFile, identity } = await certified(folder);
    const server = createServer(identity);
    const proxy = new TlsProxy(server, caFile);
    server.on("secureConnection", (client) => proxy.#join(client, targetPort));
    // A client that doesn't trust the authority ends it.
    server.on("tlsClientError", () => undefined);
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return proxy;
  }

  /** Another authority, whose certificate it has from now on; gives back the file of that authority. Connections that are open stay. */
  async rotate(folder: string): Promise<string> {
    const { caFile, identity } = await certified(folder);
    this.#server.setSecureContext(identity);
    return caFile;
  }

  /** As a store does that is started again. */
  breakConnections(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  get endpoint(): string {
    const address = this.#server.address();
    if (address === null || typeof address === "string") throw new Error("the proxy does not listen");
    return `https://127.0.0.1:${address.port}`;
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, "close");
  }

  #join(client: TLSSocket, targetPort: number): void {
    this.#sockets.add(client);
    const target = connect(targetPort, "127.0.0.1");
    client.on("close", () => {
      this.#sockets.delete(client);
      target.destroy();
    });
    target.on("close", () => client.destroy());
    for (const socket of [client, target]) socket.on("error", () => undefined);
    client.pipe(target).pipe(client);
  }
}

/** A new authority in `folder`, and a store's key and certificate of it. */
async function certified(
  folder: string,
): Promise<{ readonly caFile: string; readonly identity: { readonly key: Buffer; readonly cert: Buffer } }> {
  const authority = new Authority(folder);
  await authority.create();
  await authority.issue("store", "/CN=store", ["IP:127.0.0.1"]);
  const [key, cert] = ["store.key", "store.crt"].map((name) => readFileSync(authority.path(name))) as [Buffer, Buffer];
  return { caFile: authority.path("ca.crt"), identity: { key, cert } };
}
