import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "@jest/globals";
import { NodeFileSystem } from "../../base/node-file-system.js";
import { SystemClock } from "../../base/system-clock.js";
import { SystemRandom } from "../../base/system-random.js";
import { ZstdCompression } from "../../base/zstd-compression.js";
import { MemoryBucket } from "../../bucket/testing/memory-bucket.js";
import type { Position, ReadEntry } from "../../formats/entry.js";
import { Image } from "../../formats/image-fold.js";
import { EMPTY_IMAGE, type ImageState } from "../../formats/image.js";
import { makeClaim } from "../../log/claim.js";
import { BucketLogReader } from "../../log/log-reader.js";
import type { LogWriter } from "../../log/log.js";
import { noMetrics, shipDefaults } from "./settings.js";
import { PrimaryShipper } from "./shipper.js";
import { silent } from "./testing/harness.js";
import { ModelDatabase } from "./testing/model-database.js";
import { prefixLength, replay, rowsOf } from "./testing/recover.js";

/** The shipper on the real log: its entries on a bucket, read back, verified and folded. */
let directory: string;
let bucket: MemoryBucket;
let abort: AbortController;
const uid = "0".repeat(32);
const never = new AbortController().signal;
const parts = {
  clock: new SystemClock(),
  random: new SystemRandom(),
  compression: new ZstdCompression(),
  onTrouble: () => undefined,
};

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "ship-log-"));
  bucket = new MemoryBucket();
  abort = new AbortController();
});

afterEach(async () => {
  abort.abort(new Error("the test is over"));
  await rm(directory, { recursive: true, force: true });
});

async function claim(end: Position, epoch: number, member = "a"): Promise<LogWriter> {
  const won = await makeClaim({ cluster: uid, writer: { member, nonce: "0".repeat(32) } }, { ...parts, bucket })(
    end,
    epoch,
    never,
  );
  if (won.outcome === "lost") throw new Error("the claim was lost");
  return won.writer;
}

async function readAll(): Promise<ReadEntry[]> {
  const cluster = { formatVersion: 1, uid, createdAt: "" };
  const reader = new BucketLogReader({ cluster, bucket, compression: parts.compression });
  const entries: ReadEntry[] = [];
  for (let position: Position = { slot: -1, chain: "" }; ;) {
    const entry = await reader.next(position, never);
    if (entry === undefined) return entries;
    entries.push(entry);
    position = entry.position;
  }
}

function make(writer: LogWriter, image: ImageState, snapshots: ImageState[]): PrimaryShipper {
  return new PrimaryShipper(
    {
      ...shipDefaults,
      wal: { ...shipDefaults.wal, maxDelayMs: 20 },
      entryBodyBytesMax: 32 * 1024,
      layout: {
        dataDirectory: directory,
        databases: [{ name: "db", path: `${directory}/db` }],
        companions: [],
      },
    },
    {
      ...parts,
      fs: new NodeFileSystem(),
      bucket,
      writer,
      logger: silent,
      progress: { report: () => undefined },
      metrics: noMetrics,
      image: { ...image, position: writer.position, epoch: writer.epoch },
      snapshots: { put: async (state) => void snapshots.push(state) },
    },
  );
}

test("what is read back folds into the image of the last snapshot, heartbeats in the middle of groups or not", async () => {
  const database = await ModelDatabase.create(new NodeFileSystem(), { path: `${directory}/db` });
  const writer = await claim({ slot: -1, chain: "" }, 1);
  const snapshots: ImageState[] = [];
  const shipper = make(writer, EMPTY_IMAGE, snapshots);
  const run = shipper.run(abort.signal).catch((error: unknown) => error);
  const beats = (async () => {
    while (!abort.signal.aborted) {
      await writer
        .append({ kind: "heartbeat", operations: [], sequences: [], more: false }, abort.signal)
        .catch(() => undefined);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  })();
  for (let round = 0; round < 5; round++) {
    await database.put(100, 1_000);
    if (round % 2 === 0) await database.flush();
    await database.put(1, 100_000);
    await shipper.barrier(AbortSignal.timeout(20_000));
  }
  await shipper.checkpoint("OnDemand", AbortSignal.timeout(20_000));
  abort.abort(new Error("enough"));
  await Promise.all([run, beats]);

  const entries = await readAll();
  expect(entries.some(({ header }, index) => header.kind === "heartbeat" && entries[index - 1]?.header.more)).toBe(
    true,
  );
  const image = new Image(EMPTY_IMAGE);
  const snapshot = snapshots.at(-1);
  for (const entry of entries) {
    if (entry.position.slot <= (snapshot?.position.slot ?? -1)) image.push(entry);
  }
  expect([...image.files.keys()].toSorted()).toEqual([...(snapshot?.files.keys() ?? [])].toSorted());
  expect(image.state().files).toEqual(snapshot?.files);
  const files = await replay(entries, bucket, (state) => {
    const rows = rowsOf(state, "db");
    if (rows !== undefined) prefixLength(rows);
  });
  expect(prefixLength(rowsOf(files, "db") ?? new Set())).toBe(database.last);
});

test("after a foreign claim nothing more is acknowledged, and what was acknowledged is in the history", async () => {
  const database = await ModelDatabase.create(new NodeFileSystem(), { path: `${directory}/db` });
  const writer = await claim({ slot: -1, chain: "" }, 1);
  const shipper = make(writer, EMPTY_IMAGE, []);
  const run = shipper.run(abort.signal).catch((error: unknown) => error);
  await database.put(5);
  await shipper.barrier(AbortSignal.timeout(20_000));
  await claim(writer.position, 2, "b");
  await database.put(5);
  await expect(shipper.barrier(AbortSignal.timeout(20_000))).rejects.toMatchObject({ kind: "fenced" });
  expect(await run).toMatchObject({ kind: "fenced" });
  const files = await replay(await readAll(), bucket, () => undefined);
  expect(prefixLength(rowsOf(files, "db") ?? new Set())).toBe(5n);
});
