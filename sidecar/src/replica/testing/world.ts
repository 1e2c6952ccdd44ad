import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { FileSystem } from "../../base/file-system.js";
import type { Logger } from "../../base/log.js";
import { NodeFileSystem } from "../../base/node-file-system.js";
import { SystemClock } from "../../base/system-clock.js";
import { SystemRandom } from "../../base/system-random.js";
import { ZstdCompression } from "../../base/zstd-compression.js";
import type { Bucket } from "../../bucket/bucket.js";
import { MemoryBucket } from "../../bucket/testing/memory-bucket.js";
import { CLUSTER_KEY, SNAPSHOT_PREFIX, snapshotKey, type Position, type ReadEntry } from "../../formats/entry.js";
import { encodeCluster } from "../../log/cluster-identity.js";
import { EMPTY_IMAGE, type ImageState } from "../../formats/image.js";
import { decodeSnapshot, encodeSnapshot } from "../../formats/snapshot.js";
import { makeClaim } from "../../log/claim.js";
import { BucketLogReader } from "../../log/log-reader.js";
import type { LogWriter } from "../../log/log.js";
import type { Layout } from "../layout.js";
import { ImageLayout } from "../layout-map.js";
import { LocalFolders } from "../local-folders.js";
import { LocalReplica } from "../local-replica.js";
import { quarantineDefaults } from "../quarantine.js";
import type { Follower, Reconciled } from "../replica.js";
import type { SnapshotShelf } from "../restore-target.js";
import type { ReconcileParts, ReconcileSettings } from "../reconcile.js";
import { noMetrics, shipDefaults } from "../ship/settings.js";
import { PrimaryShipper } from "../ship/shipper.js";
import { ModelDatabase } from "../ship/testing/model-database.js";
import { prefixLength, replay, rowsOf, type Files } from "../ship/testing/recover.js";
import { StateStore } from "../state.js";
import { fetchDefaults } from "../table-fetch.js";
import type { ReplicaTools } from "../tools.js";

export const deadline = (): AbortSignal => AbortSignal.timeout(20_000);

/** What was logged, for tests that want a warning to be given. */
export class Said implements Logger {
  readonly lines: { readonly level: string; readonly message: string; readonly fields: object }[] = [];
  debug = (fields: object, message: string): unknown => this.lines.push({ level: "debug", message, fields });
  info = (fields: object, message: string): unknown => this.lines.push({ level: "info", message, fields });
  warn = (fields: object, message: string): unknown => this.lines.push({ level: "warn", message, fields });
  error = (fields: object, message: string): unknown => this.lines.push({ level: "error", message, fields });

  has(level: string, part: string): boolean {
    return this.lines.some((line) => line.level === level && line.message.includes(part));
  }
}

/** A bucket with a log that real writers write, and directories that real members have. */
export class World {
  readonly root: string;
  readonly bucket: MemoryBucket;
  readonly shelf: SnapshotShelf;
  readonly cluster = { formatVersion: 1, uid: "c0ffee", createdAt: "2026-01-01T00:00:00Z" };
  readonly compression = new ZstdCompression();
  readonly clock = new SystemClock();
  readonly random = new SystemRandom();
  readonly members: Member[] = [];

  private constructor(root: string) {
    this.root = root;
    this.bucket = new MemoryBucket();
    this.bucket.poke(CLUSTER_KEY, encodeCluster(this.cluster));
    this.shelf = this.shelfOf(this.bucket);
  }

  shelfOf(bucket: Bucket): SnapshotShelf {
    return {
      list: async (signal) => {
        const { objects } = await bucket.list(SNAPSHOT_PREFIX, { signal });
        return objects.map(({ key }) => Number.parseInt(key.slice(SNAPSHOT_PREFIX.length), 10));
      },
      read: async (slot, signal) => {
        const bytes = await bucket.get(snapshotKey(slot), { signal, maxBytes: 1e9 });
        return bytes === undefined ? undefined : await decodeSnapshot(bytes, snapshotKey(slot), this.compression);
      },
    };
  }

  static async open(): Promise<World> {
    return new World(await mkdtemp(join(tmpdir(), "metamaster-replica-")));
  }

  member(name: string, options: MemberOptions = {}): Member {
    const member = new Member(this, name, options);
    this.members.push(member);
    return member;
  }

  reader(bucket: Bucket = this.bucket): BucketLogReader {
    return new BucketLogReader({ cluster: this.cluster, bucket, compression: this.compression });
  }

  async entries(): Promise<ReadEntry[]> {
    const reader = this.reader();
    const entries: ReadEntry[] = [];
    for (let position: Position = EMPTY_IMAGE.position; ;) {
      const entry = await reader.next(position, deadline());
      if (entry === undefined) return entries;
      entries.push(entry);
      ({ position } = entry);
    }
  }

