import { hasCode, MetaMasterError, messageOf } from "../base/errors.js";
import type { ImagePath, Position } from "../formats/entry.js";
import { EMPTY_IMAGE, type ImageState } from "../formats/image.js";
import { checkStillThere } from "../log/cluster-identity.js";
import { findDamage, findLostCompanion, localAppends } from "./ahead.js";
import { CompareSink } from "./compare-sink.js";
import { setBack } from "./followed.js";
import { claimants, findFork, findPosition, hasHistory, historyMismatch, type Fork } from "./history.js";
import { preflight } from "./preflight.js";
import { Quarantine, type Diverged, type QuarantineSettings } from "./quarantine.js";
import type { Reconciled } from "./replica.js";
import { beginsWith, replayFrom, restore, type Restored, type RestoreParts } from "./restore.js";
import { basesOf } from "./restore-log.js";
import { pickBase, type RestoreBase } from "./restore-target.js";
import { findTailGap } from "./tail-gap.js";
import { RUNS_MAX, type LocalIdentity, type LocalState } from "./state.js";
import type { ReplicaTools } from "./tools.js";

export interface ReconcileSettings {
  readonly bootstrap: "New" | "Adopt";
  readonly quarantine: QuarantineSettings;
}

export interface ReconcileParts extends RestoreParts {
  /** Resolves once the bucket may be believed about a disk that may hold what nobody else has. A copy of the log needs no such thing: whatever is taken from it can be fetched again. */
  readonly beforeRisk: (signal: AbortSignal) => Promise<void>;
}

export interface ReconcileResult {
  readonly reconciled: Reconciled;
  /** Of the files of a `Following` image. */
  readonly identities: ReadonlyMap<ImagePath, LocalIdentity>;
}

type Primary = LocalState & { readonly claim: Position };

/** What a restore meets when the bucket is cleaned up under it: a newer snapshot is there then. */
const retriable: ReadonlySet<string> = new Set(["TrimmedAway", "LogGap", "TableMissing", "TargetTooOld"]);
const END = { kind: "end" } as const;

/** Compares a directory with the log and brings it in line (architecture section 6, the table; each row is a method or a return here). */
export class Reconciler {
  readonly #parts: ReconcileParts;
  readonly #settings: ReconcileSettings;
  readonly #quarantine: Quarantine;

  constructor(parts: ReconcileParts, settings: ReconcileSettings) {
    this.#parts = parts;
    this.#settings = settings;
    this.#quarantine = new Quarantine(parts.tools, settings.quarantine);
  }

  /** `leftBehind`: what it takes to follow from a saved position is in the bucket no more, though its entry may be (claims are for ever). */
  async run(signal: AbortSignal, leftBehind = false): Promise<ReconcileResult> {
    try {
      return await this.#run(signal, leftBehind);
    } catch (error) {
      const { bucket, reader } = this.#parts.tools;
      // What is gone may have been deleted on purpose: nobody is to look for it then.
      if (hasCode(error, "HistoryMismatch") || hasCode(error, "AdoptionRefused"))
        await checkStillThere(bucket, reader.cluster, signal);
      throw error;
    }
  }

  async #run(signal: AbortSignal, leftBehind: boolean): Promise<ReconcileResult> {
    const { tools, store } = this.#parts;
    const data = await preflight(tools);
    const found = await store.read();
    if (found.found === "unreadable") tools.logger.error({ err: found.error }, messageOf(found.error));
    const state = found.found === "state" ? found.state : undefined;
    if (state !== undefined) this.#checkCluster(state);
    if (state === undefined ? data : state.role === "primary") await this.#parts.beforeRisk(signal);
    if (!(await hasHistory(tools.reader, signal)))
      return { reconciled: this.#withoutHistory(state, data), identities: new Map() };
    if (state === undefined) return data ? await this.#unknown(signal) : await this.#restored("Restored", signal);
    if (state.role === "restoring") return await this.#restored("Restored", signal);
    if (state.role === "primary" && state.claim !== undefined)
      return await this.#primary({ ...state, claim: state.claim }, signal);
    return await this.#follower(state, leftBehind, signal);
  }

