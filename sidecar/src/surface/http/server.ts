import type { IncomingMessage, Server, ServerResponse } from "node:http";
import { NO_LONGER, type Clock } from "../../base/clock.js";
import { messageOf, MetaMasterError } from "../../base/errors.js";
import type { Logger } from "../../base/log.js";
import { http } from "../../base/node-http.js";
import { EVERYWHERE, formatAddress, isLoopback, type Address } from "../config/address.js";
import { toProblem } from "./problem.js";
import { checkRequest } from "./request-guard.js";
import { checkQuery, json, routes, type Answer, type Route } from "./routes.js";
import type { ServedMember } from "./served-member.js";

export interface HttpSettings {
  /** Port 0: a free one. */
  readonly address: Address;
  /** Requests that are answered at a time, and those that wait for a role besides. */
  readonly concurrentMax: number;
  readonly waitingMax: number;
}

export const httpDefaults: Omit<HttpSettings, "address"> = { concurrentMax: 1024, waitingMax: 256 };

const HEADER_BYTES_MAX = 8 * 1024;
const HEADERS_MS_MAX = 10_000;
const REQUEST_MS_MAX = 30_000;
/** Longer than most clients keep an idle connection, so that it is theirs to close. */
const KEEP_ALIVE_MS = 75_000;
const CONNECTIONS_MAX = 2048;

export interface HttpComponents {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly member: ServedMember;
}

interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly mayWait: boolean;
}

/** The member's HTTP: role, barrier, checkpoint, status, switchover, resume, health, metrics. docs/reference/http.md. */
export class MemberHttp {
  readonly #settings: HttpSettings;
  readonly #components: HttpComponents;
  readonly #server: Server;
  readonly #closing = new AbortController();
  #busy = 0;
  #waiting = 0;

