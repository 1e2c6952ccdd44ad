import { realpath } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../base/clock.js";
import { messageOf, MetaMasterError } from "../base/errors.js";
import { errnoOf } from "../base/node-file-errors.js";
import type { Bucket } from "./bucket.js";
import { readSmallFile, withReread, type Reread } from "./reread.js";

const fileBytesMax = 64 * 1024;
/** A change is seen this late, unless the store refuses what was read before: then at once. */
const lookMs = 1000;
/** The folder is replaced under us while we read; seldom twice. */
const triesMax = 5;

/** What the files held at one moment, without white space around it; those that aren't there are left out. */
export type CredentialFiles = Readonly<Record<string, string>>;

/** The name by which store-errors.ts knows that there are no credentials. */
export class NoCredentials extends Error {
  constructor(message: string) {
    super(message);
    this.name = "CredentialsProviderError";
  }
}

/**
 * Credentials in the files of a directory, such as a mounted Secret: read again when they change, so that a rotation needs no restart. A Secret's files change all at
 * once (its link `..data` is replaced); they are read so, too.
 */
export class CredentialsDirectory {
  readonly path: string;
  readonly #names: readonly string[];
  readonly #clock: Clock;
  #version = 0;
  #readMs = -Infinity;
  #files: CredentialFiles | undefined;
  #reading: Promise<CredentialFiles> | undefined;

  constructor(path: string, names: readonly string[], clock: Clock) {
    this.path = path;
    this.#names = names;
    this.#clock = clock;
  }

  /** Another number for other contents. */
  get version(): number {
    return this.#version;
  }

  /** At most a second old; the same object as long as it is the same. Throws what store-errors.ts takes for missing credentials. */
  async current(): Promise<CredentialFiles> {
    const files = this.#files;
    if (files !== undefined && this.#clock.monotonicMs() - this.#readMs < lookMs) return files;
    return await this.#look();
  }

  /** Looks at once. */
  async changedSince(version: number): Promise<boolean> {
    await this.#reading?.catch(() => undefined);
    await this.#look();
    return this.#version !== version;
  }

  required(files: CredentialFiles, name: string): string {
    const value = files[name];
    if (value !== undefined && value !== "") return value;
    throw new NoCredentials(`The file ${name} in ${this.path} is ${value === undefined ? "missing" : "empty"}.`);
  }

  #look(): Promise<CredentialFiles> {
    this.#reading ??= this.#read().finally(() => {
      this.#reading = undefined;
    });
    return this.#reading;
  }

  async #read(): Promise<CredentialFiles> {
    const startMs = this.#clock.monotonicMs();
    const found = await this.#consistent();
    this.#readMs = startMs;
    if (this.#files !== undefined && isSame(found, this.#files)) return this.#files;
    this.#version += 1;
    this.#files = found;
    return found;
  }

  async #consistent(): Promise<CredentialFiles> {
    for (let tries = 1; ; tries++) {
      const folder = await this.#folder();
      const entries = await Promise.all(this.#names.map(async (name) => await this.#file(join(folder, name))));
      const files = Object.fromEntries(
        this.#names.flatMap((name, index) => {
          const text = entries[index];
          return text === undefined ? [] : [[name, text]];
        }),
      );
      if ((await this.#folder()) === folder || tries === triesMax) return files;
    }
  }

  /** Where a Secret's files really are. */
  async #folder(): Promise<string> {
    try {
      return await realpath(join(this.path, "..data"));
    } catch (error) {
      if (errnoOf(error) === "ENOENT") return this.path;
      throw this.#unreadable(this.path, error);
    }
  }

  async #file(path: string): Promise<string | undefined> {
    try {
      return (await readSmallFile(path, fileBytesMax)).trim();
    } catch (error) {
      if (errnoOf(error) === "ENOENT") return undefined;
      throw this.#unreadable(path, error);
    }
  }

  #unreadable(path: string, error: unknown): NoCredentials {
    return new NoCredentials(`${path} can't be read: ${messageOf(error)}`);
  }
}

/** A call that the store refused is made once more if there are other credentials by now. */
export function withCredentialsOf(directory: CredentialsDirectory, bucket: Bucket): Bucket {
  const reread: Reread<number> = {
    code: "BucketAccessDenied",
    now: () => directory.version,
    changedSince: (version) => hasChanged(directory, version),
    explain: (error) => refused(error, directory),
  };
  return withReread(reread, bucket);
}

/** What can't be read now has not changed to something better. */
async function hasChanged(directory: CredentialsDirectory, version: number): Promise<boolean> {
  try {
    return await directory.changedSince(version);
  } catch {
    return false;
  }
}

function refused(error: MetaMasterError, { path }: CredentialsDirectory): MetaMasterError {
  const { code, kind, message, hint = "", details, cause } = error;
  // Of what is missing here the store knows nothing.
  const before = cause instanceof NoCredentials ? "" : `${hint} `;
  return new MetaMasterError(code, kind, message, {
    cause,
    hint: `${before}Credentials are taken from ${path}, and read again without a restart once they change there.`,
    details,
  });
}

function isSame(one: CredentialFiles, other: CredentialFiles): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}
