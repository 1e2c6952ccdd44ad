import { createHash, randomUUID } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Download } from "./download.js";
import type { GcsAuth } from "./gcs-auth.js";
import type { HttpRequest, HttpTransport } from "../base/http-transport.js";
import type { StoreFailure } from "./store-errors.js";

/** What GCS said instead of doing it; turned into an error of ours by gcs-bucket.ts. */
export class GcsFailure extends Error {
  readonly failure: StoreFailure;

  constructor(failure: StoreFailure) {
    super(failure.message);
    this.name = "GcsFailure";
    this.failure = failure;
  }
}

const answerBytesMax = 4 << 20;
const errorBytesMax = 64 << 10;

interface Listed {
  readonly objects: readonly { readonly key: string; readonly size: number }[];
  readonly more: boolean;
}

/** The requests of GCS' JSON API that the product makes (cloud.google.com/storage/docs/json_api/v1), one try each. Keys are full. */
export class GcsApi {
  readonly #bucket: string;
  readonly #auth: GcsAuth;
  readonly #transport: HttpTransport;

  constructor(bucket: string, auth: GcsAuth, transport: HttpTransport) {
    this.#bucket = bucket;
    this.#auth = auth;
    this.#transport = transport;
  }

  /** One request with the body's md5, which the store compares before the object appears. */
  async insert(key: string, body: Uint8Array, ifAbsent: boolean, signal: AbortSignal): Promise<void> {
    const url = this.#uploadUrl("multipart", key, ifAbsent);
    const boundary = randomUUID();
    const md5Hash = createHash("md5").update(body).digest("base64");
    const metadata = JSON.stringify({ name: key, contentType: "application/octet-stream", md5Hash });
    const head =
      `--${boundary}\r\ncontent-type: application/json\r\n\r\n${metadata}\r\n` +
      `--${boundary}\r\ncontent-type: application/octet-stream\r\n\r\n`;
    const parts = [Buffer.from(head), body, Buffer.from(`\r\n--${boundary}--\r\n`)];
    const headers = { "content-type": `multipart/related; boundary=${boundary}` };
    await this.#json({ method: "POST", url, headers, body: parts, signal });
  }

  /** Begins a resumable upload; gives its session. */
  async startUpload(key: string, size: number, signal: AbortSignal): Promise<URL> {
    const url = this.#uploadUrl("resumable", key, false);
    const headers = {
      "content-type": "application/json",
      "x-upload-content-type": "application/octet-stream",
      "x-upload-content-length": String(size),
    };
    const body = [Buffer.from(JSON.stringify({ name: key }))];
    const answer = await this.#send({ method: "POST", url, headers, body, signal });
    answer.resume();
    const { location } = answer.headers;
    if (location === undefined) throw new GcsFailure(oddAnswer("a session without a location"));
    return new URL(location);
  }

  /** Sends bytes `offset`.. of `size`; gives how many the store has now: `size` when the object is complete. */
  async sendChunk(session: URL, chunk: Uint8Array, offset: number, size: number, signal: AbortSignal): Promise<number> {
    const headers = { "content-range": `bytes ${offset}-${offset + chunk.length - 1}/${size}` };
    return this.#sessionAnswer({ method: "PUT", url: session, headers, body: [chunk], signal }, size);
  }

