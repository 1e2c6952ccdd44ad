import type { Agent, IncomingMessage } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { http } from "./node-http.js";

export interface HttpRequest {
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  /** Sent one after the other with the length of all in advance: nothing is copied together. */
  readonly body?: readonly Uint8Array[] | undefined;
  readonly signal: AbortSignal;
}

export interface HttpTransportSettings {
  /** PEM of the CA, in place of the system's. */
  readonly ca: string | undefined;
  readonly maxSockets: number;
}

/** HTTP over kept connections; one try, no redirects, abortable at any moment, quiet. */
export class HttpTransport {
  readonly #http: Agent;
  readonly #https: HttpsAgent;

  constructor({ ca, maxSockets }: HttpTransportSettings) {
    const options = { keepAlive: true, maxSockets, scheduling: "lifo" as const };
    this.#http = new http.Agent(options);
    this.#https = new HttpsAgent(ca === undefined ? options : { ...options, ca });
  }

  /** The answer's head; its body is to be read or destroyed by the caller. Rejects with node's own errors. */
  send({ method, url, headers, body = [], signal }: HttpRequest): Promise<IncomingMessage> {
    signal.throwIfAborted();
    const length = body.reduce((sum, part) => sum + part.length, 0);
    const secure = url.protocol === "https:";
    // Without it node sends the body of a DELETE unframed, and the server takes the request for one without a body.
    const hasBody = length > 0 || method === "POST" || method === "PUT" || method === "PATCH";
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const request = (secure ? httpsRequest : http.request)(url, {
      method,
      headers: hasBody ? { ...headers, "content-length": String(length) } : headers,
      agent: secure ? this.#https : this.#http,
    });
    const onAbort = (): void => {
      request.destroy();
      reject(signal.reason);
    };
    signal.addEventListener("abort", onAbort, { once: true });
    request.once("close", () => signal.removeEventListener("abort", onAbort));
    request.once("response", resolve);
    // Stays for the whole life: after the answer's head the body reports the error, and this one must not be unhandled.
    request.on("error", reject);
    for (const part of body) request.write(part);
    request.end();
    return promise;
  }

  /** Of the requests from now on: connections that were kept are known by the CA that they were made with. */
  trust(ca: string): void {
    this.#https.options.ca = ca;
  }

  close(): void {
    this.#http.destroy();
    this.#https.destroy();
  }
}
