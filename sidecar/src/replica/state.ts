import { dirname } from "node:path";
import { MetaMasterError, hasCode, messageOf } from "../base/errors.js";
import type { FileSystem } from "../base/file-system.js";
import type { ImagePath, Position } from "../formats/entry.js";
import type { ImageState } from "../formats/image.js";
import { imageFromJson, imageToJson } from "../formats/snapshot.js";
import type { LocalFolders } from "./local-folders.js";

const STATE_FORMAT = 1;
/** About two million files. */
const STATE_BYTES_MAX = 512 * 1024 * 1024;

/** What this directory last was; `restoring` and a state that can't be read mean that nothing may be believed of the files. */
type LocalRole = "follower" | "primary" | "restoring";

/** How a file was on this disk when it was known to hold the image's bytes: replaced or restored from elsewhere, it is another inode. */
export interface LocalIdentity {
  readonly inode: bigint;
  readonly size: number;
  readonly modifiedNs: bigint;
}

/** `<data>/.metamaster/state.json`. */
export interface LocalState {
  readonly cluster: string;
  readonly member: string;
  /** Nonces of the runs on this directory since it became what `role` says, newest first: their claims are ours. */
  readonly runs: readonly string[];
  readonly role: LocalRole;
  /** `primary`: the epoch it claimed; otherwise the image's. */
  readonly epoch: number;
  /** `primary`: where its claim is. */
  readonly claim: Position | undefined;
  /** The boot of the machine in which it was saved: since another one, unsynced bytes may be gone. */
  readonly bootId: string;
  /** `follower`: what the disk holds at least. `primary`: what it held when the master was allowed to start. `restoring`: of no meaning. */
  readonly image: ImageState;
  readonly identities: ReadonlyMap<ImagePath, LocalIdentity>;
}

export type StateFound =
  | { readonly found: "none" }
  | { readonly found: "state"; readonly state: LocalState }
  /** It is there and says nothing that may be believed. */
  | { readonly found: "unreadable"; readonly error: MetaMasterError };

/** Reads and writes a member's local state. */
export class StateStore {
  readonly #fs: FileSystem;
  readonly #folders: LocalFolders;
  #rooted = false;

  constructor(fs: FileSystem, folders: LocalFolders) {
    this.#fs = fs;
    this.#folders = folders;
  }

