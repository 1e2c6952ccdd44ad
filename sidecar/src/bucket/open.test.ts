import { execFile } from "node:child_process";
import { mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { describe, expect, test } from "@jest/globals";
import { MetaMasterError } from "../base/errors.js";
import { SystemClock } from "../base/system-clock.js";
import { SystemRandom } from "../base/system-random.js";
import { openBucket, type BucketConfig } from "./open.js";
import { storeError, failureOf, scrub } from "./store-errors.js";

const components = { clock: new SystemClock(), random: new SystemRandom(), onRetry: () => undefined };
const context = { url: "s3://b/p/", operation: "get" as const, key: "k" };

async function problem(config: BucketConfig): Promise<MetaMasterError> {
  const error: unknown = await openBucket(config, components).catch((thrown: unknown) => thrown);
  if (!(error instanceof MetaMasterError)) throw new Error(`no error of ours: ${String(error)}`);
  return error;
}

describe("openBucket", () => {
  test.each([
    ["nonsense", "no url"],
    ["http://x/y", "scheme http: is unknown"],
    ["s3://", "names no bucket"],
    ["s3:///prefix", "names no bucket"],
    ["s3://bucket:9000/x", "no port"],
    ["gs://a/x", "no name of a bucket"],
    ["file://folder/x", "three slashes"],
    ["s3://bucket/p?region=x", "has a ? or a #"],
  ])("%s is refused: %s", async (url, why) => {
    const error = await problem({ url });
    expect([error.code, error.kind]).toEqual(["BucketUrlInvalid", "invalid"]);
    expect(error.message).toContain(why);
  });

  test("credentials in a url or an endpoint are refused and not repeated", async () => {
    for (const config of [
      { url: "s3://me:verysecret@bucket/x" },
      { url: "s3://bucket/x?key=verysecret" },
      { url: "s3://bucket/x", endpoint: "http://me:verysecret@host" },
      { url: "s3://bucket/x", endpoint: "http://host/?token=verysecret" },
      { url: "gs://bucket/x", endpoint: "me:verysecret@host" },
    ]) {
      const error = await problem(config);
      expect(error.code).toBe("BucketUrlInvalid");
      expect(`${error.message} ${error.stack} ${JSON.stringify(error.details)}`).not.toContain("verysecret");
    }
  });

  test("prefixes are checked and joined", async () => {
    expect((await problem({ url: "s3://bucket/a b" })).code).toBe("BucketKeyInvalid");
    expect((await problem({ url: "s3://bucket/x", prefix: "../y" })).code).toBe("BucketKeyInvalid");
    const bucket = await openBucket({ url: "s3://bucket//a/b/", prefix: "/c/", region: "x" }, components);
    expect(bucket.url).toBe("s3://bucket/a/b/c/");
    await bucket.close();
  });

  test("a file bucket's prefix is a folder of its own", async () => {
    const root = await mkdtemp(join(tmpdir(), "mm-open-"));
    const url = pathToFileURL(root).href;
    const one = await openBucket({ url: `${url}/`, prefix: "one" }, components);
    const all = await openBucket({ url }, components);
    expect(await one.list("", {})).toEqual({ objects: [], more: false });
    await one.putIfAbsent("log/1", new Uint8Array(3), {});
    await one.putIfAbsent("log/2", new Uint8Array(3), {});
    expect((await one.list("log/", { startAfter: "log/1" })).objects).toEqual([{ key: "log/2", size: 3 }]);
    expect((await all.list("", {})).objects.map(({ key }) => key)).toEqual(["one/log/1", "one/log/2"]);
    expect((await readdir(root)).toSorted()).toEqual(["one", "~tmp"]);
    await rm(root, { recursive: true });
  });

  test("a CA file that isn't there, or is none, is BucketTlsInvalid", async () => {
    const folder = await mkdtemp(join(tmpdir(), "mm-open-"));
    await writeFile(join(folder, "ca.pem"), "hello");
    for (const name of ["none.pem", "ca.pem"]) {
      const error = await problem({ url: "s3://bucket/x", caFile: join(folder, name) });
      expect([error.code, error.details["path"]]).toEqual(["BucketTlsInvalid", join(folder, name)]);
    }
    await rm(folder, { recursive: true });
  });

  test("no cloud SDK is loaded but by the adapter that needs it", async () => {
    const folder = join(import.meta.dirname);
    const found: string[] = [];
    for (const name of await readdir(folder)) {
      if (!name.endsWith(".ts") || name.endsWith(".test.ts")) continue;
      const source = await readFile(join(folder, name), "utf8");
      // `import type` and `typeof import(...)` vanish; an `import { x } from` stays and would load the SDK for everybody.
      if (/^import (?!type )[^;]*from "(@aws-sdk|@google-cloud|\.\/s3-|\.\/gcs-|\.\/http-)/m.test(source))
        found.push(name);
    }
    expect(found).toEqual(["gcs-bucket.ts"]);
  });
});

describe("errors of stores", () => {
  test("say what, where, why and what to do, and hold no request of the client", () => {
    const thrown = Object.assign(new Error("The key is wrong"), {
      name: "InvalidAccessKeyId",
      $metadata: { httpStatusCode: 403, requestId: "r1" },
      $response: { headers: { authorization: "AWS4-HMAC-SHA256 Credential=AKIA/..., Signature=0123" } },
    });
    const error = storeError(failureOf(thrown), context);
    expect(error.message).toBe("Could not read k in s3://b/p/: 403 InvalidAccessKeyId: The key is wrong");
    expect(error.hint).toContain("s3:GetObject");
    expect(error.details).toMatchObject({ status: 403, storeCode: "InvalidAccessKeyId", requestId: "r1", key: "k" });
    expect(Object.keys(Object(error.cause))).not.toContain("$response");
  });

  test.each([
    ["CERT_HAS_EXPIRED", "BucketTlsInvalid", "invalid"],
    ["DEPTH_ZERO_SELF_SIGNED_CERT", "BucketTlsInvalid", "invalid"],
    ["UNABLE_TO_VERIFY_LEAF_SIGNATURE", "BucketTlsInvalid", "invalid"],
    ["ERR_TLS_CERT_ALTNAME_INVALID", "BucketTlsInvalid", "invalid"],
    ["ECONNRESET", "BucketUnavailable", "transient"],
    ["EPIPE", "BucketUnavailable", "transient"],
    ["ENOTFOUND", "BucketUnavailable", "transient"],
    ["ETIMEDOUT", "BucketTimeout", "transient"],
    ["SomethingNew", "BucketUnavailable", "transient"],
  ])("%s without an answer is %s (%s)", (code, ours, kind) => {
    const error = storeError(failureOf(Object.assign(new Error("x"), { code })), context);
    expect([error.code, error.kind]).toEqual([ours, kind]);
  });

  test.each([
    [403, "RequestTimeTooSkewed", "BucketUnavailable", "clock"],
    [400, "ExpiredToken", "BucketUnavailable", "tried again"],
    [400, "RequestTimeout", "BucketUnavailable", "tried again"],
    [501, "NotImplemented", "BucketRequestInvalid", "lacks a feature"],
    [400, "AuthorizationHeaderMalformed", "BucketRequestInvalid", "region"],
  ])("%i %s is %s with a hint about %s", (httpStatusCode, name, ours, hint) => {
    const thrown = Object.assign(new Error("the region 'us-east-1' is wrong"), { name, $metadata: { httpStatusCode } });
    const error = storeError(failureOf(thrown), context);
    expect(error.code).toBe(ours);
    expect(error.hint).toContain(hint);
  });

  test("scrub takes out tokens, signatures and user parts of urls", () => {
    const text = scrub(
      'GET http://u:pw1@h/?X-Amz-Signature=sig2&X-Amz-Security-Token=tok3 Bearer tok4 {"access_token":"tok5"} secret=six',
    );
    for (const secret of ["pw1", "sig2", "tok3", "tok4", "tok5", "six"]) expect(text).not.toContain(secret);
    expect(scrub("x".repeat(2_000))).toHaveLength(500);
    const verify = "UNABLE_TO_VERIFY_LEAF_SIGNATURE: unable to verify\n    at a line of a stack";
    expect(scrub(verify)).toBe(verify);
    expect(scrub("X-Amz-Signature: abc, AWS_SECRET_ACCESS_KEY=abc, TOKEN: abc")).not.toContain("abc");
  });
});

describe("several processes on one folder", () => {
  test("eight of them race for every key: each key has one winner and its whole bytes, also when some are killed", async () => {
    const root = await mkdtemp(join(tmpdir(), "mm-race-"));
    const script = join(import.meta.dirname, "testing", "race-child.js");
    const runs = Array.from({ length: 8 }, (_, i) =>
      // Two of them die in the middle of a put.
      promisify(execFile)(process.execPath, [
        "--no-warnings",
        script,
        root,
        String(i),
        "40",
        i < 2 ? String(7 + i) : "",
      ]).then(
        (child) => ({ ...child, killed: false }),
        (error: unknown) => ({ stdout: String(Reflect.get(Object(error), "stdout")), killed: true }),
      ),
    );
    const won = new Map<string, string[]>();
    for (const [i, { stdout, killed }] of (await Promise.all(runs)).entries()) {
      const lines = stdout.split("\n").filter((line) => line !== "");
      expect([i, killed, lines.at(-1) === "done"]).toEqual([i, i < 2, i >= 2]);
      for (const key of lines) if (key !== "done") won.set(key, [...(won.get(key) ?? []), String(i)]);
    }
    const bucket = await openBucket({ url: pathToFileURL(root).href }, components);
    const { objects } = await bucket.list("log/", {});
    expect(objects).toHaveLength(40);
    for (const { key } of objects) {
      const bytes = Buffer.from((await bucket.get(key, { maxBytes: 1 << 20 })) ?? []);
      expect([key, bytes.length, new Set(bytes).size]).toEqual([key, 30_000, 1]);
      const winners = won.get(key) ?? [];
      // A killed one may have won without having said so.
      expect(winners.length).toBeLessThanOrEqual(1);
      if (winners.length === 1) expect(winners[0]).toBe(String(bytes[0]));
      else expect(bytes[0]).toBeLessThan(2);
    }
    await rm(root, { recursive: true });
  }, 30_000);
});
