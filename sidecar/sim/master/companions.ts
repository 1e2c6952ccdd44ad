import { createHash } from "node:crypto";
import type { Disk } from "../disk.js";
import { Violation } from "../violation.js";
import { writeWhole } from "./files.js";

const noteFile = "NOTE";
const checkpointFolder = "checkpoint";

export interface CompanionParts {
  readonly disk: Disk;
  readonly dataDirectory: string;
  /** For the reports: member and epoch. */
  readonly who: string;
  /** Of the note, beside what it says. */
  readonly padBytes: number;
}

function digestOf(...parts: readonly (string | Uint8Array)[]): string {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part).update("\0");
  return hash.digest("hex").slice(0, 32);
}

/** What a master keeps beside its databases and refers to in them, and how it finds out that they don't belong together. */
export class Companions {
  readonly #parts: CompanionParts;

  constructor(parts: CompanionParts) {
    this.#parts = parts;
  }

  /** A small file: how many rows there are, and what the last of them is. */
  writeNote(rows: number, lastValue: string): void {
    const { disk, dataDirectory } = this.#parts;
    const path = `${dataDirectory}/${noteFile}`;
    writeWhole(disk, `${path}.tmp`, this.#noteOf(rows, lastValue));
    disk.rename(`${path}.tmp`, path);
    disk.syncDirectory(dataDirectory);
  }

  /** `mark`: as many rows as the newest note counted that the rows themselves refer to. Nothing refers to a note that is not there, and no note to rows that are not. */
  checkNote(mark: number, rows: readonly string[]): void {
    const { disk, dataDirectory } = this.#parts;
    const path = `${dataDirectory}/${noteFile}`;
    const bytes = disk.exists(path) ? disk.file(path).data.view() : undefined;
    const counted = bytes === undefined ? 0 : Number.parseInt(Buffer.from(bytes.subarray(0, 20)).toString(), 10);
    const bad = (what: string): Violation => this.#bad(`${what}; there are ${rows.length} rows and a mark of ${mark}`);
    if (counted < mark) throw bad(`the note counts ${counted} rows, and a newer one is referred to`);
    if (counted > rows.length) throw bad(`the note counts ${counted} rows`);
    if (bytes === undefined || Buffer.compare(bytes, this.#noteOf(counted, rows[counted - 1] ?? "")) === 0) return;
    throw bad(`the note of ${counted} rows (${bytes.length} bytes) is not what was written`);
  }

  pathOfCheckpoint(name: string): string {
    return `${this.#parts.dataDirectory}/${checkpointFolder}/${name}`;
  }

  /** What names this checkpoint once it is whole; without a space (master/table-file.ts). */
  referenceTo(name: string): string {
    return `${name}=${this.#digestOfCheckpoint(name)}`;
  }

  /** The path of the checkpoint that `reference` names, every byte of which is there. */
  checkCheckpoint(reference: string): string {
    const [name = "", digest] = reference.split("=");
    const path = this.pathOfCheckpoint(name);
    if (!this.#parts.disk.exists(`${path}/CURRENT`)) throw this.#bad(`the journal names ${name}, which is not there`);
    if (this.#digestOfCheckpoint(name) !== digest) throw this.#bad(`${name} is not what the journal names so`);
    return path;
  }

  /** Only once the reference to `name` survives a power failure. */
  dropCheckpointsBut(name: string): void {
    const { disk, dataDirectory } = this.#parts;
    const folder = `${dataDirectory}/${checkpointFolder}`;
    writeWhole(disk, `${folder}/VERSION.tmp`, Buffer.from(`checkpoint ${name}\n`));
    disk.rename(`${folder}/VERSION.tmp`, `${folder}/VERSION`);
    for (const entry of disk.list(folder)) {
      if (entry.kind === "directory" && entry.name !== name) disk.removeTree(`${folder}/${entry.name}`);
    }
  }

  #noteOf(rows: number, lastValue: string): Uint8Array {
    const digest = digestOf(lastValue);
    return Buffer.from(`${rows} ${digest}\n`.padEnd(this.#parts.padBytes, digest));
  }

  #digestOfCheckpoint(name: string): string {
    const { disk } = this.#parts;
    const path = this.pathOfCheckpoint(name);
    return digestOf(
      ...disk.list(path).flatMap((entry) => [entry.name, disk.file(`${path}/${entry.name}`).data.view()]),
    );
  }

  #bad(what: string): Violation {
    return new Violation("CompanionsBelong", `${this.#parts.who}: ${what}`);
  }
}