  constructor(settings: HttpSettings, components: HttpComponents) {
    this.#settings = settings;
    this.#components = components;
    this.#server = http.createServer(
      {
        maxHeaderSize: HEADER_BYTES_MAX,
        headersTimeout: HEADERS_MS_MAX,
        requestTimeout: REQUEST_MS_MAX,
        keepAliveTimeout: KEEP_ALIVE_MS,
        noDelay: true,
      },
      (request, response) => void this.#serve(request, response),
    );
    this.#server.maxConnections = CONNECTIONS_MAX;
  }

  /** Resolves with where it listens; throws `AddressInUse` or `HttpAddressInvalid`. */
  async listen(): Promise<Address> {
    const { host, port } = this.#settings.address;
    await new Promise<void>((resolve, reject) => {
      const fail = (error: Error): void => reject(listenError(error, this.#settings.address));
      this.#server.once("error", fail);
      this.#server.listen(host === EVERYWHERE ? { port } : { host, port }, () => {
        this.#server.off("error", fail);
        this.#server.on("error", (error) => this.#components.logger.error({ err: error }, `HTTP: ${error.message}`));
        resolve();
      });
    });
    const bound = this.#server.address();
    return { host, port: typeof bound === "object" && bound !== null ? bound.port : port };
  }

  /** Ends what waits with an error, and every connection. */
  async close(): Promise<void> {
    this.#closing.abort(new MetaMasterError("MemberStopped", "transient", "the member is stopping"));
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeIdleConnections();
    // One turn, in which what waited is answered.
    await this.#components.clock.sleep(20);
    this.#server.closeAllConnections();
    await closed;
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let answer: Answer;
    try {
      answer = await this.#route(request, response);
    } catch (error) {
      if (!(error instanceof MetaMasterError))
        this.#components.logger.error({ err: error }, `${request.method} ${request.url}: ${messageOf(error)}`);
      const { status, body } = toProblem(error);
      answer = json(status, body);
    }
    if (response.destroyed || response.headersSent) return;
    // What was not read would be taken for the next request: the connection ends with this one.
    const unread =
      !request.complete &&
      Number(request.headers["content-length"] ?? (request.headers["transfer-encoding"] === undefined ? 0 : 1)) > 0;
    response.writeHead(answer.status, {
      "content-type": answer.contentType,
      "content-length": Buffer.byteLength(answer.text),
      "cache-control": "no-store",
      ...(unread ? { connection: "close" } : {}),
    });
    response.end(request.method === "HEAD" ? undefined : answer.text);
  }

  async #route(request: IncomingMessage, response: ServerResponse): Promise<Answer> {
    const target = request.url ?? "/";
    const mark = target.indexOf("?");
    const path = mark < 0 ? target : target.slice(0, mark);
    const route = Object.hasOwn(routes, path) ? routes[path] : undefined;
    if (route === undefined) {
      throw new MetaMasterError(
        "HttpNotFound",
        "invalid",
        `There is nothing at ${JSON.stringify(path.slice(0, 100))}.`,
        {
          hint: `There are ${Object.keys(routes).join(", ")}.`,
        },
      );
    }
    const method = request.method === "HEAD" ? "GET" : request.method;
    if (method !== route.method) {
      response.setHeader("allow", route.method);
      return json(405, { code: "HttpRequestInvalid", kind: "invalid", message: `${path} takes ${route.method} only.` });
    }
    checkRequest(request, route.changes, { loopbackOnly: isLoopback(this.#settings.address.host) });
    return await this.#counted(route, (mayWait) =>
      this.#handle(route, { request, response, mayWait }, mark < 0 ? "" : target.slice(mark + 1)),
    );
  }

  async #counted(route: Route, work: (mayWait: boolean) => Promise<Answer>): Promise<Answer> {
    const { concurrentMax, waitingMax } = this.#settings;
    const isFull = this.#waiting >= waitingMax;
    const waits = route.waits && !(isFull && route.orAtOnce === true);
    if (waits ? isFull : this.#busy >= concurrentMax) {
      throw new MetaMasterError("HttpTooBusy", "transient", "Too many requests wait already.", {
        hint: "Share barriers between callers: one covers all that was written before it.",
      });
    }
    if (waits) this.#waiting += 1;
    else this.#busy += 1;
    try {
      return await work(waits || !route.waits);
    } finally {
      if (waits) this.#waiting -= 1;
      else this.#busy -= 1;
    }
  }

  async #handle(route: Route, { request, response, mayWait }: Exchange, query: string): Promise<Answer> {
    const parameters = new URLSearchParams(query);
    checkQuery(route, parameters);
    return await route.handle({
      member: this.#components.member,
      request,
      query: parameters,
      within: (seconds, work) => this.#within(response, mayWait ? seconds : 0, work),
    });
  }

  async #within<T>(response: ServerResponse, seconds: number, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { clock } = this.#components;
    const call = new AbortController();
    const timer = new AbortController();
    const onClosing = (): void => call.abort(this.#closing.signal.reason);
    const onGone = (): void => call.abort(new MetaMasterError("DeadlineExceeded", "transient", "the caller has gone"));
    this.#closing.signal.addEventListener("abort", onClosing, { once: true });
    response.once("close", onGone);
    if (this.#closing.signal.aborted) onClosing();
    clock.sleep(seconds * 1000, timer.signal).then(
      () =>
        call.abort(
          new MetaMasterError("DeadlineExceeded", "transient", `Not done within ${seconds} s.`, {
            hint: "It may still happen. `metamaster status` says what is waited for; ask again, or give it more time.",
          }),
        ),
      () => undefined,
    );
    try {
      return await work(call.signal);
    } finally {
      timer.abort(NO_LONGER);
      this.#closing.signal.removeEventListener("abort", onClosing);
      response.off("close", onGone);
    }
  }
}

function listenError(error: Error, address: Address): MetaMasterError {
  const where = formatAddress(address);
  const inUse = "code" in error && error.code === "EADDRINUSE";
  if (inUse) {
    return new MetaMasterError("AddressInUse", "invalid", `${where} is taken by another process.`, {
      cause: error,
      hint: "Stop that process, or choose another port with `http.address` (port 0 takes a free one). Members of one machine need a `member`, a `dataDirectory` and an `http.address` each.",
      details: { address: where },
    });
  }
  return new MetaMasterError("HttpAddressInvalid", "invalid", `Could not listen on ${where}: ${error.message}.`, {
    cause: error,
    hint: "Give `http.address` an address of this machine, e.g. 127.0.0.1:8401, and a port that this user may use.",
    details: { address: where },
  });
}
