import type { Compression } from "../base/compression.js";
import { MetaMasterError } from "../base/errors.js";
import { encodeEntry, EntryMemory, type EncodedEntry } from "../formats/entry-codec.js";
import { logKey, type EntryHeader, type Position, type WriterId } from "../formats/entry.js";
import type { Appended, Draft, LogWriter } from "./log.js";
import { putDefaults, putIntoSlot, whatIsIn, type PutComponents, type PutSettings } from "./slot-put.js";

export interface LogWriterComponents extends PutComponents {
  readonly compression: Compression;
  /** Of the writers of this process. */
  readonly memory?: EntryMemory;
}

/** The epoch begins here: the claim is durable at `position`, its first try was sent at `sentMs`. */
export interface EpochStart {
  readonly cluster: string;
  readonly writer: WriterId;
  readonly epoch: number;
  readonly position: Position;
  readonly sentMs: number;
}

/** One append. Until it is tried it can be dropped; from then on its bytes own the slot, whether its caller still waits or not. */
interface Pending {
  readonly draft: Draft;
  readonly resolve: (appended: Appended) => void;
  readonly reject: (error: unknown) => void;
  readonly detach: () => void;
  waiting: boolean;
  encoding: Promise<EncodedEntry> | undefined;
  /** Monotonic ms before the first try. */
  sentMs: number | undefined;
}

export class BucketLogWriter implements LogWriter {
  readonly epoch: number;
  readonly writer: WriterId;
  readonly #cluster: string;
  readonly #settings: PutSettings;
  readonly #parts: LogWriterComponents;
  readonly #queue: Pending[] = [];
  readonly #memory: EntryMemory;
  #position: Position;
  #lastSentMs: number;
  #fenced: MetaMasterError | undefined;
  #trouble: MetaMasterError | undefined;
  #pumping = false;
  /** Aborted when nobody waits for anything in the queue. */
  #attention = new AbortController();

