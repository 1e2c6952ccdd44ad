import type { IncomingMessage } from "node:http";
import type { Clock } from "../base/clock.js";
import { withDeadline } from "../base/deadline.js";
import { HttpTransport, type HttpRequest } from "../base/http-transport.js";
import type { KubeAccess } from "./access.js";
import { answerError, connectionError, oddAnswer, timeoutError, type KubeCallName } from "./errors.js";
import { field, isObject } from "./json.js";
import { pathOf, type KubeResource } from "./resource.js";
import { watchEvents, type WatchEvent } from "./watch-events.js";

export type KubeObject = Readonly<Record<string, unknown>>;

export interface KubeClientSettings {
  readonly userAgent: string;
  /** For one call but a watch. */
  readonly callMs: number;
}

const answerBytesMax = 4 << 20;
const maxSockets = 8;

/** The few calls that a sidecar needs of the Kubernetes API: one try each, each with a deadline, answers limited and checked. */
export class KubeClient {
  readonly #access: KubeAccess;
  readonly #clock: Clock;
  readonly #settings: KubeClientSettings;
  #transport: { readonly ca: string; readonly http: HttpTransport } | undefined;

  constructor(access: KubeAccess, settings: KubeClientSettings, clock: Clock) {
    this.#access = access;
    this.#settings = settings;
    this.#clock = clock;
  }

  /** The pod's own. */
  get namespace(): string {
    return this.#access.namespace;
  }

  get(resource: KubeResource, signal: AbortSignal): Promise<KubeObject> {
    return this.#object({ verb: "get", resource }, { method: "GET", url: this.#url(resource) }, signal);
  }

  /** Its `items`. More than `limit` are left out. */
  async list(resource: KubeResource, labels: string, limit: number, signal: AbortSignal): Promise<readonly unknown[]> {
    const url = this.#url(resource);
    url.searchParams.set("labelSelector", labels);
    url.searchParams.set("limit", String(limit));
    const call: KubeCallName = { verb: "list", resource };
    const items = field(await this.#object(call, { method: "GET", url }, signal), "items");
    if (!Array.isArray(items)) throw oddAnswer(call, "has no items");
    return items;
  }

  create(resource: KubeResource, body: KubeObject, signal: AbortSignal): Promise<KubeObject> {
    const { name: _, ...collection } = resource;
    const url = this.#url(collection);
    return this.#object({ verb: "create", resource }, { method: "POST", url, body }, signal);
  }

  /** `body.metadata.resourceVersion` makes it conditional. */
  update(resource: KubeResource, body: KubeObject, signal: AbortSignal): Promise<KubeObject> {
    return this.#object({ verb: "update", resource }, { method: "PUT", url: this.#url(resource), body }, signal);
  }

  /** A merge patch (RFC 7386). */
  patch(resource: KubeResource, body: KubeObject, signal: AbortSignal): Promise<KubeObject> {
    const type = "application/merge-patch+json";
    return this.#object({ verb: "patch", resource }, { method: "PATCH", url: this.#url(resource), body, type }, signal);
  }

  /** `options`: a DeleteOptions' fields, preconditions for one. */
  remove(resource: KubeResource, options: KubeObject, signal: AbortSignal): Promise<KubeObject> {
    const body = { kind: "DeleteOptions", apiVersion: "v1", ...options };
    return this.#object({ verb: "delete", resource }, { method: "DELETE", url: this.#url(resource), body }, signal);
  }

  /**
   * What happens to one object after `resourceVersion`, until the server ends it (it does so every now and then, by itself after `forMs`) or `signal` aborts. Throws
   * `KubeWatchExpired` where the version is too old: get it again, and watch from there.
   */
  async *watch(
    resource: KubeResource & { readonly name: string },
    { resourceVersion, forMs }: { readonly resourceVersion: string; readonly forMs: number },
    signal: AbortSignal,
  ): AsyncGenerator<WatchEvent> {
    const { name, ...collection } = resource;
    const url = this.#url(collection);
    url.searchParams.set("watch", "true");
    url.searchParams.set("allowWatchBookmarks", "true");
    url.searchParams.set("fieldSelector", `metadata.name=${name}`);
    url.searchParams.set("resourceVersion", resourceVersion);
    url.searchParams.set("timeoutSeconds", String(Math.max(1, Math.round(forMs / 1000))));
    const call: KubeCallName = { verb: "watch", resource };
    const over = new AbortController();
    const onAbort = (): void => over.abort(signal.reason);
    signal.throwIfAborted();
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      const { callMs } = this.#settings;
      const late = (): Error => timeoutError(call, callMs);
      const answer = await withDeadline(this.#clock, { signal, ms: callMs, late }, async (opening) => {
        const cut = (): void => over.abort(opening.reason);
        opening.addEventListener("abort", cut, { once: true });
        const opened = await this.#send(call, { method: "GET", url }, over.signal);
        opening.removeEventListener("abort", cut);
        return opened;
      });
      const onOver = (): void => void answer.destroy();
      over.signal.addEventListener("abort", onOver, { once: true });
      yield* watchEvents(call, answer, { clock: this.#clock, silentMs: forMs + callMs, signal });
    } catch (error) {
      signal.throwIfAborted();
      throw connectionError(call, error);
    } finally {
      signal.removeEventListener("abort", onAbort);
      over.abort(new Error("nobody watches any longer"));
    }
  }

  close(): void {
    this.#transport?.http.close();
    this.#transport = undefined;
  }

  #url(resource: KubeResource): URL {
    return new URL(pathOf(resource), this.#access.url);
  }

  async #object(call: KubeCallName, request: Request, signal: AbortSignal): Promise<KubeObject> {
    const { callMs } = this.#settings;
    try {
      return await withDeadline(
        this.#clock,
        { signal, ms: callMs, late: () => timeoutError(call, callMs) },
        async (inner) => {
          const answer = await this.#send(call, request, inner);
          const body = parse(await readAll(call, answer, inner));
          if (!isObject(body)) throw oddAnswer(call, "is no object");
          return body;
        },
      );
    } catch (error) {
      signal.throwIfAborted();
      throw connectionError(call, error);
    }
  }

