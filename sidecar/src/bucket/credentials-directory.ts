import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { messageOf } from "../base/errors.js";

/** Files are looked at this often at most: a Secret that is mounted changes within a minute of its own. */
const LOOK_EVERY_MS = 1000;

export interface AwsKeys {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}

/** Known to the S3 bucket as trouble with credentials. */
class CredentialsFileError extends Error {
  override readonly name = "CredentialsProviderError";
}

/** Contents of a file, read anew whenever it has changed. */
export class WatchedFile<T> {
  readonly path: string;
  readonly #nowMs: () => number;
  readonly #make: () => Promise<T>;
  #made: { readonly version: string; readonly value: T } | undefined;
  #lookedMs = -Infinity;

  /** `make`: reads it. `nowMs`: monotonic. */
  constructor(path: string, nowMs: () => number, make: () => Promise<T>) {
    this.path = path;
    this.#nowMs = nowMs;
    this.#make = make;
  }

  async value(): Promise<T> {
    if (this.#made !== undefined && this.#nowMs() - this.#lookedMs < LOOK_EVERY_MS) return this.#made.value;
    const lookedMs = this.#nowMs();
    const version = await this.#version();
    if (this.#made?.version !== version) this.#made = { version, value: await this.#make() };
    this.#lookedMs = lookedMs;
    return this.#made.value;
  }

  async #version(): Promise<string> {
    try {
      const { mtimeMs, ino, size } = await stat(this.path);
      return `${mtimeMs} ${ino} ${size}`;
    } catch (error) {
      throw new CredentialsFileError(`${this.path} can't be read: ${messageOf(error)}`, { cause: error });
    }
  }
}

/** `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and, if it is there, `AWS_SESSION_TOKEN`, a file each, as Kubernetes mounts a Secret's keys. */
export function awsKeys(directory: string, nowMs: () => number): WatchedFile<AwsKeys> {
  const read = async (name: string): Promise<string> => {
    const path = join(directory, name);
    try {
      const text = (await readFile(path, "utf8")).trim();
      if (text !== "") return text;
    } catch (error) {
      throw new CredentialsFileError(`${path} can't be read: ${messageOf(error)}`, { cause: error });
    }
    throw new CredentialsFileError(`${path} is empty`);
  };
  return new WatchedFile(join(directory, "AWS_ACCESS_KEY_ID"), nowMs, async () => {
    const [accessKeyId, secretAccessKey] = await Promise.all([
      read("AWS_ACCESS_KEY_ID"),
      read("AWS_SECRET_ACCESS_KEY"),
    ]);
    const sessionToken = await read("AWS_SESSION_TOKEN").catch(() => undefined);
    return { accessKeyId, secretAccessKey, ...(sessionToken === undefined ? {} : { sessionToken }) };
  });
}
