import type { Disk } from "../disk.js";
import type { History } from "../history.js";
import type { SeededRandom } from "../random.js";
import { Violation } from "../violation.js";
import { Companions } from "./companions.js";
import { ModelDatabase, type DatabaseSettings } from "./database.js";
import type { Step } from "./files.js";
import { readRecordFile } from "./record-file.js";
import { recover } from "./recovery.js";
import { decodeBatch } from "./write-batch.js";

export interface WorkloadSettings {
  readonly dataDirectory: string;
  /** One database with everything; or a journal with a WAL and a state without one (Curvine, Restate). */
  readonly databases: readonly DatabaseSettings[];
  readonly ingests: boolean;
  readonly addsFamilies: boolean;
  /** Whole checkpoints of the state beside the databases, named by the journal. */
  readonly checkpoints: boolean;
  /** A file beside the databases that says how far the rows go, and that a row refers to. */
  readonly note: boolean;
  /** Its size at least. */
  readonly noteBytes: number;
  /** Opening refuses a newest WAL that ends in half a record, unless the process itself was killed in it (MyRocks). */
  readonly refusesTornTail: boolean;
  /** Share of rows that don't fit one entry. */
  readonly hugeShare: number;
  readonly hugeBytes: number;
  /**
   * Reopened after a crash it loses some of its last rows that nobody was told of, as recovery modes and repair tools do; the numbers they had are given
   * to others.
   */
  readonly forgetsOnReopen: boolean;
}

export interface WorkloadParts {
  readonly disk: Disk;
  readonly random: SeededRandom;
  readonly history: History;
  readonly who: string;
  readonly epoch: number;
  /** The last master here left the databases as they are: a record may be half written. */
  readonly reopens: boolean;
}

const rowKey = (number: number): string => `r${String(number).padStart(8, "0")}`;
const trimKey = "trimmed-through";
const checkpointKey = "checkpoint";
const noteKey = "note";

/** What a master does with its databases, and how it finds holes when it opens them. */
export class Workload {
  readonly #settings: WorkloadSettings;
  readonly #parts: WorkloadParts;
  readonly #journal: ModelDatabase;
  /** Flushed now and then, has no WAL; the journal is trimmed after. */
  readonly #state: ModelDatabase | undefined;
  /** Numbered so far; `#written` of them are in the files. */
  #rows = 0;
  #written = 0;
  /** Of row `#rows`, and of row `#written`. */
  #newestValue = "";
  #lastValue = "";
  readonly #companions: Companions;
  /** Put into the state. */
  #applied = 0;
  #trimmed = 0;
  #families = 0;
  #opened = false;

