import { mkdir, open } from "node:fs/promises";
import { dirname } from "node:path";
import { errnoOf } from "./file-errors.js";

/** Makes the names in `directory` survive a power failure. */
export async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * Folders below an existing root, made so that they survive a power failure. Remembers what it has made sure of: a folder that another
 * process just made may not be on the disk yet, so the parent is synced once by each process, whoever made the folder.
 */
export class DurableDirectories {
  readonly #root: string;
  readonly #known = new Set<string>();

  constructor(root: string) {
    this.#root = root;
    this.#known.add(root);
  }

  async ensure(directory: string): Promise<void> {
    if (this.#known.has(directory)) return;
    const parent = dirname(directory);
    await this.ensure(parent);
    try {
      await mkdir(directory);
    } catch (error) {
      if (errnoOf(error) !== "EEXIST") throw error;
    }
    await syncDirectory(parent);
    this.#known.add(directory);
  }

  /** After ENOENT: something removed a folder that was known. */
  forget(): void {
    this.#known.clear();
    this.#known.add(this.#root);
  }
}