  /** Throws `StateTooNew` (invalid) for a later release's; anything else that is wrong with it is `unreadable`. */
  async read(): Promise<StateFound> {
    let bytes: Uint8Array;
    try {
      bytes = await this.#fs.readFile(this.#folders.state, STATE_BYTES_MAX);
    } catch (error) {
      if (hasCode(error, "FileNotFound")) return { found: "none" };
      if (hasCode(error, "FileTooLarge")) return { found: "unreadable", error };
      throw error;
    }
    try {
      return { found: "state", state: decodeState(bytes, this.#folders.state) };
    } catch (error) {
      if (hasCode(error, "StateUnreadable")) return { found: "unreadable", error };
      throw error;
    }
  }

  /** Old or new content after any crash. */
  async write(state: LocalState): Promise<void> {
    if (!this.#rooted) await this.#root();
    await this.#fs.writeFileAtomic(this.#folders.state, encodeState(state));
  }

  /** A state is of no use if a power failure takes the directory that it lies in. */
  async #root(): Promise<void> {
    await this.#fs.makeDirectory(this.#folders.root);
    for (let path = dirname(this.#folders.root); ; path = dirname(path)) {
      try {
        await this.#fs.syncDirectory(path);
      } catch (error) {
        // Directories above that we may not read are not ours, and were there before.
        if (!hasCode(error, "FileDenied")) throw error;
        break;
      }
      if (path === dirname(path)) break;
    }
    this.#rooted = true;
  }
}

export function encodeState(state: LocalState): Uint8Array {
  const { image, identities, ...rest } = state;
  const body = {
    format: STATE_FORMAT,
    ...rest,
    image: imageToJson(image),
    identities: Object.fromEntries(
      [...identities].map(([path, { inode, size, modifiedNs }]) => [path, [`${inode}`, size, `${modifiedNs}`]]),
    ),
  };
  return Buffer.from(`${JSON.stringify(body)}\n`);
}

/** Throws `StateUnreadable` (corrupt) unless every field is as it must be. */
export function decodeState(bytes: Uint8Array, path: string): LocalState {
  const fail = (reason: string): MetaMasterError =>
    new MetaMasterError("StateUnreadable", "corrupt", `${path} can't be believed: ${reason}.`, {
      hint: "The files are compared with the bucket and repaired from it; what the bucket doesn't hold goes to quarantine.",
      details: { path },
    });
  const raw = parse(bytes, fail);
  if (typeof raw["format"] === "number" && raw["format"] > STATE_FORMAT) {
    throw new MetaMasterError(
      "StateTooNew",
      "invalid",
      `${path} has format ${raw["format"]}, this release knows ${STATE_FORMAT}.`,
      {
        hint: "A later release wrote it: upgrade this member, or empty its data directory to have it restored from the bucket.",
        details: { path },
      },
    );
  }
  if (raw["format"] !== STATE_FORMAT) throw fail("its format is unknown");
  const text = (name: string): string => {
    const value = raw[name];
    if (typeof value !== "string" || value === "" || value.length > 1024) throw fail(`${name} is no text`);
    return value;
  };
  const role = roleOf(raw["role"]);
  if (role === undefined) throw fail("its role is unknown");
  const epoch = raw["epoch"];
  if (typeof epoch !== "number" || !Number.isSafeInteger(epoch) || epoch < 0) throw fail("epoch is no count");
  const claim = raw["claim"] === undefined ? undefined : positionOf(raw["claim"], fail);
  if (role === "primary" && claim === undefined) throw fail("a primary's claim is missing");
  return {
    cluster: text("cluster"),
    member: text("member"),
    runs: runsOf(raw["runs"], fail),
    role,
    epoch,
    claim,
    bootId: text("bootId"),
    image: imageFromJson(raw["image"], fail),
    identities: identitiesOf(raw["identities"], fail),
  };
}

/** More restarts without a single sealed epoch between them would be a loop. */
export const RUNS_MAX = 1000;

type Fail = (reason: string) => MetaMasterError;
type Raw = Readonly<Record<string, unknown>>;

function parse(bytes: Uint8Array, fail: Fail): Raw {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw fail(`it is not JSON (${messageOf(error)})`);
  }
  return objectOf(value, "it", fail);
}

function objectOf(value: unknown, what: string, fail: Fail): Raw {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw fail(`${what} is not an object`);
  return Object.fromEntries(Object.entries(value));
}

function roleOf(value: unknown): LocalRole | undefined {
  return value === "follower" || value === "primary" || value === "restoring" ? value : undefined;
}

function positionOf(value: unknown, fail: Fail): Position {
  const { slot, chain } = objectOf(value, "claim", fail);
  if (typeof slot !== "number" || !Number.isSafeInteger(slot) || slot < 0) throw fail("claim.slot is no slot");
  if (typeof chain !== "string" || !/^[0-9a-f]{64}$/.test(chain)) throw fail("claim.chain is no digest");
  return { slot, chain };
}

function runsOf(value: unknown, fail: Fail): string[] {
  const runs: unknown[] = Array.isArray(value) ? value : [];
  const known = runs.filter((run): run is string => typeof run === "string" && run.length > 0 && run.length <= 128);
  if (known.length === 0 || known.length !== runs.length || runs.length > RUNS_MAX) throw fail("runs are not valid");
  return known;
}

function whole(part: unknown): part is string {
  return typeof part === "string" && /^[0-9]{1,20}$/.test(part);
}

function identitiesOf(value: unknown, fail: Fail): Map<ImagePath, LocalIdentity> {
  const identities = new Map<ImagePath, LocalIdentity>();
  for (const [path, item] of Object.entries(objectOf(value, "identities", fail))) {
    const [inode, size, modifiedNs]: unknown[] = Array.isArray(item) ? item : [];
    if (!whole(inode) || !whole(modifiedNs) || typeof size !== "number" || !Number.isSafeInteger(size) || size < 0) {
      throw fail(`identities of ${JSON.stringify(path)} are not valid`);
    }
    identities.set(path, { inode: BigInt(inode), size, modifiedNs: BigInt(modifiedNs) });
  }
  return identities;
}
