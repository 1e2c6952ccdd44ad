import { dirname } from "node:path";
import { MetaMasterError } from "../base/errors.js";
import type { FileSystem } from "../base/file-system.js";

/** Makes directories for an image's files, and remembers in which of them names changed until `sync`. */
export class Directories {
  readonly #fs: FileSystem;
  /** Below these no symbolic link may be on the way; they themselves are the user's choice. */
  readonly #trusted: readonly string[];
  readonly #known = new Set<string>();
  readonly #changed = new Set<string>();

  constructor(fs: FileSystem, trusted: readonly string[]) {
    this.#fs = fs;
    this.#trusted = trusted;
  }

  /** Throws `PathBlocked` (invalid) if a link, a file or a device is in the way. */
  async ensure(directory: string): Promise<void> {
    if (this.#known.has(directory)) return;
    const trusted = this.#trusted.includes(directory);
    const stat = await this.#fs.stat(directory);
    if (stat?.kind !== "directory") {
      if (stat !== undefined) throw blocked(directory);
      if (dirname(directory) !== directory) await this.ensure(dirname(directory));
      await this.#fs.makeDirectory(directory);
    } else if (!trusted && this.#trusted.some((root) => directory.startsWith(`${root}/`))) {
      await this.ensure(dirname(directory));
    }
    // One that was there may be of a run that died before it made the name durable.
    this.changed(dirname(directory));
    this.#known.add(directory);
  }

  /** Names directly in `directory` changed. */
  changed(directory: string): void {
    this.#changed.add(directory);
  }

  /** The directory may be gone. */
  forget(directory: string): void {
    for (const known of this.#known)
      if (known === directory || known.startsWith(`${directory}/`)) this.#known.delete(known);
  }

  /** Makes all changes of names so far survive a power failure. */
  async sync(): Promise<void> {
    for (const directory of this.#changed) {
      if ((await this.#fs.stat(directory))?.kind === "directory") await this.#fs.syncDirectory(directory);
      this.#changed.delete(directory);
    }
  }
}

function blocked(path: string): MetaMasterError {
  return new MetaMasterError(
    "PathBlocked",
    "invalid",
    `${path} must be a directory, and is a link, a file or a device.`,
    {
      hint: "Move it away, or name the real directory in the configuration: symbolic links are not followed.",
      details: { path },
    },
  );
}
