import { copyFileSync, readdirSync, readFileSync, renameSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export type DamageKind = "flipped" | "truncated" | "missing";

/** Objects of a `file://` bucket, to be damaged as no store should and to be put back. */
export class BucketFolder {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  /** Keys below `prefix` that match, in their order. */
  keys(prefix: string, pattern = /./): readonly string[] {
    const names = readdirSync(join(this.path, prefix), { recursive: true, encoding: "utf8" });
    return names
      .map((name) => join(prefix, name))
      .filter((key) => pattern.test(key) && statSync(this.file(key)).isFile())
      .toSorted();
  }

  file(key: string): string {
    return join(this.path, key);
  }

  /** Gives what puts the object back. */
  damage(key: string, kind: DamageKind): () => void {
    const file = this.file(key);
    const aside = `${this.path}.aside`;
    copyFileSync(file, aside);
    if (kind === "missing") renameSync(file, `${aside}.gone`);
    else if (kind === "truncated") truncateSync(file, Math.floor(statSync(file).size / 2));
    else {
      const bytes = readFileSync(file);
      const middle = Math.floor(bytes.length / 2);
      bytes[middle] = (bytes[middle] ?? 0) ^ 1;
      writeFileSync(file, bytes);
    }
    return () => copyFileSync(aside, file);
  }
}