  /** The files of the image at the log's end, folded by another implementation than the product's. */
  async files(until = Infinity): Promise<Files> {
    const entries = (await this.entries()).filter(({ position }) => position.slot <= until);
    return await replay(entries, this.bucket, () => undefined);
  }

  async putSnapshot(image: ImageState): Promise<void> {
    const snapshot = { ...image, cluster: this.cluster.uid, wallTimeMs: this.clock.wallMs() };
    const bytes = await encodeSnapshot(snapshot, this.compression);
    await this.bucket.putIfAbsent(snapshotKey(image.position.slot), bytes, {});
  }

  async close(): Promise<void> {
    for (const member of this.members) await member.die();
    await rm(this.root, { recursive: true, force: true });
  }
}

export interface MemberOptions {
  readonly fs?: FileSystem;
  readonly bucket?: Bucket;
  readonly separateWal?: boolean;
  readonly companions?: readonly string[];
  readonly databases?: readonly string[];
  readonly settings?: Partial<ReconcileSettings>;
  readonly directory?: string;
  readonly snapshots?: boolean;
  readonly baseAfterSlots?: number;
}

/** One member's directory and, one after the other, the runs of its sidecar on it. */
export class Member {
  readonly name: string;
  readonly directory: string;
  readonly world: World;
  readonly layout: Layout;
  readonly said = new Said();
  bootId = "boot-1";
  nonce: string;
  /** How often what is on the disk was at risk. */
  risked = 0;
  fs: FileSystem;
  bucket: Bucket;
  replica: LocalReplica;
  reconciled: Reconciled | undefined;
  follower: Follower | undefined;
  writer: LogWriter | undefined;
  shipper: PrimaryShipper | undefined;
  snapshots: boolean;
  readonly #options: MemberOptions;
  #runs = 0;
  #abort = new AbortController();
  #running: Promise<unknown> = Promise.resolve();

  constructor(world: World, name: string, options: MemberOptions) {
    this.world = world;
    this.name = name;
    this.#options = options;
    this.directory = options.directory ?? `${world.root}/${name}`;
    this.layout = {
      dataDirectory: this.directory,
      databases: (options.databases ?? ["db"]).map((database) => {
        const path = `${this.directory}/${database}`;
        return options.separateWal === true
          ? { name: database, path, walPath: `${path}-wal` }
          : { name: database, path };
      }),
      companions: options.companions ?? [],
    };
    this.fs = options.fs ?? new NodeFileSystem();
    this.bucket = options.bucket ?? world.bucket;
    this.snapshots = options.snapshots ?? true;
    this.nonce = "";
    this.replica = this.#run();
  }

  get tools(): ReplicaTools {
    return {
      fs: this.fs,
      clock: this.world.clock,
      bucket: this.bucket,
      reader: this.world.reader(this.bucket),
      logger: this.said,
      progress: { report: () => undefined },
      layout: new ImageLayout(this.layout),
      folders: new LocalFolders(this.directory),
      fetch: fetchDefaults,
    };
  }

  get parts(): ReconcileParts {
    const { tools } = this;
    return {
      tools,
      shelf: this.world.shelfOf(this.bucket),
      store: new StateStore(this.fs, tools.folders),
      run: { member: this.name, nonce: this.nonce, bootId: this.bootId },
      beforeRisk: async () => {
        this.risked += 1;
      },
    };
  }

