import { createHash, randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, jest, test } from "@jest/globals";
import { MetaMasterError } from "../../sidecar/src/base/errors.js";
import type { Bucket } from "../../sidecar/src/bucket/bucket.js";
import { bytesSource } from "../../sidecar/src/bucket/byte-source.js";
import type { BucketConfig } from "../../sidecar/src/bucket/open.js";
import { probeBucket } from "../../sidecar/src/bucket/probe.js";
import { retrying, type Retry } from "../../sidecar/src/bucket/retry.js";
import { serverNames, whyMissing, type ServerName } from "../servers/catalog.js";
import { FaultProxy } from "../servers/fault-proxy.js";
import { StoreServer, secretKey } from "../servers/server.js";
import { newBucket, open, realComponents, useTestCredentials } from "../servers/stores.js";

// Real servers on a machine that may be busy; no test measures time.
jest.setTimeout(60_000);

const text = (value: string): Uint8Array => new TextEncoder().encode(value);

async function failure(promise: Promise<unknown>): Promise<MetaMasterError> {
  const thrown: unknown = await promise.then(
    (value) => `no error but ${String(value)}`,
    (error: unknown) => error,
  );
  if (!(thrown instanceof MetaMasterError)) throw new Error(`not an error of ours: ${String(thrown)}`);
  return thrown;
}

/** Everything that a log could show of an error. */
function shown(error: MetaMasterError): string {
  const seen: unknown[] = [];
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    const fields = Object.getOwnPropertyNames(at).map((name) => [name, String(Reflect.get(at, name))]);
    seen.push(at.name, at.message, at.stack, fields);
  }
  return JSON.stringify([seen, error.details, error.hint]);
}

for (const name of serverNames) {
  const missing = whyMissing(name);
  if (missing !== undefined) {
    describe(name, () => test.skip(`skipped: ${missing}`, () => undefined));
    continue;
  }
  faults(name);
}

