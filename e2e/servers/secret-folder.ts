import { mkdtempSync, mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A folder of files that change all at once, as a kubelet mounts a Secret. */
export class SecretFolder {
  readonly path = mkdtempSync(join(tmpdir(), "metamaster-secret-"));
  #versions = 0;

  set(files: Readonly<Record<string, string>>): void {
    const version = `..version-${++this.#versions}`;
    mkdirSync(join(this.path, version));
    for (const [name, text] of Object.entries(files)) {
      writeFileSync(join(this.path, version, name), text);
      rmSync(join(this.path, name), { force: true });
      symlinkSync(`..data/${name}`, join(this.path, name));
    }
    symlinkSync(version, join(this.path, "..next"));
    renameSync(join(this.path, "..next"), join(this.path, "..data"));
  }

  setKeys(id: string, secret: string): void {
    this.set({ AWS_ACCESS_KEY_ID: `${id}\n`, AWS_SECRET_ACCESS_KEY: `${secret}\n` });
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
