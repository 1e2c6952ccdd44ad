import { MetaMasterError } from "../base/errors.js";
import { ENTRY_BODY_BYTES_MAX, MIB, type Operation, type ReadEntry } from "../formats/entry.js";
import { Image } from "../formats/image-fold.js";
import type { ImageState } from "../formats/image.js";
import type { LogReader } from "../log/log.js";

/** Entries of an open group are kept up to so many bytes; of what is beyond, only the slots, and it is read again. */
const KEPT_BYTES = 16 * MIB;

/** Stands for bytes of which only the count matters; never written, so it costs no memory. */
const blank = new Uint8Array(ENTRY_BODY_BYTES_MAX);

/** An entry that has taken effect. `entry` is without the bytes of its append operations; `load` gives it whole. */
export interface Effect {
  readonly entry: ReadEntry;
  load(signal: AbortSignal): Promise<ReadEntry>;
}

/** The fold of an image with bounded memory: what an unfinished group holds need not be kept. */
export class ImageFolder {
  readonly #reader: LogReader;
  readonly #image: Image;
  readonly #kept = new Map<number, ReadEntry>();
  #keptBytes = 0;

  constructor(reader: LogReader, image: ImageState) {
    this.#reader = reader;
    this.#image = new Image(image);
  }

  get image(): Image {
    return this.#image;
  }

  /** What takes effect with this entry, in order. Throws `HistoryInvalid` and then is of no further use. */
  push(entry: ReadEntry): readonly Effect[] {
    if (entry.header.kind === "claim") this.#forgetGroup();
    const bytes = bytesOf(entry);
    if (this.#keptBytes + bytes <= KEPT_BYTES) {
      this.#kept.set(entry.position.slot, entry);
      this.#keptBytes += bytes;
    }
    const effective = this.#image.push(stripped(entry));
    const effects = effective.map((each) =>
      this.#effect(each, each.position.slot === entry.position.slot ? entry : undefined),
    );
    if (entry.header.kind === "wal" || entry.header.kind === "checkpoint") {
      if (effective.length > 0) this.#forgetGroup();
    } else this.#forget(entry.position.slot);
    return effects;
  }

  #effect(entry: ReadEntry, whole: ReadEntry | undefined): Effect {
    const kept = whole ?? this.#kept.get(entry.position.slot);
    if (kept !== undefined) return { entry, load: async () => kept };
    return {
      entry,
      load: async (signal) => {
        const { slot, chain } = entry.position;
        const again = await this.#reader.read(slot, signal);
        if (again?.position.chain === chain) return again;
        throw new MetaMasterError(
          "HistoryChanged",
          "corrupt",
          `The entry in slot ${slot} is ${again === undefined ? "gone" : "another one"} since it was read a moment ago.`,
          {
            hint: "Something besides MetaMaster changes the bucket: find out what before going on.",
            details: { slot },
          },
        );
      },
    };
  }

  #forget(slot: number): void {
    const entry = this.#kept.get(slot);
    if (entry === undefined) return;
    this.#kept.delete(slot);
    this.#keptBytes -= bytesOf(entry);
  }

  #forgetGroup(): void {
    this.#kept.clear();
    this.#keptBytes = 0;
  }
}

function bytesOf(entry: ReadEntry): number {
  let bytes = 0;
  for (const operation of entry.operations) if (operation.type === "append") bytes += operation.bytes.length;
  return bytes;
}

function stripped(entry: ReadEntry): ReadEntry {
  return { ...entry, operations: entry.operations.map(withoutBytes) };
}

function withoutBytes(operation: Operation): Operation {
  if (operation.type !== "append" || operation.bytes.length > blank.length) return operation;
  return { ...operation, bytes: blank.subarray(0, operation.bytes.length) };
}
