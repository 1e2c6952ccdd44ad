import { MetaMasterError } from "../../base/errors.js";
import type { Clock } from "../../base/clock.js";
import type { Position, ReadEntry } from "../../formats/entry.js";
import { EMPTY_IMAGE, type ImageState } from "../../formats/image.js";
import type { Appended, Draft, LogReader, LogWriter } from "../../log/log.js";
import type { Barrier, CheckpointReason, Follower, Reconciled, Shipper, ShipStatus } from "../../replica/replica.js";

/** A member's disk in the small: the rows it holds; a row is durable once a `wal` entry carries its text. */
export class ModelDisk {
  rows: string[] = [];
  position: Position = EMPTY_IMAGE.position;
  epoch = 0;
  /** The last claim of this directory. */
  ownEpoch: number | undefined;

  get image(): ImageState {
    const files = new Map(this.rows.map((row) => [`db/${row}`, { kind: "directory", permissions: 0 } as const]));
    return { ...EMPTY_IMAGE, position: this.position, epoch: this.epoch, files };
  }
}

export function rowsOf(entries: readonly ReadEntry[]): string[] {
  return entries.flatMap((entry) =>
    entry.operations.flatMap((operation) => (operation.type === "directory" ? [operation.file] : [])),
  );
}

export class ModelFollower implements Follower {
  readonly #disk: ModelDisk;
  readonly #reader: LogReader;
  saves = 0;

  constructor(disk: ModelDisk, reader: LogReader) {
    this.#disk = disk;
    this.#reader = reader;
  }

  get image(): ImageState {
    return this.#disk.image;
  }

  get seen(): Position {
    return this.#disk.position;
  }

  async poll(signal: AbortSignal): Promise<readonly ReadEntry[]> {
    const read: ReadEntry[] = [];
    for (;;) {
      const entry = await this.#reader.next(this.#disk.position, signal);
      if (entry === undefined) return read;
      read.push(entry);
      this.#disk.position = entry.position;
      this.#disk.epoch = entry.header.epoch;
      this.#disk.rows.push(...rowsOf([entry]));
    }
  }

  async save(): Promise<void> {
    this.saves += 1;
  }

  async seal(claim: Position, epoch: number): Promise<ImageState> {
    this.#disk.position = claim;
    this.#disk.epoch = epoch;
    this.#disk.ownEpoch = epoch;
    return this.#disk.image;
  }
}

/** Compares the rows of the disk with those of the log, by the table of architecture section 6. */
export async function modelReconcile(disk: ModelDisk, reader: LogReader, signal: AbortSignal): Promise<Reconciled> {
  const entries: ReadEntry[] = [];
  let position: Position = EMPTY_IMAGE.position;
  for (
    let entry = await reader.next(position, signal);
    entry !== undefined;
    entry = await reader.next(position, signal)
  ) {
    entries.push(entry);
    position = entry.position;
  }
  const last = entries.at(-1);
  if (last === undefined)
    return disk.rows.length === 0 ? { state: "Empty" } : { state: "Adoptable", image: EMPTY_IMAGE };
  const rows = rowsOf(entries);
  if (disk.ownEpoch === last.header.epoch) {
    const image = Object.assign(new ModelDisk(), { rows, position, epoch: last.header.epoch }).image;
    return { state: "Ahead", image };
  }
  disk.rows = rows;
  disk.position = position;
  disk.epoch = last.header.epoch;
  return { state: "Following", image: disk.image, how: "Rewound" };
}

export class ModelShipper implements Shipper {
  readonly writer: LogWriter;
  readonly #disk: ModelDisk;
  readonly #clock: Clock;
  #shipped: number;
  #ended: unknown;
  trouble: string | undefined;
  masterStarts = 0;
  readonly checkpoints: CheckpointReason[] = [];

  constructor(disk: ModelDisk, shipped: number, writer: LogWriter, clock: Clock) {
    this.writer = writer;
    this.#disk = disk;
    this.#clock = clock;
    this.#shipped = shipped;
  }

  async run(signal: AbortSignal): Promise<void> {
    for (;;) {
      if (this.#ended !== undefined) return;
      await this.#ship(signal);
      await this.#clock.sleep(50, signal);
    }
  }

  async barrier(signal: AbortSignal): Promise<Barrier> {
    const startMs = this.#clock.monotonicMs();
    await this.#ship(signal);
    return { position: this.writer.position, waitedMs: this.#clock.monotonicMs() - startMs };
  }

  async checkpoint(reason: CheckpointReason, signal: AbortSignal): Promise<Position> {
    this.checkpoints.push(reason);
    await this.#ship(signal, true);
    return this.writer.position;
  }

  masterStarting(): void {
    this.masterStarts += 1;
  }

  async finish(signal: AbortSignal): Promise<Position> {
    this.#ended = new MetaMasterError("ShippingEnded", "invalid", "finished");
    await this.#ship(signal);
    return this.writer.position;
  }

  othersDurable(_draft: Draft, _appended: Appended): void {}

  get status(): ShipStatus {
    return {
      durable: this.writer.position,
      durableLagSeconds: 0,
      durableLagBytes: this.#disk.rows.length - this.#shipped,
      spoolBytes: 0,
      lastCheckpointSlot: undefined,
      lastCheckpointWallMs: undefined,
      gaps: 0,
      trouble: this.trouble,
    };
  }

  async #ship(signal: AbortSignal, always = false): Promise<void> {
    const rows = this.#disk.rows.slice(this.#shipped);
    if (rows.length === 0 && !always) return;
    this.#shipped += rows.length;
    await this.writer.append(
      {
        kind: always ? "checkpoint" : "wal",
        operations: rows.map((file) => ({ type: "directory", file, permissions: 0 })),
        sequences: [],
        more: false,
      },
      signal,
    );
  }
}
