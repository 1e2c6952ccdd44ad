import { MetaMasterError } from "../../base/errors.js";
import type { ImagePath } from "../../formats/entry.js";
import { parseFileName } from "../../formats/rocksdb/file-names.js";
import type { DatabaseLocation } from "../layout.js";
import { CurrentFile } from "./current-file.js";
import type { CutDatabase, DatabaseCut, ManifestMark, WalMarks } from "./cut.js";
import { ManifestTracker } from "./manifest-tracker.js";
import { neverThere } from "./ship-errors.js";
import { WalSet, type WalSetParts } from "./wal-set.js";

/** One database as shipping sees it: its MANIFEST, its WALs, and what of them is in the image. */
export class ShippedDatabase implements CutDatabase {
  readonly location: DatabaseLocation;
  readonly wals: WalSet;
  readonly manifest: ManifestTracker;
  /** Another database is in its place than the image has. */
  replaced = false;
  /** Why nothing may be promised of this database: neither the disk nor the image has one. */
  absent: MetaMasterError | undefined;
  /** Grows with every group that carried this database's MANIFEST: plans made before are void. */
  advances = 0;
  /** The MANIFEST for which a hold was raised. */
  #announced: string | undefined;
  readonly #current: CurrentFile;
  readonly #parts: WalSetParts;

  constructor(location: DatabaseLocation, parts: WalSetParts) {
    this.location = location;
    this.#parts = parts;
    this.wals = new WalSet(location, parts);
    this.manifest = new ManifestTracker(parts.tools.fs, location.path);
    this.#current = new CurrentFile(parts.tools.fs, location.path);
  }

  get name(): string {
    return this.location.name;
  }

  imagePath(name: string): ImagePath {
    return `${this.name}/${name}`;
  }

  toLocal(file: ImagePath): string | undefined {
    const name = file.slice(file.indexOf("/") + 1);
    if (file.startsWith(`${this.name}/`)) return `${this.location.path}/${name}`;
    return file.startsWith(`${this.name}@wal/`) ? `${this.wals.directory}/${name}` : undefined;
  }

  manifestMark(): Promise<ManifestMark | undefined> {
    return this.#current.mark();
  }

  async walMarks(): Promise<WalMarks> {
    return await this.wals.marks();
  }

  /** Is this file of the image one of this database's? */
  owns(file: ImagePath): boolean {
    return file.startsWith(`${this.name}/`) || file.startsWith(`${this.name}@wal/`);
  }

  /** The MANIFEST that the image has. */
  shippedManifest(): string | undefined {
    let newest: { readonly name: string; readonly number: number } | undefined;
    const prefix = this.imagePath("");
    for (const file of this.#parts.shipped.files.keys()) {
      if (!file.startsWith(`${prefix}MANIFEST-`)) continue;
      const name = file.slice(prefix.length);
      const parsed = parseFileName(name);
      if (parsed?.type === "manifest" && (newest === undefined || parsed.number > newest.number)) {
        newest = { name, number: parsed.number };
      }
    }
    return newest?.name;
  }

  /** Reads and checks all of the cut. Holds are told to `onHold`; damage shows in `wals.problem()`. */
  async observe(cut: DatabaseCut, signal: AbortSignal): Promise<void> {
    const { manifest } = cut;
    const shipped = this.replaced ? undefined : this.shippedManifest();
    this.absent = undefined;
    if (manifest === undefined) {
      if (shipped === undefined) {
        this.absent = neverThere(this.name, this.location.path);
        return;
      }
      throw new MetaMasterError(
        "DatabaseMissing",
        "invalid",
        `There is no database in ${this.location.path} any more (no CURRENT), but the log has one of the name ${this.name}.`,
        {
          hint: "If the disk was emptied, restart the member: it restores the database. If the path is wrong, correct it.",
          details: { database: this.name, path: this.location.path },
        },
      );
    }
    if (!this.replaced && (this.wals.replaced || this.manifest.isOther(manifest))) return await this.#replace();
    const { coverage } = this.wals;
    const covers = (first: bigint, last: bigint): boolean => coverage.covers(first, last);
    const isNew = this.manifest.isNew(manifest);
    if (isNew || manifest.name !== shipped) {
      await this.manifest.follow(manifest, covers, signal);
      if (isNew && shipped !== undefined && shipped !== manifest.name && this.#numbersRepeat()) {
        return await this.#replace();
      }
      const minimum = this.manifest.minimumWal;
      // Behind a new MANIFEST only its own WALs are shipped, with a checkpoint that makes the others obsolete.
      const wals = cut.wals.filter(({ number }) => number >= minimum);
      this.wals.passOver(minimum);
      await this.wals.scan(wals, signal);
    } else {
      // What a flush wrote is looked up in the WAL of the same cut.
      await this.wals.scan(cut.wals, signal);
      await this.manifest.follow(manifest, covers, signal);
      if (this.binds && cut.wals.length === 0) throw this.#walsElsewhere();
    }
    this.wals.checkStarts(this.manifest.minimumWal);
    if (manifest.name === shipped || manifest.name === this.#announced) return;
    this.#announced = manifest.name;
    const message =
      shipped === undefined ? `${this.name} is new` : `${this.name} went from ${shipped} to ${manifest.name}`;
    this.#parts.onHold({ reason: shipped === undefined ? "Start" : "Reopen", message });
  }

  /** A group carried this database anew. */
  emitted(plan: { readonly replaced: boolean }): void {
    this.advances++;
    if (!plan.replaced) return;
    this.replaced = false;
    this.wals.restarted();
  }

  /**
   * Somebody destroyed the database and made (or restored) another one in its place: names and numbers are used again for other content. Nothing
   * of the image is built upon; a checkpoint replaces all of it.
   */
  async #replace(): Promise<void> {
    this.replaced = true;
    this.#announced = undefined;
    await this.wals.restart();
    this.manifest.forget();
    this.#parts.onHold({ reason: "Reopen", message: `${this.name} was replaced by another database` });
  }

  /** RocksDB always has a WAL file, if only an empty one. */
  #walsElsewhere(): MetaMasterError {
    return new MetaMasterError(
      "WalElsewhere",
      "invalid",
      `${this.name} is written, but there is no WAL in ${this.wals.directory}.`,
      {
        hint: "The master sets wal_dir: name that directory as `walPath` of the database.",
        details: { database: this.name, directory: this.wals.directory },
      },
    );
  }

  /**
   * A database that is opened again gives no number a second time; one that was restored from an older copy does. (An OPTIONS file's number
   * may not have come to the MANIFEST before a crash.)
   */
  #numbersRepeat(): boolean {
    for (const file of this.#parts.shipped.files.keys()) {
      const parsed = this.owns(file) ? parseFileName(file.slice(file.indexOf("/") + 1)) : undefined;
      if (parsed === undefined || parsed.type === "options" || !("number" in parsed)) continue;
      if (parsed.number >= this.manifest.firstFreeNumber) return true;
    }
    return false;
  }

  /** Bytes of the MANIFEST in the image. */
  get manifestShipped(): number {
    if (this.replaced) return 0;
    return this.#parts.shipped.sizeOf(this.imagePath(this.manifest.name)) ?? 0;
  }

  /** Does the cut have an edit that must not come after the WAL of the cut? */
  get binds(): boolean {
    return this.manifest.bindsAfter(this.manifestShipped);
  }

  /** Is there anything in the MANIFEST that the image lacks? */
  get manifestGrew(): boolean {
    return this.manifest.wholeEnd > this.manifestShipped;
  }

  async close(): Promise<void> {
    await this.wals.close();
    await this.manifest.close();
  }
}
