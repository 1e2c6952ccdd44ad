import { execFileSync } from "node:child_process";
import { closeSync, mkdirSync, openSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";

/** A file system of a few MiB of its own (tmpfs), which can be filled and grown. Needs root, or CAP_SYS_ADMIN. */
export class SmallDisk {
  readonly path: string;
  #mounted = true;

  private constructor(path: string) {
    this.path = path;
  }

  static mount(path: string, mebibytes: number): SmallDisk {
    mkdirSync(path, { recursive: true });
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${mebibytes}m`, "tmpfs", path], { stdio: "pipe" });
    return new SmallDisk(path);
  }

  grow(mebibytes: number): void {
    execFileSync("mount", ["-o", `remount,size=${mebibytes}m`, this.path]);
  }

  /** To the last page. */
  fill(): void {
    const file = openSync(this.#filling, "w");
    try {
      const page = Buffer.alloc(4096, 1);
      for (;;) writeSync(file, page);
    } catch (error) {
      if (!String(error).includes("ENOSPC")) throw error;
    } finally {
      closeSync(file);
    }
  }

  free(): void {
    rmSync(this.#filling);
  }

  /** What still has files open there keeps only its own view. */
  unmount(): void {
    if (this.#mounted) execFileSync("umount", ["--lazy", this.path]);
    this.#mounted = false;
  }

  get #filling(): string {
    return join(this.path, "filling");
  }
}

/** May this process mount? Otherwise says why the tests are skipped; under CI=true that is a failure. */
export function requireMount(folder: string, what: string): boolean {
  try {
    SmallDisk.mount(join(folder, "probe"), 1).unmount();
    return true;
  } catch (error) {
    const reason = `${what}: a tmpfs can't be mounted (${String(error).trim()}); run as root`;
    if (process.env["CI"] === "true") throw new Error(reason, { cause: error });
    console.warn(`SKIPPED: ${reason}`);
    return false;
  }
}
