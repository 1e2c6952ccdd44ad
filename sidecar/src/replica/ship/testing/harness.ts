import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { FileSystem } from "../../../base/file-system.js";
import type { Logger } from "../../../base/log.js";
import { NodeFileSystem } from "../../../base/node-file-system.js";
import type { Bucket } from "../../../bucket/bucket.js";
import { MemoryBucket } from "../../../bucket/testing/memory-bucket.js";
import { SystemClock } from "../../../base/system-clock.js";
import { SystemRandom } from "../../../base/system-random.js";
import type { ReadEntry } from "../../../formats/entry.js";
import { Image } from "../../../formats/image-fold.js";
import { EMPTY_IMAGE, type ImageState } from "../../../formats/image.js";
import type { DatabaseLocation } from "../../layout.js";
import { noMetrics, shipDefaults, type ShipComponents, type ShipSettings } from "../settings.js";
import { PrimaryShipper } from "../shipper.js";
import { ModelDatabase, type ModelOptions } from "./model-database.js";
import { prefixLength, replay, rowsOf, type Files } from "./recover.js";
import { TestPen } from "./test-pen.js";

export const silent: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

export interface BenchOptions {
  readonly settings?: Partial<Omit<ShipSettings, "layout">>;
  readonly databases?: readonly string[];
  readonly companions?: readonly string[];
  readonly model?: Omit<ModelOptions, "path">;
  readonly separateWal?: boolean;
  readonly fs?: FileSystem;
  readonly bucket?: Bucket;
  readonly logger?: Logger;
}

/** A data directory on the real file system with model databases, and shippers of one epoch after the other. */
export class Bench {
  readonly directory: string;
  readonly fs: FileSystem;
  readonly bucket: Bucket;
  readonly snapshots: ImageState[] = [];
  pen: TestPen;
  shipper: PrimaryShipper;
  readonly #options: BenchOptions;
  readonly #names: readonly string[];
  #abort = new AbortController();
  #running: Promise<unknown> = Promise.resolve();

  private constructor(directory: string, options: BenchOptions) {
    this.directory = directory;
    this.#options = options;
    this.#names = options.databases ?? ["db"];
    this.fs = options.fs ?? new NodeFileSystem();
    this.bucket = options.bucket ?? new MemoryBucket();
    this.pen = new TestPen(1, { slot: 0, chain: "claim" });
    this.shipper = this.#make({ ...EMPTY_IMAGE, position: this.pen.position, epoch: 1 });
  }

  static async open(options: BenchOptions = {}): Promise<Bench> {
    return new Bench(await mkdtemp(join(tmpdir(), "ship-")), options);
  }

  location(name: string): DatabaseLocation {
    const path = `${this.directory}/${name}`;
    return this.#options.separateWal === true
      ? { name, path, walPath: `${this.directory}/${name}-wal` }
      : { name, path };
  }

  async create(name = "db"): Promise<ModelDatabase> {
    const { path, walPath } = this.location(name);
    const where = walPath === undefined ? { path } : { path, walPath };
    return await ModelDatabase.create(new NodeFileSystem(), { ...this.#options.model, ...where });
  }

  start(): void {
    this.#running = this.shipper.run(this.#abort.signal).catch((error: unknown) => error);
  }

  /** How `run` ended. */
  ended(): Promise<unknown> {
    return this.#running;
  }

  async barrier(): Promise<void> {
    await this.shipper.barrier(AbortSignal.timeout(20_000));
  }

  async checkpoint(): Promise<void> {
    await this.shipper.checkpoint("OnDemand", AbortSignal.timeout(20_000));
  }

  /** The sidecar dies, as if by SIGKILL. */
  async die(): Promise<void> {
    this.#abort.abort(new Error("killed"));
    await this.#running;
  }

  /** It comes back in a new epoch, on the image of the log so far. */
  restart(image: ImageState = this.image()): void {
    const slot = this.pen.position.slot + 1;
    const next = new TestPen(this.pen.epoch + 1, { slot, chain: `chain-${slot}` });
    next.entries.push(...this.pen.entries);
    this.pen = next;
    this.#abort = new AbortController();
    this.shipper = this.#make({ ...image, position: next.position, epoch: next.epoch });
  }

  /** At every entry the image opens at a prefix of what was written, without a hole; at the end it has so many rows. */
  async prefixes(name = "db"): Promise<bigint> {
    await this.replay((files) => {
      const found = rowsOf(files, name);
      if (found !== undefined) prefixLength(found);
    });
    return prefixLength(await this.rows(name));
  }

  /** The image of the log so far, as a new epoch would be given it. */
  image(): ImageState {
    const image = new Image({ ...EMPTY_IMAGE, epoch: 0 });
    const claim = (epoch: number, slot: number): ReadEntry => ({
      header: {
        version: 1,
        cluster: "",
        slot,
        epoch,
        kind: "claim",
        previous: "",
        writer: this.pen.writer,
        wallTimeMs: 0,
        more: false,
        sequences: [],
      },
      operations: [],
      position: { slot, chain: "claim" },
      size: 0,
    });
    let epoch = 0;
    for (const entry of this.pen.entries) {
      if (entry.header.epoch > epoch) image.push(claim(++epoch, entry.header.slot - 1));
      image.push(entry);
    }
    return image.state();
  }

  /** Resolves when `ready` says so; fails after ten seconds. */
  async until(ready: () => boolean | Promise<boolean>): Promise<void> {
    const end = performance.now() + 10_000;
    while (!(await ready())) {
      if (performance.now() > end) throw new Error("it did not come to pass");
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  /** Every image that the log went through. */
  async replay(onState: (files: Files) => void = () => undefined): Promise<Files> {
    return await replay(this.pen.entries, this.bucket, onState);
  }

  /** Rows of the image at the log's end. */
  async rows(name = "db"): Promise<Set<bigint>> {
    return rowsOf(await this.replay(), name) ?? new Set();
  }

  async close(): Promise<void> {
    this.#abort.abort(new Error("the test is over"));
    this.pen.back();
    await this.#running;
    await rm(this.directory, { recursive: true, force: true });
  }

  #make(image: ImageState): PrimaryShipper {
    const settings: ShipSettings = {
      ...shipDefaults,
      wal: { ...shipDefaults.wal, maxDelayMs: 20 },
      ...this.#options.settings,
      layout: {
        dataDirectory: this.directory,
        databases: this.#names.map((name) => this.location(name)),
        companions: this.#options.companions ?? [],
      },
    };
    const components: ShipComponents = {
      fs: this.fs,
      clock: new SystemClock(),
      random: new SystemRandom(),
      bucket: this.bucket,
      writer: this.pen,
      logger: this.#options.logger ?? silent,
      progress: { report: () => undefined },
      metrics: noMetrics,
      image,
      snapshots: {
        put: async (state) => {
          this.snapshots.push(state);
        },
      },
    };
    return new PrimaryShipper(settings, components);
  }
}