  constructor(settings: WorkloadSettings, parts: WorkloadParts) {
    this.#settings = settings;
    this.#parts = parts;
    const databases = settings.databases.map(
      (database, index) =>
        new ModelDatabase(
          database,
          parts.disk,
          parts.random.stream(`database ${index}`),
          `${parts.who}, epoch ${parts.epoch}`,
        ),
    );
    const [journal, state] = databases;
    if (journal === undefined) throw new Error("a workload needs a database");
    this.#journal = journal;
    this.#state = state;
    this.#companions = new Companions({
      disk: parts.disk,
      dataDirectory: settings.dataDirectory,
      who: `${parts.who}, epoch ${parts.epoch}`,
      padBytes: settings.noteBytes,
    });
  }

  /** The last row that is written, and all before it. */
  get written(): number {
    return this.#written;
  }

  get opened(): boolean {
    return this.#opened;
  }

  /** Checks what is there before anything is changed, then opens for writing. */
  *open(): Step {
    const { history, who, epoch } = this.#parts;
    const forgot = this.#settings.forgetsOnReopen && this.#parts.reopens && this.#forget();
    const openings = this.#begin();
    history.opened(who, epoch, this.#check(), forgot);
    for (const opening of openings) yield* opening;
    this.#families = this.#journal.families.length;
    yield* this.#replayJournal();
    this.#opened = true;
  }

  /** The rows that are there, checked, without opening for writing. */
  look(): readonly string[] {
    this.#begin();
    return this.#check();
  }

  /** Writes some rows, unless something else writes just now. */
  *write(): Step {
    if (this.#journal.busy) return;
    const { random } = this.#parts;
    const count = random.chance(0.3) ? random.between(2, 5) : 1;
    const rows = Array.from({ length: count }, () => this.#nextRow());
    yield* this.#journal.put(rows.map((row) => ({ ...row, family: random.pick(this.#journal.families) })));
    this.#wrote();
    if (this.#state === undefined) return;
    yield* this.#state.put(rows.map((row) => ({ ...row, family: 0 })));
    this.#applied = this.#written;
  }

  /** Before a graceful end. */
  *close(): Step {
    while (this.#journal.busy) yield;
    yield* this.#journal.flush();
  }

  /** One job in the background. */
  job(): Step {
    const { random } = this.#parts;
    const { ingests, addsFamilies } = this.#settings;
    const state = this.#state;
    const jobs: Record<string, number> = {
      flush: 4,
      compact: 3,
      ingest: ingests ? 2 : 0,
      addFamily: addsFamilies && this.#families < 5 ? 1 : 0,
      state: state === undefined ? 0 : 6,
      note: this.#settings.note ? 2 : 0,
    };
    switch (random.weighted(jobs)) {
      case "flush":
        return this.#journal.flush();
      case "compact":
        return this.#journal.compact((key) => !isTrimmed(key, this.#trimmed));
      case "ingest":
        return this.#ingest();
      case "note":
        return this.#writeNote();
      case "addFamily":
        return this.#journal.addFamily(`family-${++this.#families}`);
      default:
        return state === undefined ? this.#journal.flush() : this.#stateJob(state);
    }
  }

  /** The state is flushed, and only then the journal is trimmed to what it holds. */
  *#stateJob(state: ModelDatabase): Step {
    const { random, disk } = this.#parts;
    const covered = this.#applied;
    if (random.chance(0.3)) {
      yield* state.compact(() => true);
      return;
    }
    yield* state.flush();
    for (const key of state.keysInMemory()) if (isTrimmed(key, covered)) return;
    yield;
    const name = `ck-${covered}`;
    const path = this.#companions.pathOfCheckpoint(name);
    const takes = this.#settings.checkpoints && random.chance(0.6) && !disk.exists(path);
    if (takes) {
      yield* state.checkpoint(path);
      yield* this.#putMark(checkpointKey, this.#companions.referenceTo(name));
    }
    if (random.chance(0.7)) {
      this.#trimmed = covered;
      yield* this.#putMark(trimKey, String(covered));
    }
    yield;
    if (!takes) return;
    this.#journal.syncWal();
    this.#companions.dropCheckpointsBut(name);
  }

  /** Both databases are looked at in the state in which they were found: nothing runs in between. */
  #begin(): Step[] {
    const openings = [this.#journal, this.#state].flatMap((database) =>
      database === undefined ? [] : [database.open(({ tornTail }) => this.#checkTail(tornTail))],
    );
    for (const opening of openings) opening.next();
    return openings;
  }

  *#ingest(): Step {
    yield* this.#journal.ingest(() => [this.#nextRow(), this.#nextRow()]);
    this.#wrote();
  }

  /** What the state had only in memory comes from the journal again. */
  *#replayJournal(): Step {
    if (this.#state === undefined) return;
    const journal = this.#journal.contents();
    const first = lastRow(this.#state.contents(), 0) + 1;
    for (let number = first; number <= this.#rows; number++) {
      const key = rowKey(number);
      yield* this.#state.put([{ family: 0, key, value: journal.get(key) ?? "" }]);
    }
    this.#applied = this.#rows;
  }

  /** The file follows the rows that it counts, and a mark among the rows follows the file: an image has them in this order, or it is no instant. */
  *#writeNote(): Step {
    while (this.#journal.busy) yield;
    const [rows, lastValue] = [this.#written, this.#lastValue];
    this.#journal.syncWal();
    yield;
    this.#companions.writeNote(rows, lastValue);
    yield;
    yield* this.#putMark(noteKey, String(rows));
  }

  *#putMark(key: string, value: string): Step {
    while (this.#journal.busy) yield;
    yield* this.#journal.put([{ family: 0, key, value }]);
  }

  #wrote(): void {
    [this.#written, this.#lastValue] = [this.#rows, this.#newestValue];
  }

  #nextRow(): { key: string; value: string } {
    const { random, history, who, epoch } = this.#parts;
    const number = this.#rows + 1;
    const huge = random.chance(this.#settings.hugeShare) ? random.between(1, this.#settings.hugeBytes) : 0;
    const value = `${epoch}:${who}:${number}:${random.hex(4)}${"x".repeat(huge)}`;
    history.writes(who, epoch, number, value);
    this.#rows = number;
    this.#newestValue = value;
    return { key: rowKey(number), value };
  }

  /** True if rows were lost. */
  #forget(): boolean {
    const { disk, random, history, who } = this.#parts;
    const { walPath } = this.#journal.settings;
    const { path } = this.#journal.settings;
    if (!disk.exists(`${path}/CURRENT`) || !disk.exists(walPath)) return false;
    const wals = disk.list(walPath).filter(({ name }) => name.endsWith(".log"));
    const newest = wals.toReversed().find(({ name }) => disk.file(`${walPath}/${name}`).data.size > 0);
    if (newest === undefined) return false;
    const file = disk.file(`${walPath}/${newest.name}`);
    const { payloads, ends } = readRecordFile(file.data.view());
    // Only the newest rows of all: none that is older than what a table holds.
    const { families } = recover({ disk, path, walPath, who });
    let flushed = 0;
    for (const { tables } of families.values()) {
      for (const { lastSequence } of tables.values()) flushed = Math.max(flushed, lastSequence);
    }
    let kept = payloads.length;
    for (let tries = random.between(0, 3); tries > 0 && kept > 0; tries--) {
      const { sequence, rows } = decodeBatch(payloads[kept - 1] ?? new Uint8Array(0));
      if (sequence <= flushed) break;
      if (rows.some(({ key }) => Number(key.slice(1)) <= history.rowsToKeep(who))) break;
      kept--;
    }
    disk.truncate(file, ends[kept - 1] ?? 0);
    this.#journal.flushesNextOpen = true;
    return kept < payloads.length;
  }

  #checkTail(torn: boolean): void {
    if (!torn || this.#parts.reopens || !this.#settings.refusesTornTail) return;
    const { who, epoch } = this.#parts;
    throw new Violation("ImageOpens", `${who}, epoch ${epoch}: the newest WAL ends in half a record`);
  }

  /** Rows are numbered without a hole; the state continues where the journal was trimmed; the checkpoint that the journal names is there. */
  #check(): string[] {
    const { who, epoch, disk } = this.#parts;
    const journal = this.#journal.contents();
    const state = this.#state?.contents() ?? new Map<string, string>();
    const trimmed = Number(journal.get(trimKey) ?? 0);
    const rows: string[] = [];
    const last = lastRow(journal, lastRow(state, 0));
    for (let number = 1; number <= last; number++) {
      const value = (number <= trimmed ? undefined : journal.get(rowKey(number))) ?? state.get(rowKey(number));
      if (value === undefined) {
        throw new Violation(
          "NoHole",
          `${who}, epoch ${epoch}: row ${number} of ${last} is missing${this.#state === undefined ? "" : ` (the journal is trimmed through ${trimmed})`}`,
        );
      }
      rows.push(value);
    }
    const checkpoint = journal.get(checkpointKey);
    if (checkpoint !== undefined) {
      const path = this.#companions.checkCheckpoint(checkpoint);
      recover({ disk, path, walPath: path, who: `${who}, epoch ${epoch}` });
    }
    this.#companions.checkNote(Number(journal.get(noteKey) ?? 0), rows);
    this.#lastValue = rows.at(-1) ?? "";
    [this.#rows, this.#written] = [rows.length, rows.length];
    this.#trimmed = trimmed;
    return rows;
  }
}

function isTrimmed(key: string, through: number): boolean {
  return key.startsWith("r") && Number(key.slice(1)) <= through;
}

function lastRow(contents: ReadonlyMap<string, string>, atLeast: number): number {
  let last = atLeast;
  for (const key of contents.keys()) if (key.startsWith("r")) last = Math.max(last, Number(key.slice(1)));
  return last;
}