  /** The sidecar starts (again). */
  #run(): LocalReplica {
    this.nonce = createHash("sha256")
      .update(`${this.name} ${++this.#runs}`)
      .digest("hex")
      .slice(0, 32);
    return new LocalReplica(this.parts, {
      bootstrap: "New",
      quarantine: quarantineDefaults,
      ...this.#options.settings,
    });
  }

  async restart(): Promise<void> {
    await this.die();
    this.replica = this.#run();
  }

  async die(): Promise<void> {
    this.#abort.abort(new Error("killed"));
    await this.#running;
    this.#abort = new AbortController();
    this.follower = undefined;
    this.shipper = undefined;
  }

  async reconcile(): Promise<Reconciled> {
    this.reconciled = await this.replica.reconcile(deadline());
    return this.reconciled;
  }

  /** Reconciles and follows to the end; saved. */
  async follow(): Promise<Follower> {
    const reconciled = await this.reconcile();
    if (reconciled.state !== "Following" && reconciled.state !== "Empty") throw new Error(`it is ${reconciled.state}`);
    this.follower = this.replica.makeFollower(reconciled.state === "Following" ? reconciled.image : EMPTY_IMAGE);
    await this.catchUp();
    await this.follower.save();
    return this.follower;
  }

  async catchUp(): Promise<ReadEntry[]> {
    const entries: ReadEntry[] = [];
    for (;;) {
      const found = await this.follower?.poll(deadline());
      if (found === undefined || found.length === 0) return entries;
      entries.push(...found);
    }
  }

  /** Wins the next epoch, seals, and ships what its model database does. */
  async lead(): Promise<void> {
    const reconciled = await this.reconcile();
    let end = EMPTY_IMAGE.position;
    let epoch = 0;
    if (reconciled.state === "Following" || reconciled.state === "Empty") {
      this.follower = this.replica.makeFollower(reconciled.state === "Following" ? reconciled.image : EMPTY_IMAGE);
      await this.catchUp();
      end = this.follower.seen;
      epoch = this.follower.image.epoch;
    } else ({ position: end, epoch } = reconciled.image);
    this.writer = await this.claim(end, epoch + 1);
    const { position } = this.writer;
    const image =
      this.follower === undefined
        ? await this.replica.sealAhead(
            reconciled.state === "Ahead" || reconciled.state === "Adoptable" ? reconciled.image : EMPTY_IMAGE,
            position,
            epoch + 1,
          )
        : await this.follower.seal(position, epoch + 1);
    this.#ship(image);
    if (reconciled.state === "Ahead" || reconciled.state === "Adoptable") await this.checkpoint();
  }

  async claim(end: Position, epoch: number): Promise<LogWriter> {
    const { world } = this;
    const claimant = { cluster: world.cluster.uid, writer: { member: this.name, nonce: this.nonce } };
    const { bucket, clock, random, compression } = world;
    const claimed = await makeClaim(claimant, { bucket, clock, random, compression, onTrouble: () => undefined })(
      end,
      epoch,
      deadline(),
    );
    if (claimed.outcome === "lost") throw new Error("the claim was lost");
    return claimed.writer;
  }

  #ship(image: ImageState): void {
    const { world } = this;
    const writer = this.writer;
    if (writer === undefined) throw new Error("no epoch");
    this.shipper = new PrimaryShipper(
      {
        ...shipDefaults,
        wal: { ...shipDefaults.wal, maxDelayMs: 5 },
        layout: this.layout,
        baseAfterSlots: this.#options.baseAfterSlots ?? shipDefaults.baseAfterSlots,
      },
      {
        fs: this.fs,
        clock: world.clock,
        random: world.random,
        bucket: world.bucket,
        writer,
        logger: this.said,
        progress: { report: () => undefined },
        metrics: noMetrics,
        image,
        snapshots: { put: async (state) => (this.snapshots ? await world.putSnapshot(state) : undefined) },
      },
    );
    this.#running = this.shipper.run(this.#abort.signal).catch((error: unknown) => error);
  }

  async create(name = "db"): Promise<ModelDatabase> {
    const location = this.layout.databases.find((each) => each.name === name);
    const { path, walPath } = location ?? { path: `${this.directory}/${name}`, walPath: undefined };
    return await ModelDatabase.create(new NodeFileSystem(), walPath === undefined ? { path } : { path, walPath });
  }

  async barrier(): Promise<void> {
    await this.shipper?.barrier(deadline());
  }

  async checkpoint(): Promise<void> {
    await this.shipper?.checkpoint("OnDemand", deadline());
  }

  /** The files of this disk that are part of an image, as they are. */
  disk(fs: FileSystem = new NodeFileSystem()): Promise<Files> {
    return diskFiles(fs, this.tools.layout);
  }
}

/** Databases' files by image path, and, if there are companions, all that lies beside them in the data directory. */
export async function diskFiles(fs: FileSystem, layout: ImageLayout): Promise<Files> {
  const files: Files = new Map();
  const walk = async (directory: string): Promise<void> => {
    if ((await fs.stat(directory)) === undefined) return;
    for (const { name, kind } of await fs.list(directory)) {
      if (name === ".metamaster") continue;
      const local = `${directory}/${name}`;
      const path = layout.toImage(local);
      if (kind === "directory") await walk(local);
      else if (path !== undefined) files.set(path, await fs.readFile(local, 1e9));
    }
  };
  const { dataDirectory, companions } = layout.layout;
  if (companions.length > 0) await walk(dataDirectory);
  else for (const { directory } of layout.roots) await walk(directory);
  return files;
}

/** The rows that a RocksDB which opened these files would find; throws if there is a hole. */
export function rowCount(files: Files, database = "db"): bigint {
  return prefixLength(rowsOf(files, database) ?? new Set());
}

/** Paths and contents that differ, for messages; [] if equal. Empty directories are left out. */
export function differences(left: Files, right: Files): string[] {
  const found: string[] = [];
  for (const path of new Set([...left.keys(), ...right.keys()])) {
    const [one, two] = [left.get(path), right.get(path)];
    if (path.startsWith("@companions/") && (one ?? two)?.length === 0) continue;
    if (one === undefined) found.push(`${path}: only right`);
    else if (two === undefined) found.push(`${path}: only left`);
    else if (Buffer.compare(one, two) !== 0) found.push(`${path}: ${one.length} and ${two.length} bytes`);
  }
  return found;
}