  #checkCluster(state: LocalState): void {
    const { uid } = this.#parts.tools.reader.cluster;
    const { folders } = this.#parts.tools;
    if (state.cluster !== uid) {
      throw new MetaMasterError(
        "ForeignCluster",
        "invalid",
        `${folders.root} belongs to the cluster ${state.cluster}; the bucket holds ${uid}.`,
        {
          hint: "Point `bucket` at this cluster's prefix, or use an empty data directory.",
          details: { path: folders.root, local: state.cluster, bucket: uid },
        },
      );
    }
  }

  #withoutHistory(state: LocalState | undefined, data: boolean): Reconciled {
    const slot = state?.claim?.slot ?? state?.image.position.slot ?? -1;
    if (slot >= 0) throw historyMismatch(slot, "it is empty");
    if (!data) return { state: "Empty" };
    if (state?.role === "restoring")
      throw historyMismatch(0, "it is empty, and this directory was being restored from it");
    if (this.#settings.bootstrap === "Adopt") return { state: "Adoptable", image: EMPTY_IMAGE };
    const { databases } = this.#parts.tools.layout.layout;
    throw new MetaMasterError(
      "AdoptionRefused",
      "invalid",
      "There are databases on this disk, and the bucket has no history.",
      {
        hint: "If the cluster is to begin with these databases, set `bootstrap: adopt`; otherwise use an empty data directory.",
        details: { databases: databases.map(({ path }) => path).join(", ") },
      },
    );
  }

  /** At a position in the history: follow from there. */
  async #follower(state: LocalState, leftBehind: boolean, signal: AbortSignal): Promise<ReconcileResult> {
    const { tools } = this.#parts;
    const { position } = state.image;
    if ((await findPosition(tools.reader, position, signal)) === "trimmed" || leftBehind) {
      tools.logger.info(
        { slot: position.slot },
        `what follows slot ${position.slot} is gone, at least in part: going on from the newest snapshot`,
      );
      return await this.#restored("Restored", signal);
    }
    const back = await setBack(tools, state);
    if ("identities" in back) {
      return { reconciled: { state: "Following", image: state.image, how: "Followed" }, identities: back.identities };
    }
    tools.logger.warn({ slot: position.slot }, `${back.damage}: the files are repaired from the bucket`);
    return await this.#restored("Repaired", signal);
  }

  /** The last run here was a primary: ahead, diverged, or damaged. */
  async #primary(state: Primary, signal: AbortSignal): Promise<ReconcileResult> {
    const { tools } = this.#parts;
    if ((await findPosition(tools.reader, state.claim, signal)) === "trimmed")
      throw historyMismatch(state.claim.slot, "its claim is gone");
    const image = await this.#fold(state, signal);
    tools.layout.check(image.files.keys());
    const fork = await findFork(tools.reader, image.claims, state, signal);
    if (fork !== undefined) return await this.#diverged(state, fork, image, signal);
    const damage = (await findDamage(tools, image)) ?? (await this.#lostBytes(state, image, signal));
    if (damage === undefined) {
      await this.#rememberRun(state);
      return { reconciled: { state: "Ahead", image }, identities: new Map() };
    }
    // Then the bucket can't win: what is here is all there is, and whether to do without what is lost is not ours to say.
    if (image.files.size === 0 && this.#settings.bootstrap === "Adopt") throw adoptionDamaged(damage);
    tools.logger.error(
      { err: damage },
      `this disk was primary and lost some of what it had shipped: ${messageOf(damage)}`,
    );
    const { position } = image;
    return await this.#asideAndRestore(
      { image, forkedAt: position, state, how: "Repaired", believeTables: false },
      signal,
    );
  }

  async #diverged(state: Primary, fork: Fork, end: ImageState, signal: AbortSignal): Promise<ReconcileResult> {
    const { logger } = this.#parts.tools;
    const { by, at: forkedAt } = fork;
    logger.warn(
      { epoch: state.epoch, by, slot: forkedAt.slot },
      `member ${by} has claimed since this disk was primary of epoch ${state.epoch}`,
    );
    const shared = await this.#imageAt(forkedAt.slot, state, signal);
    // Of what was being adopted nothing is in the history: it is compared with what somebody else has brought there.
    if (shared?.files.size === 0 && this.#settings.bootstrap === "Adopt") {
      if (end.files.size === 0)
        throw notInHistory(this.#parts.tools, `member ${by} has claimed before any file of theirs was in the bucket`);
      await this.#checkRelated(end);
      return await this.#asideAndRestore({ image: end, forkedAt, state, how: "Rewound", believeTables: false }, signal);
    }
    const believeTables = shared !== undefined;
    return await this.#asideAndRestore(
      { image: shared ?? end, forkedAt, state, how: "Rewound", believeTables },
      signal,
    );
  }

  /** Undefined if the log does not go back so far any more. */
  async #imageAt(slot: number, state: Primary, signal: AbortSignal): Promise<ImageState | undefined> {
    const { tools, shelf } = this.#parts;
    const target = { kind: "slot", slot } as const;
    try {
      const newest = await pickBase(tools, shelf, target, signal);
      return await replayFrom(tools, undefined, nearest(newest, state), target, signal);
    } catch (error) {
      if (!(error instanceof MetaMasterError) || !retriable.has(error.code)) throw error;
      return undefined;
    }
  }

  /** The image at the log's end, from the nearest known one. */
  async #fold(state: Primary, signal: AbortSignal): Promise<ImageState> {
    const { tools, shelf } = this.#parts;
    const newest = await pickBase(tools, shelf, END, signal);
    return await replayFrom(tools, undefined, nearest(newest, state), END, signal);
  }

  /** After another boot of the machine, what the page cache held may be gone or zeros, whatever the sizes say. */
  async #lostBytes(state: Primary, image: ImageState, signal: AbortSignal): Promise<MetaMasterError | undefined> {
    if (state.bootId === this.#parts.run.bootId) return undefined;
    const { tools } = this.#parts;
    const [different] = await this.#different(image, signal);
    const file = different ?? (await findLostCompanion(tools, image, signal));
    const what = file === undefined ? await findTailGap(tools, image) : `${file} is not what the log holds`;
    if (what === undefined) return undefined;
    return new MetaMasterError("LocalDamaged", "corrupt", `${what}.`, {
      hint: "The bucket wins: the files are repaired from it, and what the disk holds beyond it goes to quarantine.",
      details: { file },
    });
  }

  /** Append files of which bytes that the image has are others on the disk. */
  async #different(image: ImageState, signal: AbortSignal): Promise<readonly ImagePath[]> {
    const { tools, shelf } = this.#parts;
    const sizes = localAppends(tools.layout, image);
    const { slot } = image.position;
    const target = slot < 0 ? END : ({ kind: "slot", slot } as const);
    const sink = new CompareSink(tools.fs, tools.layout);
    try {
      const from = await pickBase(tools, shelf, target, signal);
      // Bytes that the log itself needs no more are compared by their digest.
      for (const { path, base } of basesOf(from.image)) {
        const local = tools.layout.toLocal(path);
        if ((await tools.fs.stat(local)) === undefined || (await beginsWith(tools, local, base, signal))) continue;
        sink.differs(path, base.size);
      }
      await replayFrom(tools, sink, from, target, signal);
      return sink.different(sizes);
    } finally {
      await sink.close();
    }
  }

  /** Claims of runs that did not come to start a master are ours all the same. */
  async #rememberRun(state: Primary): Promise<void> {
    const { store, run } = this.#parts;
    if (state.runs.includes(run.nonce)) return;
    await store.write({ ...state, runs: [run.nonce, ...state.runs].slice(0, RUNS_MAX) });
  }

  /** Nothing is known of these files but that they are there. */
  async #unknown(signal: AbortSignal): Promise<ReconcileResult> {
    const { tools, shelf } = this.#parts;
    const image = await replayFrom(tools, undefined, await pickBase(tools, shelf, END, signal), END, signal);
    if (image.files.size === 0) return await this.#unshipped(image, signal);
    await this.#checkRelated(image);
    tools.logger.warn(
      { slot: image.position.slot },
      "nothing tells what these databases are: they are compared with the bucket and repaired from it",
    );
    return await this.#asideAndRestore(
      { image, forkedAt: image.position, state: undefined, how: "Repaired", believeTables: false },
      signal,
    );
  }

  /** Nothing in the bucket could replace these databases, or tell whose they are. Whoever began to adopt his own may go on with it. */
  async #unshipped(image: ImageState, signal: AbortSignal): Promise<ReconcileResult> {
    const { tools, run } = this.#parts;
    const by = await claimants(tools.reader, image.claims, signal);
    if (this.#settings.bootstrap === "Adopt" && by.every((member) => member === run.member)) {
      tools.logger.warn(
        { slot: image.position.slot, claims: by.length },
        "the history was begun here and holds no file yet: the databases on this disk are adopted",
      );
      return { reconciled: { state: "Adoptable", image }, identities: new Map() };
    }
    throw notInHistory(tools, `the bucket's history, begun by ${by.join(", ")}, holds no file yet`);
  }

  /** A database that was never part of this cluster is not ours to move. */
  async #checkRelated(image: ImageState): Promise<void> {
    const { fs, layout } = this.#parts.tools;
    for (const { name, path } of layout.layout.databases) {
      const known = image.files.get(`${name}/IDENTITY`);
      const stat = await fs.stat(`${path}/IDENTITY`);
      if (known?.kind !== "small" || stat?.kind !== "file" || stat.size === 0) continue;
      const here = await fs.readFile(`${path}/IDENTITY`, 4096);
      if (Buffer.compare(here, known.bytes) === 0) continue;
      throw new MetaMasterError(
        "ForeignDatabase",
        "invalid",
        `The database in ${path} is not the one that the bucket holds as ${name}.`,
        {
          hint: "Use an empty data directory to have the bucket's databases restored to it, or another prefix to begin a cluster with these.",
          details: { path, here: textOf(here), bucket: textOf(known.bytes) },
        },
      );
    }
  }

  async #asideAndRestore(
    input: {
      readonly image: ImageState;
      readonly forkedAt: Position;
      readonly state: LocalState | undefined;
      readonly how: "Rewound" | "Repaired";
      readonly believeTables: boolean;
    },
    signal: AbortSignal,
  ): Promise<ReconcileResult> {
    const { image, forkedAt, state, how, believeTables } = input;
    const diverged: Diverged = {
      image,
      forkedAt,
      epoch: state?.epoch ?? image.epoch,
      run: state?.runs.at(-1) ?? "unknown",
      different: await this.#differentIfKept(image, signal),
      believeTables,
    };
    const quarantine = await this.#quarantine.keep(diverged, signal);
    const result = await this.#restored(how, signal);
    if (quarantine === undefined || result.reconciled.state !== "Following") return result;
    return { ...result, reconciled: { ...result.reconciled, quarantine } };
  }

  /** If the log doesn't go back so far any more, every file counts as different: rather too much is kept than too little. */
  async #differentIfKept(image: ImageState, signal: AbortSignal): Promise<ReadonlySet<ImagePath>> {
    try {
      return new Set(await this.#different(image, signal));
    } catch (error) {
      if (!(error instanceof MetaMasterError) || !retriable.has(error.code)) throw error;
      return new Set(localAppends(this.#parts.tools.layout, image).keys());
    }
  }

  async #restored(how: "Restored" | "Rewound" | "Repaired", signal: AbortSignal): Promise<ReconcileResult> {
    const restored = await this.#restoreEnd(signal);
    const { image, identities, fetchedBytes, reusedBytes, logBytes } = restored;
    this.#parts.tools.logger.info(
      { how, slot: image.position.slot, fetchedBytes, reusedBytes, logBytes },
      `restored to slot ${image.position.slot}`,
    );
    return { reconciled: { state: "Following", image, how }, identities };
  }

  /** Again as long as the bucket is cleaned up under it: a restore may take longer than what it began with is kept, and then a newer snapshot is there. */
  async #restoreEnd(signal: AbortSignal): Promise<Restored> {
    const { tools, shelf } = this.#parts;
    const newest = async (): Promise<number> => (await shelf.list(signal)).at(-1) ?? -1;
    for (let attempt = 1; ; attempt++) {
      const before = await newest();
      try {
        return await restore(this.#parts, END, signal);
      } catch (error) {
        if (!(error instanceof MetaMasterError) || !retriable.has(error.code)) throw error;
        if (attempt > 1 && (await newest()) <= before) throw error;
        tools.logger.warn(
          { err: error, attempt },
          `the restore is begun again from the newest snapshot: ${messageOf(error)}`,
        );
      }
    }
  }
}

