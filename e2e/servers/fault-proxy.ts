import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

/** What happens to a connection's bytes; read when a request's first bytes arrive. */
export type Fault =
  | { readonly kind: "none" }
  /** The request reaches the server and takes effect; its answer is thrown away and the connection reset. */
  | { readonly kind: "dropAnswer" }
  /** The request reaches the server; the answer never comes, the connection stays open. */
  | { readonly kind: "stall" }
  /** What only reads is answered; no PUT reaches the server, and none is answered. */
  | { readonly kind: "stallPuts" }
  /** The connection is reset before anything reaches the server. */
  | { readonly kind: "reset" }
  /** The answer comes at this rate, bytes a second. */
  | { readonly kind: "slow"; readonly bytesPerSecond: number }
  /** The answer is cut after so many bytes. */
  | { readonly kind: "cut"; readonly afterBytes: number }
  /** Another answer than the server's, which never sees the request. */
  | { readonly kind: "answer"; readonly status: number; readonly body: string };

/** A TCP proxy that breaks things; a fault may be for the next requests only. */
export class FaultProxy {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #target: number;
  #fault: Fault = { kind: "none" };
  #times = Infinity;
  /** Requests that met a fault. */
  hits = 0;
  /** Connections that were opened. */
  connections = 0;

  private constructor(target: number) {
    this.#target = target;
    this.#server = createServer((client) => this.#connect(client));
  }

  static async start(targetPort: number): Promise<FaultProxy> {
    const proxy = new FaultProxy(targetPort);
    proxy.#server.listen(0, "127.0.0.1");
    await once(proxy.#server, "listening");
    return proxy;
  }

  get endpoint(): string {
    const address = this.#server.address();
    if (address === null || typeof address === "string") throw new Error("the proxy does not listen");
    return `http://127.0.0.1:${address.port}`;
  }

  /** Connections that are open now. */
  get open(): number {
    return this.#sockets.size / 2;
  }

  /** For the next `times` requests (each on a connection of its own), or until it is changed. */
  async set(fault: Fault, times = Infinity): Promise<void> {
    this.#fault = fault;
    this.#times = times;
    // Kept connections would carry a request past the count; clients need a moment to learn that theirs are gone.
    for (const socket of this.#sockets) socket.destroy();
    await sleep(40);
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, "close");
  }

  #take(): Fault {
    if (this.#fault.kind === "none" || this.#times <= 0) return { kind: "none" };
    this.#times--;
    this.hits++;
    return this.#fault;
  }

  #connect(client: Socket): void {
    this.connections++;
    const upstream = connect(this.#target, "127.0.0.1");
    for (const socket of [client, upstream]) {
      this.#sockets.add(socket);
      socket.on("error", () => undefined);
    }
    client.on("close", () => upstream.destroy());
    upstream.on("close", () => client.end());
    for (const socket of [client, upstream]) socket.on("close", () => this.#sockets.delete(socket));
    let fault: Fault | { readonly kind: "swallow" } | undefined;
    client.on("data", (chunk: Buffer) => {
      fault ??= this.#take();
      // Kept connections carry one request after the other.
      if (fault.kind === "stallPuts" && chunk.subarray(0, 4).toString() === "PUT ") fault = { kind: "swallow" };
      if (fault.kind === "swallow") return;
      if (fault.kind === "reset") client.resetAndDestroy();
      else if (fault.kind === "answer") answer(client, fault.status, fault.body);
      else upstream.write(chunk);
    });
    let passed = 0;
    upstream.on("data", (chunk: Buffer) => {
      const kind = fault?.kind ?? "none";
      if (kind === "dropAnswer") client.resetAndDestroy();
      else if (kind === "stall") return;
      else if (fault?.kind === "slow") trickle(upstream, client, chunk, fault.bytesPerSecond);
      else if (fault?.kind === "cut") {
        client.write(chunk.subarray(0, Math.max(0, fault.afterBytes - passed)));
        passed += chunk.length;
        if (passed >= fault.afterBytes) client.end();
      } else client.write(chunk);
    });
  }
}

function answer(client: Socket, status: number, body: string): void {
  const head = `HTTP/1.1 ${status} Fault\r\ncontent-type: application/xml\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n`;
  client.end(head + body);
}

function trickle(upstream: Socket, client: Socket, chunk: Buffer, bytesPerSecond: number): void {
  upstream.pause();
  const step = Math.max(1, Math.floor(bytesPerSecond / 20));
  let sent = 0;
  const timer = setInterval(() => {
    if (client.destroyed || sent >= chunk.length) {
      clearInterval(timer);
      upstream.resume();
      return;
    }
    client.write(chunk.subarray(sent, sent + step));
    sent += step;
  }, 50);
}
