import { dirname } from "node:path";
import { eachParallel } from "../base/each-parallel.js";
import type { Digest, ImagePath } from "../formats/entry.js";
import type { ImageFile, ImageState } from "../formats/image.js";
import type { DiskImage } from "./disk-image.js";
import { identityOf } from "./disk-image.js";
import type { FileDigests } from "./ship/digests.js";
import type { LocalIdentity } from "./state.js";
import type { ReplicaTools } from "./tools.js";

type TableFile = Extract<ImageFile, { kind: "table" }>;

/** What is known of files on this disk without reading them. */
export interface KnownTables {
  readonly files: ReadonlyMap<ImagePath, ImageFile>;
  readonly identities: ReadonlyMap<ImagePath, LocalIdentity>;
}

/** Tables placed since the last note: a killed restore begins again from there. */
const NOTE_BYTES = 1024 ** 3;

/** Puts an image's tables in place: what the disk has by digest stays or is linked, the rest is fetched. */
export class TableRestore {
  readonly #tools: ReplicaTools;
  readonly #disk: DiskImage;
  readonly #digests: FileDigests;
  readonly #known: KnownTables;
  /** Local paths by digest, verified or believed. */
  readonly #sources = new Map<Digest, string>();
  readonly placed = new Map<ImagePath, LocalIdentity>();
  fetchedBytes = 0;
  reusedBytes = 0;
  #noted = 0;

  constructor(tools: ReplicaTools, disk: DiskImage, digests: FileDigests, known: KnownTables) {
    this.#tools = tools;
    this.#disk = disk;
    this.#digests = digests;
    this.#known = known;
  }

  /** `onNote`: now and then, when what is in `placed` is durable. */
  async run(image: Pick<ImageState, "files">, signal: AbortSignal, onNote: () => Promise<void>): Promise<void> {
    const missing = await this.#reuse(image, signal);
    const wanted = new Map<Digest, (readonly [ImagePath, TableFile])[]>();
    let total = 0;
    for (const each of missing) {
      const [, table] = each;
      const same = wanted.get(table.sha256);
      if (same === undefined) total += table.size;
      wanted.set(table.sha256, [...(same ?? []), each]);
    }
    let done = 0;
    const count = (bytes: number): void => {
      done += bytes;
      this.#tools.progress.report("tables", done, total);
    };
    // Large ones first: the last ones to end are then small.
    const order = [...wanted.values()].toSorted((left, right) => (right[0]?.[1].size ?? 0) - (left[0]?.[1].size ?? 0));
    await eachParallel(order, this.#tools.fetch.parallelFiles, signal, async (same, inner) => {
      for (const [path, table] of same) await this.#place(path, table, inner, count);
      if (this.fetchedBytes - this.#noted < NOTE_BYTES) return;
      this.#noted = this.fetchedBytes;
      await this.#disk.directories.sync();
      await onNote();
    });
  }

  /** Keeps what is right in its place, learns of all other files that could be of use; the rest is returned. */
  async #reuse(image: Pick<ImageState, "files">, signal: AbortSignal): Promise<(readonly [ImagePath, TableFile])[]> {
    const { fs, layout, progress } = this.#tools;
    await this.#believe();
    const tables = [...image.files].filter((each): each is [ImagePath, TableFile] => each[1].kind === "table");
    const missing: (readonly [ImagePath, TableFile])[] = [];
    let checked = 0;
    for (const [path, table] of tables) {
      const local = layout.toLocal(path);
      const stat = await fs.stat(local);
      progress.report("compare", ++checked, tables.length);
      if (stat?.kind !== "file" || stat.size !== table.size || stat.permissions !== (table.permissions & 0o777)) {
        missing.push([path, table]);
        continue;
      }
      const believed = this.#isKnown(path, table.sha256, identityOf(stat));
      const sha256 = believed ? table.sha256 : (await this.#digests.of(local, stat, signal)).sha256;
      if (sha256 !== table.sha256) {
        missing.push([path, table]);
        continue;
      }
      // Read just now, so it costs nothing; who wrote it may not have.
      if (!believed) await this.#sync(local);
      this.#sources.set(sha256, local);
      this.placed.set(path, identityOf(stat));
      this.reusedBytes += table.size;
    }
    return missing;
  }

  async #sync(local: string): Promise<void> {
    const file = await this.#tools.fs.open(local, "read");
    try {
      await file.sync();
    } finally {
      await file.close();
    }
  }

  /** Files under other names that the state knows by digest. */
  async #believe(): Promise<void> {
    const { fs, layout } = this.#tools;
    for (const [path, file] of this.#known.files) {
      if (file.kind !== "table") continue;
      const local = layout.toLocal(path);
      const stat = await fs.stat(local);
      if (stat?.kind === "file" && this.#isKnown(path, file.sha256, identityOf(stat)))
        this.#sources.set(file.sha256, local);
    }
  }

  #isKnown(path: ImagePath, sha256: Digest, found: LocalIdentity): boolean {
    const file = this.#known.files.get(path);
    const identity = this.#known.identities.get(path);
    return (
      file?.kind === "table" &&
      file.sha256 === sha256 &&
      identity?.inode === found.inode &&
      identity.size === found.size &&
      identity.modifiedNs === found.modifiedNs
    );
  }

  async #place(path: ImagePath, table: TableFile, signal: AbortSignal, count: (bytes: number) => void): Promise<void> {
    const { fs, layout } = this.#tools;
    const local = layout.toLocal(path);
    const there = await fs.stat(local);
    if (there !== undefined && there.kind !== "file") await this.#disk.staging.park(this.#disk.directories, local);
    await this.#disk.directories.ensure(dirname(local));
    const source = this.#sources.get(table.sha256);
    const stat = source === undefined ? undefined : await fs.stat(source);
    if (source !== undefined && stat?.size === table.size && stat.permissions === (table.permissions & 0o777)) {
      const staged = await this.#disk.staging.name();
      await fs.link(source, staged);
      await fs.rename(staged, local);
      await fs.unlink(staged);
      this.reusedBytes += table.size;
      count(table.size);
    } else {
      await fs.rename(await this.#disk.fetcher.fetch(table, signal, count), local);
      this.fetchedBytes += table.size;
    }
    this.#disk.directories.changed(dirname(local));
    this.#sources.set(table.sha256, local);
    const placed = await fs.stat(local);
    if (placed !== undefined) this.placed.set(path, identityOf(placed));
  }
}