  /** How many bytes of an upload the store has. */
  async uploadedBytes(session: URL, size: number, signal: AbortSignal): Promise<number> {
    return this.#sessionAnswer(
      { method: "PUT", url: session, headers: { "content-range": `bytes */${size}` }, signal },
      size,
    );
  }

  async abortUpload(session: URL, signal: AbortSignal): Promise<void> {
    const answer = await this.#transport.send({ method: "DELETE", url: session, headers: {}, signal });
    answer.resume();
  }

  async get(key: string, range: string | undefined, signal: AbortSignal): Promise<Download & { ranged: boolean }> {
    const url = this.#objectUrl(key);
    url.searchParams.set("alt", "media");
    const answer = await this.#send({ method: "GET", url, headers: range === undefined ? {} : { range }, signal });
    const length = answer.headers["content-length"];
    return {
      body: answer,
      length: length === undefined ? undefined : Number(length),
      ranged: answer.statusCode === 206,
    };
  }

  async size(key: string, signal: AbortSignal): Promise<number> {
    const url = this.#objectUrl(key);
    url.searchParams.set("fields", "size");
    const size = Number(at(await this.#json({ method: "GET", url, headers: {}, signal }), "size"));
    if (!Number.isSafeInteger(size)) throw new GcsFailure(oddAnswer("an object without a size"));
    return size;
  }

  /** `startOffset` is inclusive. */
  async list(prefix: string, startOffset: string | undefined, limit: number, signal: AbortSignal): Promise<Listed> {
    const url = new URL(`${this.#auth.endpoint}/storage/v1/b/${this.#bucket}/o`);
    url.searchParams.set("prefix", prefix);
    url.searchParams.set("maxResults", String(limit));
    url.searchParams.set("fields", "items(name,size),nextPageToken");
    if (startOffset !== undefined) url.searchParams.set("startOffset", startOffset);
    const answer = await this.#json({ method: "GET", url, headers: {}, signal });
    const items: unknown = at(answer, "items") ?? [];
    if (!Array.isArray(items)) throw new GcsFailure(oddAnswer("a listing without items"));
    const objects = items.map((item: unknown) => ({
      key: String(at(item, "name")),
      size: Number(at(item, "size") ?? 0),
    }));
    return { objects, more: typeof at(answer, "nextPageToken") === "string" };
  }

  async delete(key: string, signal: AbortSignal): Promise<void> {
    const answer = await this.#send({ method: "DELETE", url: this.#objectUrl(key), headers: {}, signal });
    answer.resume();
  }

  close(): void {
    this.#transport.close();
  }

  #objectUrl(key: string): URL {
    return new URL(`${this.#auth.endpoint}/storage/v1/b/${this.#bucket}/o/${encodeURIComponent(key)}`);
  }

  #uploadUrl(type: "multipart" | "resumable", key: string, ifAbsent: boolean): URL {
    const url = new URL(`${this.#auth.endpoint}/upload/storage/v1/b/${this.#bucket}/o`);
    url.searchParams.set("uploadType", type);
    url.searchParams.set("name", key);
    if (ifAbsent) url.searchParams.set("ifGenerationMatch", "0");
    return url;
  }

  async #sessionAnswer(request: HttpRequest, size: number): Promise<number> {
    const answer = await this.#send(request, 308).catch((error: unknown) => {
      const status = error instanceof GcsFailure ? error.failure.status : undefined;
      throw status === 404 || status === 410 ? new GcsFailure(lostUpload(status, "the session is gone")) : error;
    });
    if (answer.statusCode !== 308) {
      // fake-gcs-server takes the question how far an upload is for its end, and makes an object of what there is.
      const made = Number(at(parseJson(await readAnswer(answer, answerBytesMax)), "size"));
      if (made !== size) throw new GcsFailure(lostUpload(410, `the store ended it at ${made} of ${size} bytes`));
      return size;
    }
    answer.resume();
    // `bytes=0-1234`: the last byte that is there; without it nothing is.
    const last = /^bytes=0-(\d+)$/.exec(answer.headers.range ?? "")?.[1];
    return last === undefined ? 0 : Number(last) + 1;
  }

  async #json(request: HttpRequest): Promise<unknown> {
    return parseJson(await readAnswer(await this.#send(request), answerBytesMax));
  }

  /** The answer if its status is 2xx, or `also`; else throws GcsFailure. */
  async #send(request: HttpRequest, also?: number): Promise<IncomingMessage> {
    const authorization = await this.#auth.headers().catch((error: unknown) => {
      throw authFailure(error);
    });
    const answer = await this.#transport.send({ ...request, headers: { ...request.headers, ...authorization } });
    const status = answer.statusCode ?? 0;
    if ((status >= 200 && status < 300) || status === also) return answer;
    const text = await readAnswer(answer, errorBytesMax);
    throw new GcsFailure(failureFrom(status, text, answer.headers["x-guploader-uploadid"]));
  }
}

/** No answer of the store: `CredentialsProviderError` is what store-errors.ts calls missing credentials. */
function authFailure(error: unknown): unknown {
  const message = error instanceof Error ? error.message : String(error);
  if (/credentials|authenticat|invalid_grant/i.test(message)) {
    return new GcsFailure({ status: undefined, code: "CredentialsProviderError", message });
  }
  return error;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new GcsFailure(oddAnswer(`what is no JSON: ${text.slice(0, 80)}`));
  }
}

/** `NoSuchUpload` is what S3 and store-errors.ts call it. */
function lostUpload(status: number, message: string): StoreFailure {
  return { status, code: "NoSuchUpload", message };
}

function oddAnswer(what: string): StoreFailure {
  return { status: 400, code: "OddAnswer", message: `The store answered with ${what}.` };
}

function failureFrom(status: number, text: string, id: string | string[] | undefined): StoreFailure {
  const requestId = typeof id === "string" ? { requestId: id.slice(0, 60) } : {};
  let error: unknown;
  try {
    error = at(JSON.parse(text), "error");
  } catch {
    error = undefined;
  }
  const errors = at(error, "errors");
  const reason = at(Array.isArray(errors) ? errors[0] : undefined, "reason");
  const message = at(error, "message");
  return {
    status,
    code: typeof reason === "string" ? reason : "HttpError",
    message: typeof message === "string" ? message : text.slice(0, 200),
    ...requestId,
  };
}

function at(object: unknown, key: string): unknown {
  return typeof object === "object" && object !== null ? Reflect.get(object, key) : undefined;
}

async function readAnswer(answer: IncomingMessage, maxBytes: number): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  const source: AsyncIterable<Buffer> = answer;
  for await (const chunk of source) {
    size += chunk.length;
    if (size > maxBytes) throw new GcsFailure(oddAnswer(`more than ${maxBytes} bytes`));
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}
