import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, jest, test } from "@jest/globals";
import { BucketUnsafe, probeBucket } from "../../sidecar/src/bucket/probe.js";
import { put } from "../cli/key-value.js";
import { MemberProcess } from "../cli/member-process.js";
import { open, realComponents, useTestCredentials } from "../servers/stores.js";

// Real servers on a machine that may be busy; no test measures time.
jest.setTimeout(60_000);

type Flaw = "none" | "ignores the condition" | "several winners under concurrency";

/** As much of S3 as the probe asks for, over HTTP, right or with one flaw. */
class TinyStore {
  readonly #objects = new Map<string, Buffer>();
  flaw: Flaw;
  readonly #server: Server;

  constructor(flaw: Flaw) {
    this.flaw = flaw;
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch((error: unknown) =>
        response.destroy(error instanceof Error ? error : undefined),
      );
    });
  }

  async start(): Promise<string> {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    const address = this.#server.address();
    if (address === null || typeof address === "string") throw new Error("no address");
    return `http://127.0.0.1:${address.port}`;
  }

  keys(prefix: string): readonly string[] {
    return [...this.#objects.keys()].filter((key) => key.startsWith(prefix)).toSorted();
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", "http://x");
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const key = url.pathname.slice("/bucket/".length);
    if (request.method === "PUT") return this.#put(request, response, key, Buffer.concat(chunks));
    if (request.method === "DELETE") {
      this.#objects.delete(key);
      response.writeHead(204).end();
    } else if (url.searchParams.has("list-type")) this.#list(url.searchParams, response);
    else this.#get(request, response, key);
  }

  async #put(request: IncomingMessage, response: ServerResponse, key: string, body: Buffer): Promise<void> {
    const conditional = request.headers["if-none-match"] === "*" && this.flaw !== "ignores the condition";
    if (conditional && this.#objects.has(key)) {
      response.writeHead(412, { "content-type": "application/xml" });
      response.end("<Error><Code>PreconditionFailed</Code><Message>there</Message></Error>");
      return;
    }
    // Looked, then waits, then writes.
    if (this.flaw === "several winners under concurrency") await new Promise((resolve) => setTimeout(resolve, 2));
    this.#objects.set(key, body);
    response.writeHead(200, { etag: '"x"' }).end();
  }

  #get(request: IncomingMessage, response: ServerResponse, key: string): void {
    const bytes = this.#objects.get(key);
    if (bytes === undefined) {
      response.writeHead(404, { "content-type": "application/xml" });
      response.end(
        request.method === "HEAD" ? undefined : "<Error><Code>NoSuchKey</Code><Message>none</Message></Error>",
      );
      return;
    }
    const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
    const part = range === null ? bytes : bytes.subarray(Number(range[1]), Number(range[2]) + 1);
    const ranged = range === null ? {} : { "content-range": `bytes ${range[1]}-${range[2]}/${bytes.length}` };
    response.writeHead(range === null ? 200 : 206, { "content-length": part.length, ...ranged });
    response.end(request.method === "HEAD" ? undefined : part);
  }

  #list(query: URLSearchParams, response: ServerResponse): void {
    const after = query.get("start-after") ?? "";
    const prefix = query.get("prefix") ?? "";
    const limit = Number(query.get("max-keys") ?? 1000);
    const keys = [...this.#objects.keys()].filter((key) => key.startsWith(prefix) && key > after).toSorted();
    const items = keys
      .slice(0, limit)
      .map((key) => `<Contents><Key>${key}</Key><Size>${this.#objects.get(key)?.length}</Size></Contents>`);
    response.writeHead(200, { "content-type": "application/xml" });
    response.end(
      `<ListBucketResult><IsTruncated>${keys.length > limit}</IsTruncated>${items.join("")}</ListBucketResult>`,
    );
  }
}

describe("the probe over HTTP", () => {
  let store: TinyStore | undefined;
  afterEach(() => store?.stop());

  async function failedSteps(flaw: Flaw): Promise<string[]> {
    useTestCredentials();
    store = new TinyStore(flaw);
    const bucket = await open({ url: "s3://bucket/p", endpoint: await store.start() });
    const error: unknown = await probeBucket(bucket, realComponents, new AbortController().signal).catch(
      (thrown: unknown) => thrown,
    );
    await bucket.close();
    if (error instanceof BucketUnsafe) return error.report.steps.filter(({ ok }) => !ok).map(({ name }) => name);
    if (error instanceof Error) throw error;
    return [];
  }

  test("passes the store without a flaw: the refusals below are about the flaw", async () => {
    expect(await failedSteps("none")).toEqual([]);
  });

  test("refuses a store that ignores If-None-Match", async () => {
    expect(await failedSteps("ignores the condition")).toEqual([
      "a create over an existing key is refused",
      "of concurrent creates exactly one wins",
    ]);
  });

  test("refuses a store with several winners, which only races show", async () => {
    expect(await failedSteps("several winners under concurrency")).toEqual(["of concurrent creates exactly one wins"]);
  });
});

describe("a store that has a history already, and does not keep its promises any more", () => {
  let root: string;
  let store: TinyStore;
  const members: MemberProcess[] = [];

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), "metamaster-e2e-unsafe-"));
    store = new TinyStore("none");
  });
  afterEach(async () => {
    for (const each of members.splice(0)) await each.end();
    await store.stop();
    rmSync(root, { recursive: true, force: true });
  });

  function member(name: string, endpoint: string): MemberProcess {
    useTestCredentials();
    const made = new MemberProcess({ name, root, lease: "60s", store: { url: "s3://bucket/p", endpoint } });
    members.push(made);
    return made;
  }

  test.each(["a new member", "the one that led last"])(
    "%s ends and says so, and has not put anything into the log",
    async (who) => {
      const endpoint = await store.start();
      const first = member("alpha", endpoint);
      first.startKeyValueMaster();
      await put(await first.masterUrl(), "a", "1");
      await first.stop();
      const before = store.keys("p/log/");
      expect(before.length).toBeGreaterThan(1);
      store.flaw = "ignores the condition";
      const next = who === "a new member" ? member("beta", endpoint) : first;
      next.startKeyValueMaster();
      expect((await next.ended)?.code).toBe(4);
      expect(next.said).toContain("is not safe to use");
      // The new one has followed, unless it took longer than the look at the store; the other had its run before only.
      const followed = (next.said.match(/-> Standby/g) ?? []).length;
      expect(next === first ? [1] : [0, 1]).toContain(followed);
      expect(store.keys("p/log/")).toEqual(before);
    },
  );
});