  /** The answer, if it is a good one. */
  async #send(call: KubeCallName, request: Request, signal: AbortSignal): Promise<IncomingMessage> {
    const { method, url, body, type = "application/json" } = request;
    const [http, token] = await Promise.all([this.#http(), this.#access.token()]);
    const headers = {
      accept: "application/json",
      authorization: `Bearer ${token}`,
      "user-agent": this.#settings.userAgent,
      ...(body === undefined ? {} : { "content-type": type }),
    };
    const bytes = body === undefined ? {} : { body: [Buffer.from(JSON.stringify(body))] };
    const answer = await http.send({ method, url, headers, signal, ...bytes });
    const status = answer.statusCode ?? 0;
    if (status >= 200 && status < 300) return answer;
    const text = await readAll(call, answer, signal);
    throw answerError(call, status, parse(text), answer.headers["retry-after"]);
  }

  /** Its connections are of one CA: another one, others. */
  async #http(): Promise<HttpTransport> {
    const ca = await this.#access.ca();
    if (this.#transport?.ca !== ca) {
      this.#transport?.http.close();
      this.#transport = { ca, http: new HttpTransport({ ca, maxSockets }) };
    }
    return this.#transport.http;
  }
}

interface Request {
  readonly method: HttpRequest["method"];
  readonly url: URL;
  readonly body?: KubeObject;
  readonly type?: string;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

async function readAll(call: KubeCallName, answer: IncomingMessage, signal: AbortSignal): Promise<string> {
  const onAbort = (): void => void answer.destroy();
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    const chunks: Buffer[] = [];
    let size = 0;
    const source: AsyncIterable<Buffer> = answer;
    for await (const chunk of source) {
      size += chunk.length;
      if (size > answerBytesMax) throw oddAnswer(call, `has more than ${answerBytesMax} bytes`);
      chunks.push(chunk);
    }
    return Buffer.concat(chunks).toString();
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