  constructor(start: EpochStart, components: LogWriterComponents, settings: PutSettings = putDefaults) {
    this.epoch = start.epoch;
    this.writer = start.writer;
    this.#cluster = start.cluster;
    this.#position = start.position;
    this.#lastSentMs = start.sentMs;
    this.#parts = {
      ...components,
      onTrouble: (trouble) => {
        this.#trouble = trouble?.error;
        components.onTrouble(trouble);
      },
    };
    this.#settings = settings;
    this.#memory = components.memory ?? new EntryMemory();
  }

  get position(): Position {
    return this.#position;
  }

  get lastSentMs(): number {
    return this.#lastSentMs;
  }

  get trouble(): Error | undefined {
    return this.#trouble;
  }

  get fenced(): Error | undefined {
    return this.#fenced;
  }

  append(draft: Draft, signal: AbortSignal): Promise<Appended> {
    if (this.#fenced !== undefined) return Promise.reject(this.#fenced);
    if (signal.aborted) return Promise.reject(signal.reason);
    const { promise, resolve, reject } = Promise.withResolvers<Appended>();
    const onAbort = (): void => this.#abandon(pending, signal.reason);
    const detach = (): void => signal.removeEventListener("abort", onAbort);
    const pending: Pending = {
      draft,
      resolve,
      reject,
      detach,
      waiting: true,
      encoding: undefined,
      sentMs: undefined,
    };
    signal.addEventListener("abort", onAbort, { once: true });
    this.#queue.push(pending);
    this.#encodeAhead();
    if (!this.#pumping) void this.#pump();
    return promise;
  }

  async checkFence(signal: AbortSignal): Promise<void> {
    if (this.#fenced !== undefined) throw this.#fenced;
    const slot = this.#position.slot + 1;
    const found = await whatIsIn(this.#parts.bucket, slot, this.#settings.tryMs, signal);
    // An append that was made durable or sent meanwhile is no stranger.
    if (found === undefined || this.#position.slot >= slot) return;
    const head = this.#queue[0];
    if (head?.sentMs !== undefined && head.encoding !== undefined) {
      const { bytes } = await head.encoding;
      if (this.#position.slot >= slot || Buffer.compare(bytes, found.bytes) === 0) return;
    }
    throw this.#fence(slot, found.header);
  }

  /** The caller no longer waits: an untried append is dropped, a tried one keeps its slot until a later append settles it. */
  #abandon(pending: Pending, reason: unknown): void {
    if (!pending.waiting) return;
    pending.waiting = false;
    pending.reject(reason);
    if (pending.sentMs === undefined) {
      // Nothing behind it is encoded: only the head's successor ever is.
      const index = this.#queue.indexOf(pending);
      if (index >= 0) this.#queue.splice(index, 1);
      this.#encodeAhead();
    }
    if (!this.#queue.some(({ waiting }) => waiting)) this.#attention.abort(reason);
  }

  /** Never rejects. Ends when nobody waits any more. */
  async #pump(): Promise<void> {
    this.#pumping = true;
    for (let head = this.#queue[0]; head !== undefined; head = this.#queue[0]) {
      if (!this.#queue.some(({ waiting }) => waiting)) break;
      if (this.#attention.signal.aborted) this.#attention = new AbortController();
      try {
        await this.#settle(head, this.#attention.signal);
      } catch (error) {
        if (!this.#attention.signal.aborted) this.#fail(head, error);
      }
    }
    this.#pumping = false;
  }

  async #settle(head: Pending, attention: AbortSignal): Promise<void> {
    const slot = this.#position.slot + 1;
    const { bytes, chain, give } = await this.#encode(head, this.#position);
    // Dropped, or the epoch ended, while it was encoded.
    if (this.#queue[0] !== head || attention.aborted) return;
    const isFirst = head.sentMs === undefined;
    head.sentMs ??= this.#parts.clock.monotonicMs();
    this.#encodeAhead();
    const result = await putIntoSlot({ slot, bytes, chain }, this.#parts, this.#settings, attention);
    if (this.#fenced !== undefined) return;
    if (result.outcome === "taken") {
      this.#fence(slot, result.header);
      return;
    }
    this.#queue.shift();
    this.#position = { slot, chain };
    this.#lastSentMs = head.sentMs;
    head.detach();
    head.waiting = false;
    head.resolve({ position: this.#position, sentMs: head.sentMs, size: bytes.length });
    // Otherwise an earlier try may still be reading them.
    if (isFirst && result.quiet) give();
  }

  /** One failed append (too large, or a defect); a tried one stays at the head, because its slot is no longer free. */
  #fail(pending: Pending, error: unknown): void {
    if (pending.sentMs === undefined) return this.#drop(pending, error);
    for (const each of this.#queue.slice(1)) this.#drop(each, error);
    if (!pending.waiting) return;
    pending.waiting = false;
    pending.detach();
    pending.reject(error);
  }

  #drop(pending: Pending, error: unknown): void {
    pending.detach();
    this.#abandon(pending, error);
  }

  #encode(pending: Pending, after: Position): Promise<EncodedEntry> {
    pending.encoding ??= encodeEntry(
      { header: this.#header(pending.draft, after), operations: pending.draft.operations },
      this.#parts.compression,
      this.#memory,
    );
    return pending.encoding;
  }

  /** While the head is in flight the next one is made ready; not more, because an abort must be able to take it back. */
  #encodeAhead(): void {
    const [head, next] = this.#queue;
    if (head?.sentMs === undefined || head.encoding === undefined || next === undefined) return;
    if (next.encoding !== undefined) return;
    const slot = this.#position.slot + 1;
    next.encoding = head.encoding.then(
      async ({ chain }) =>
        await encodeEntry(
          { header: this.#header(next.draft, { slot, chain }), operations: next.draft.operations },
          this.#parts.compression,
          this.#memory,
        ),
    );
    // Reported when its turn comes.
    next.encoding.catch(() => undefined);
  }

  #header(draft: Draft, after: Position): EntryHeader {
    return {
      version: 1,
      cluster: this.#cluster,
      slot: after.slot + 1,
      epoch: this.epoch,
      kind: draft.kind,
      previous: after.chain,
      writer: this.writer,
      wallTimeMs: Math.max(0, Math.trunc(this.#parts.clock.wallMs())),
      more: draft.more,
      sequences: draft.sequences,
    };
  }

  #fence(slot: number, by: EntryHeader | undefined): MetaMasterError {
    this.#fenced ??= fencedError(slot, this.epoch, by);
    for (const pending of this.#queue.splice(0)) {
      pending.detach();
      if (pending.waiting) pending.reject(this.#fenced);
      pending.waiting = false;
    }
    this.#attention.abort(this.#fenced);
    return this.#fenced;
  }
}

function fencedError(slot: number, epoch: number, by: EntryHeader | undefined): MetaMasterError {
  const who =
    by === undefined ? "something that is no whole entry" : `a ${by.kind} of ${by.writer.member} (epoch ${by.epoch})`;
  return new MetaMasterError(
    "Fenced",
    "fenced",
    `Epoch ${epoch} is over for this member: ${logKey(slot)} holds ${who}.`,
    {
      details: { slot, epoch, byMember: by?.writer.member, byEpoch: by?.epoch },
      hint: "Another member has taken over: this one follows it from now on.",
    },
  );
}
