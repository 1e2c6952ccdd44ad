import { createHash } from "node:crypto";
import { MetaMasterError } from "../../base/errors.js";
import { EMPTY_IMAGE, type ImageState } from "../../formats/image.js";
import type { Snapshot } from "../../formats/snapshot.js";
import { replayFrom } from "../../replica/restore.js";
import type { AppendSink } from "../../replica/restore-log.js";
import type { ReplicaTools } from "../../replica/tools.js";
import type { History } from "./history.js";

/** One thing that is wrong with a history. */
export interface VerifyProblem {
  readonly where: string;
  readonly code: string;
  readonly message: string;
}

export interface VerifyReport {
  readonly bucket: string;
  readonly cluster: string;
  readonly deep: boolean;
  readonly snapshots: number;
  readonly fromSlot: number;
  readonly toSlot: number;
  readonly epoch: number;
  readonly objects: number;
  readonly objectBytes: number;
  readonly problems: readonly VerifyProblem[];
}

interface WantedObject {
  readonly key: string;
  readonly size: number;
  readonly sha256: string;
}

const PARALLEL = 8;
const RANGE_BYTES = 8 * 1024 * 1024;
/** A check keeps nothing of the bytes. */
const nowhere: AppendSink = { append: () => Promise.resolve() };

/**
 * Reads the history as a restore would, from the oldest snapshot to the end and from the newest snapshot again, and looks for every object that the log or a
 * snapshot refers to; `deep`: reads them all and compares their digests. Goes on after a problem where it can.
 */
export class Verification {
  readonly #history: History;
  readonly #tools: ReplicaTools;
  readonly #deep: boolean;
  readonly #problems: VerifyProblem[] = [];

  constructor(history: History, tools: ReplicaTools, deep: boolean) {
    this.#history = history;
    this.#tools = tools;
    this.#deep = deep;
  }

  async run(signal: AbortSignal): Promise<VerifyReport> {
    const { snapshots, store, cluster } = this.#history;
    const readable: Snapshot[] = [];
    const slots = await snapshots.list(signal);
    for (const slot of slots) {
      const snapshot = await this.#noting(`snapshot ${slot}`, () => snapshots.read(slot, signal));
      if (snapshot !== undefined) readable.push(snapshot);
    }
    const base: ImageState = readable[0] ?? EMPTY_IMAGE;
    const newest = readable.at(-1);
    const end = await this.#noting("log", () => this.#replay(base, signal));
    if (newest !== undefined && newest !== base)
      await this.#noting(`log from snapshot ${newest.position.slot}`, () => this.#replay(newest, signal));
    const objects = wantedObjects([...readable, ...(end === undefined ? [] : [end])]);
    await this.#checkObjects(objects, signal);
    return {
      bucket: store.steady.url,
      cluster: cluster.uid,
      deep: this.#deep,
      snapshots: slots.length,
      fromSlot: base.position.slot + 1,
      toSlot: end?.position.slot ?? base.position.slot,
      epoch: end?.epoch ?? base.epoch,
      objects: objects.length,
      objectBytes: objects.reduce((sum, { size }) => sum + size, 0),
      problems: this.#problems,
    };
  }

  /** Every entry is verified whole, its chain, and that it can follow what came before; that no byte of a WAL or MANIFEST is missing. */
  #replay(base: ImageState, signal: AbortSignal): Promise<ImageState> {
    return replayFrom(this.#tools, nowhere, { image: base, ifTrimmed: undefined }, { kind: "end" }, signal);
  }

  async #checkObjects(objects: readonly WantedObject[], signal: AbortSignal): Promise<void> {
    const total = objects.reduce((sum, { size }) => sum + size, 0);
    let done = 0;
    let next = 0;
    const work = async (): Promise<void> => {
      for (let object = objects[next++]; object !== undefined; object = objects[next++]) {
        const wanted = object;
        await this.#noting(wanted.key, () => this.#checkObject(wanted, signal));
        done += wanted.size;
        this.#tools.progress.report(this.#deep ? "tables" : "objects", done, total);
      }
    };
    await Promise.all(Array.from({ length: PARALLEL }, work));
  }

  async #checkObject({ key, size, sha256 }: WantedObject, signal: AbortSignal): Promise<void> {
    const { steady } = this.#history.store;
    const found = await steady.head(key, { signal });
    if (found === undefined) throw damaged(key, "it is missing");
    if (found !== size) throw damaged(key, `it has ${found} bytes, not ${size}`);
    if (!this.#deep) return;
    const hash = createHash("sha256");
    for (let offset = 0; offset < size; offset += RANGE_BYTES) {
      const length = Math.min(RANGE_BYTES, size - offset);
      const bytes = await steady.get(key, { maxBytes: length, range: { offset, length }, signal });
      if (bytes?.length !== length) throw damaged(key, `${length} bytes at ${offset} could not be read`);
      hash.update(bytes);
    }
    if (hash.digest("hex") !== sha256) throw damaged(key, "its bytes have another sha256");
  }

  /** What is wrong with the bucket's contents is noted; what is wrong with the way to them ends the check. */
  async #noting<T>(where: string, work: () => Promise<T>): Promise<T | undefined> {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof MetaMasterError) || error.kind === "transient" || error.code.startsWith("Bucket"))
        throw error;
      this.#problems.push({ where, code: error.code, message: error.message });
      return undefined;
    }
  }
}

function damaged(key: string, why: string): MetaMasterError {
  return new MetaMasterError("ObjectDamaged", "corrupt", `The object ${key} is not what was stored: ${why}.`, {
    hint: "Bring it back from the bucket's versions. A member that still has the file on its disk goes on; a restore needs it.",
    details: { key },
  });
}

function wantedObjects(images: readonly ImageState[]): WantedObject[] {
  const wanted = new Map<string, WantedObject>();
  for (const { files } of images) {
    for (const file of files.values()) {
      const object = file.kind === "append" ? file.base : file.kind === "table" ? file : undefined;
      if (object !== undefined) wanted.set(object.key, { key: object.key, size: object.size, sha256: object.sha256 });
    }
  }
  return [...wanted.values()];
}
