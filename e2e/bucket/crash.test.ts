import { createHash, randomBytes } from "node:crypto";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, jest, test } from "@jest/globals";
import { isKind } from "../../sidecar/src/base/errors.js";
import { bytesSource } from "../../sidecar/src/bucket/byte-source.js";
import { serverNames, whyMissing } from "../servers/catalog.js";
import { Guarded } from "../servers/guarded.js";
import { StoreServer } from "../servers/server.js";
import { newBucket, open } from "../servers/stores.js";

// Real servers on a machine that may be busy; no test measures time.
jest.setTimeout(60_000);

const digest = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

describe("a test run that is killed", () => {
  const missing = whyMissing("versitygw");
  (missing === undefined ? test : test.skip)(
    "leaves no server and no folder behind",
    async () => {
      const script = join(import.meta.dirname, "..", "servers", "killed-run.js");
      const child = spawn(process.execPath, ["--no-warnings", script], { stdio: ["ignore", "pipe", "inherit"] });
      const [line] = (await once(child.stdout, "data")) as [Buffer];
      const [pid, folder] = line.toString().trim().split(" ");
      expect([existsSync(`/proc/${pid}`), existsSync(String(folder))]).toEqual([true, true]);
      child.kill("SIGKILL");
      while (existsSync(`/proc/${pid}`) || existsSync(String(folder))) await sleep(10);
    },
    30_000,
  );
});

test("a server that ends by itself is seen to have ended, with what it said", async () => {
  const folder = await mkdtemp(join(tmpdir(), "metamaster-ends-"));
  const ends = await Guarded.start(["/bin/sh", "-c", "echo no port >&2; exit 1"], {}, folder);
  while (ends.running) await sleep(5);
  expect(ends.output).toContain("no port");
  await ends.stop("remove");
  expect(existsSync(folder)).toBe(false);
});

(whyMissing("fake-gcs-server") === undefined ? test : test.skip)(
  "half a put of a killed fake-gcs-server is whole when it runs again: it would make the bucket look absent",
  async () => {
    const server = await StoreServer.start("fake-gcs-server");
    try {
      const config = await newBucket(server);
      const bucket = await open(config);
      await bucket.putIfAbsent("whole", Buffer.from("whole"), {});
      await server.kill();
      const prefix = join(server.folder, "root", config.url.slice("gs://".length));
      await writeFile(join(prefix, "half"), "no metadata");
      await server.restart();
      const objects = [
        { key: "half", size: 11 },
        { key: "whole", size: 5 },
      ];
      expect((await bucket.list("", {})).objects).toEqual(objects);
      await bucket.close();
    } finally {
      await server.stop();
    }
  },
);

describe.each(serverNames)("%s killed in the middle of puts", (name) => {
  const missing = whyMissing(name);
  if (missing !== undefined) {
    test.skip(`skipped: ${missing}`, () => undefined);
    return;
  }

  let server: StoreServer;
  beforeAll(async () => {
    server = await StoreServer.start(name);
  }, 60_000);
  afterAll(() => server?.stop(), 60_000);

  test("nothing that was acknowledged is lost or changed, and what wasn't is whole or absent", async () => {
    const bucket = await open(await newBucket(server));
    const tried = new Map<string, string>();
    const acknowledged = new Set<string>();
    const failures: unknown[] = [];
    const put = async (key: string, bytes: Buffer): Promise<void> => {
      tried.set(key, digest(bytes));
      try {
        if (bytes.length > 1 << 20) await bucket.put(key, bytesSource(bytes), { deadlineMs: 1_500 });
        else expect(await bucket.putIfAbsent(key, bytes, { deadlineMs: 1_500 })).toBe("created");
        acknowledged.add(key);
      } catch (error) {
        if (!isKind(error, "transient")) failures.push(error);
      }
    };
    for (let round = 0; round < 4; round++) {
      const before = acknowledged.size;
      const stop = new AbortController();
      const writers = Array.from({ length: 6 }, async (_, w) => {
        for (let i = 0; !stop.signal.aborted; i++) {
          await put(`crash/${round}-${w}-${i}`, randomBytes(w === 0 ? 9 << 20 : 40_000));
        }
      });
      while (acknowledged.size < before + 25 && failures.length === 0) await sleep(5);
      await server.kill();
      stop.abort();
      await Promise.all(writers);
      expect([round, failures]).toEqual([round, []]);
      await server.restart();
    }
    expect(acknowledged.size).toBeLessThan(tried.size);
    for (const [key, expected] of tried) {
      const got = await bucket.get(key, { maxBytes: 16 << 20 });
      const found = got === undefined ? "absent" : digest(got);
      const allowed = acknowledged.has(key) ? [expected] : [expected, "absent"];
      expect([key, allowed]).toEqual([key, expect.arrayContaining([found])]);
    }
    await bucket.close();
  }, 90_000);

  test("leaves no process and no folder behind when it is stopped", async () => {
    const another = await StoreServer.start(name);
    const { pid, folder } = another;
    expect([existsSync(`/proc/${pid}`), existsSync(folder)]).toEqual([true, true]);
    await another.stop();
    expect([existsSync(`/proc/${pid}`), existsSync(folder)]).toEqual([false, false]);
  });
});