function faults(name: ServerName): void {
  describe(`${name} behind a network that breaks`, () => {
    let server: StoreServer;
    let proxy: FaultProxy;
    let config: BucketConfig;
    let direct: Bucket;
    let bucket: Bucket;
    const retries: Retry[] = [];
    let steady: Bucket;

    beforeAll(async () => {
      server = await StoreServer.start(name);
      proxy = await FaultProxy.start(server.port);
      config = await newBucket(server);
      direct = await open(config);
      bucket = await open({ ...config, endpoint: proxy.endpoint });
      steady = retrying(bucket, { ...realComponents, onRetry: (retry) => retries.push(retry) });
    }, 60_000);
    afterEach(async () => {
      await proxy.set({ kind: "none" });
      retries.length = 0;
      useTestCredentials();
    });
    afterAll(async () => {
      await Promise.all([direct?.close(), bucket?.close()]);
      await proxy?.stop();
      await server?.stop();
    });

    test("a create whose answer is lost throws transient, and is found by the next try", async () => {
      await proxy.set({ kind: "dropAnswer" }, 1);
      const error = await failure(bucket.putIfAbsent("lost/1", text("mine"), {}));
      expect([error.code, error.kind]).toEqual(["BucketUnavailable", "transient"]);
      expect(Buffer.from((await direct.get("lost/1", { maxBytes: 9 })) ?? []).toString()).toBe("mine");
      expect(await bucket.putIfAbsent("lost/1", text("mine"), {})).toBe("exists");
      // The clients' own retries are off: one request, one effect.
      expect(proxy.hits).toBe(1);
    });

    test("retries get through lost answers, resets and stalls, and tell of each", async () => {
      await proxy.set({ kind: "dropAnswer" }, 2);
      expect(await steady.putIfAbsent("lost/2", text("mine"), {})).toBe("exists");
      expect(retries.map(({ attempt, error }) => [attempt, error.code])).toEqual([
        [1, "BucketUnavailable"],
        [2, "BucketUnavailable"],
      ]);
      await proxy.set({ kind: "reset" }, 3);
      expect(await steady.putIfAbsent("lost/3", text("mine"), {})).toBe("created");
      await proxy.set({ kind: "reset" }, 1);
      expect(await steady.get("lost/3", { maxBytes: 9 })).toHaveLength(4);
      expect(retries).toHaveLength(6);
    });

    test("a silent server is a time-out for every operation, and no socket stays behind", async () => {
      await proxy.set({ kind: "stall" });
      const limits = { deadlineMs: 300 };
      const errors = await Promise.all([
        failure(bucket.putIfAbsent("stall/1", text("x"), limits)),
        failure(bucket.put("stall/2", bytesSource(text("x")), limits)),
        failure(bucket.put("stall/3", bytesSource(randomBytes(9 << 20)), limits)),
        failure(bucket.get("stall/4", { ...limits, maxBytes: 9 })),
        failure(bucket.head("stall/5", limits)),
        failure(bucket.list("stall/", limits)),
        failure(bucket.delete("stall/6", limits)),
      ]);
      expect(new Set(errors.map(({ code, kind }) => `${code} ${kind}`))).toEqual(new Set(["BucketTimeout transient"]));
      // The calls that were given up have let go of their connections, without the server's help.
      while (proxy.open > 0) await sleep(10);
      await proxy.set({ kind: "none" });
      expect(await bucket.head("stall/7", { deadlineMs: 10_000 })).toBeUndefined();
    });

    test("sixty aborted calls to a silent server leave the way free", async () => {
      await proxy.set({ kind: "stall" });
      const abort = new AbortController();
      const reason = new Error("enough");
      const calls = Array.from({ length: 60 }, (_, i) =>
        bucket.get(`aborted/${i}`, { signal: abort.signal, maxBytes: 9 }),
      );
      const settled = Promise.allSettled(calls);
      abort.abort(reason);
      for (const result of await settled) expect(result).toEqual({ status: "rejected", reason });
      while (proxy.open > 0) await sleep(10);
      await proxy.set({ kind: "none" });
      expect(await bucket.head("aborted/1", { deadlineMs: 10_000 })).toBeUndefined();
    });

    test("a body that trickles is BucketSlowBody, one that breaks off is BucketUnavailable", async () => {
      await direct.put("bodies/1", bytesSource(randomBytes(4 << 20)), {});
      await proxy.set({ kind: "slow", bytesPerSecond: 20_000 });
      // Long enough for the answer to begin on a busy machine, far too short for 4 MiB at that rate.
      const slow = await failure(bucket.get("bodies/1", { maxBytes: 4 << 20, deadlineMs: 4000 }));
      expect([slow.code, slow.kind]).toEqual(["BucketSlowBody", "transient"]);
      await proxy.set({ kind: "cut", afterBytes: 1 << 20 }, 1);
      const cut = await failure(bucket.get("bodies/1", { maxBytes: 4 << 20 }));
      expect([cut.code, cut.kind]).toEqual(["BucketUnavailable", "transient"]);
      await proxy.set({ kind: "cut", afterBytes: 1 << 20 }, 2);
      expect(await steady.get("bodies/1", { maxBytes: 4 << 20 })).toHaveLength(4 << 20);
    });

    test("a large put survives a lost answer in its middle", async () => {
      const bytes = randomBytes((20 << 20) + 5);
      let reads = 0;
      const source = {
        size: bytes.length,
        read: async (offset: number, length: number) => {
          if (reads++ === 1) await proxy.set({ kind: "dropAnswer" }, 1);
          return bytes.subarray(offset, offset + length);
        },
      };
      const partRetries: Retry[] = [];
      // fake-gcs-server names its own address for the session, past the proxy; the simulated S3 parts all go through it.
      const through = await open({ ...config, endpoint: proxy.endpoint });
      await retrying(through, { ...realComponents, onRetry: (retry) => partRetries.push(retry) }).put(
        "parts/1",
        source,
        {},
      );
      const got = await direct.get("parts/1", { maxBytes: bytes.length });
      expect(Buffer.from(got ?? []).equals(bytes)).toBe(true);
      await through.close();
    }, 30_000);

    test.each([
      [500, "InternalError", "BucketUnavailable", "transient"],
      [503, "SlowDown", "BucketUnavailable", "transient"],
      [429, "TooManyRequests", "BucketUnavailable", "transient"],
      [409, "ConditionalRequestConflict", "BucketUnavailable", "transient"],
      [507, "XMinioStorageFull", "BucketFull", "transient"],
      [403, "AccessDenied", "BucketAccessDenied", "invalid"],
      [401, "Unauthorized", "BucketAccessDenied", "invalid"],
      [404, "NoSuchBucket", "BucketNotFound", "invalid"],
      [400, "InvalidArgument", "BucketRequestInvalid", "invalid"],
      [301, "PermanentRedirect", "BucketRequestInvalid", "invalid"],
    ])("an answer of %i %s is %s (%s)", async (status, storeCode, code, kind) => {
      const message = "The specified bucket does not exist";
      const body =
        name === "fake-gcs-server"
          ? JSON.stringify({ error: { code: status, message, errors: [{ reason: storeCode }] } })
          : `<?xml version="1.0"?><Error><Code>${storeCode}</Code><Message>${message}</Message></Error>`;
      await proxy.set({ kind: "answer", status, body });
      const errors = [
        await failure(bucket.putIfAbsent("answers/1", text("x"), {})),
        await failure(bucket.get("answers/1", { maxBytes: 9 })),
        await failure(bucket.list("answers/", {})),
      ];
      expect(errors.map((error) => [error.code, error.kind])).toEqual(errors.map(() => [code, kind]));
      for (const error of errors) {
        expect(error.message).toContain(String(status));
        expect(error.hint).toBeDefined();
      }
    });

    if (name !== "fake-gcs-server") {
      test("the sha256 that a caller gives is what the store checks the body with", async () => {
        const bytes = text("as it was sealed");
        const sha256 = createHash("sha256").update(bytes).digest("hex");
        expect(await direct.putIfAbsent("sealed", bytes, { sha256 })).toBe("created");
        const error = await failure(direct.putIfAbsent("broken", text("as it was damaged"), { sha256 }));
        expect(shown(error)).toContain("SHA256");
        expect(await direct.head("broken", {})).toBeUndefined();
      });
    }

    test("a bucket that isn't there is BucketNotFound for every operation", async () => {
      const wrong = await open({ ...config, url: config.url.replace(/mm-[0-9a-f]+/, "mm-not-there") });
      const errors = await Promise.all([
        failure(wrong.putIfAbsent("a", text("x"), {})),
        failure(wrong.put("a", bytesSource(text("x")), {})),
        failure(wrong.put("a", bytesSource(randomBytes(9 << 20)), {})),
        failure(wrong.get("a", { maxBytes: 9 })),
        failure(wrong.head("a", {})),
        failure(wrong.list("", {})),
      ]);
      expect(errors.map(({ code, kind }) => `${code} ${kind}`)).toEqual(errors.map(() => "BucketNotFound invalid"));
      await wrong.close();
    });

    test("nobody at the endpoint, and a host that doesn't exist, are transient with a hint", async () => {
      for (const [endpoint, hint] of [
        ["http://127.0.0.1:1", "endpoint"],
        ["http://store.invalid:9000", "DNS"],
      ] as const) {
        const away = await open({ ...config, endpoint });
        const error = await failure(away.head("a", {}));
        expect([error.code, error.kind]).toEqual(["BucketUnavailable", "transient"]);
        expect(error.hint).toContain(hint);
        await away.close();
      }
    });

    test("https to a server that speaks http is BucketTlsInvalid", async () => {
      const tls = await open({ ...config, endpoint: server.endpoint.replace("http:", "https:") });
      const error = await failure(tls.get("a", { maxBytes: 9 }));
      expect([error.code, error.kind]).toEqual(["BucketTlsInvalid", "invalid"]);
      await tls.close();
    });

    test("passes the probe, also through a network that loses answers now and then", async () => {
      const never = new AbortController().signal;
      expect((await probeBucket(direct, realComponents, never)).safe).toBe(true);
      await proxy.set({ kind: "dropAnswer" }, 5);
      expect((await probeBucket(bucket, realComponents, never)).safe).toBe(true);
      expect((await direct.list("probe/", {})).objects).toEqual([]);
    }, 60_000);

    if (name !== "fake-gcs-server") {
      test("wrong credentials are BucketAccessDenied, and no error shows any", async () => {
        for (const [id, secret] of [
          ["metamastertest", "not-the-secret-of-anybody"],
          ["nobodyatall", secretKey],
        ] as const) {
          Object.assign(process.env, { AWS_ACCESS_KEY_ID: id, AWS_SECRET_ACCESS_KEY: secret });
          const wrong = await open(config);
          const errors = await Promise.all([
            failure(wrong.putIfAbsent("a", text("x"), {})),
            failure(wrong.get("a", { maxBytes: 9 })),
            failure(wrong.list("", {})),
            failure(wrong.head("a", {})),
          ]);
          for (const error of errors) {
            expect([error.code, error.kind]).toEqual(["BucketAccessDenied", "invalid"]);
            expect(error.hint).toContain("permission s3:");
            expect(shown(error)).not.toContain(secret);
            expect(shown(error)).not.toMatch(/Signature=|AWS4-HMAC/);
          }
          await wrong.close();
        }
      });

      test("no credentials at all are BucketAccessDenied, at once", async () => {
        delete process.env["AWS_ACCESS_KEY_ID"];
        delete process.env["AWS_SECRET_ACCESS_KEY"];
        const none = await open(config);
        const error = await failure(none.head("a", { deadlineMs: 10_000 }));
        expect([error.code, error.kind]).toEqual(["BucketAccessDenied", "invalid"]);
        await none.close();
      });
    }
  });
}