function adoptionDamaged(damage: MetaMasterError): MetaMasterError {
  return new MetaMasterError(
    "AdoptionDamaged",
    "corrupt",
    `The machine was started again before anything of these databases was in the bucket, and they don't look whole: ${messageOf(damage)}`,
    {
      cause: damage,
      hint: "Nothing was touched. Open them once with the master's own tools, so that RocksDB recovers what is there, or bring back a backup; then resume.",
      details: damage.details,
    },
  );
}

function notInHistory({ layout }: ReplicaTools, why: string): MetaMasterError {
  const databases = layout.layout.databases.map(({ path }) => path).join(", ");
  return new MetaMasterError(
    "NotInHistory",
    "invalid",
    `Nothing in the bucket tells what the databases on this disk are (${databases}): ${why}.`,
    {
      hint: "It is tried again: once the primary's first checkpoint is in the bucket they are compared with it. To begin a cluster with these databases use `bootstrap: adopt` on every member and a prefix without a history; otherwise use an empty data directory.",
      details: { databases },
    },
  );
}

/** What a primary was given at its claim is an image too. */
function nearest(found: RestoreBase, { image }: Primary): RestoreBase {
  return found.image.position.slot > image.position.slot ? found : { image, ifTrimmed: undefined };
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("latin1").trim().slice(0, 80);
}
