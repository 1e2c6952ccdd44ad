import { Violation } from "./violation.js";

interface Lineage {
  readonly epoch: number;
  readonly who: string;
  /** Row n is at index n - 1; written, or about to be written, by the master of this epoch or one before it. */
  rows: string[];
  /** As they were before a master lost some of them at a reopen: older positions of the log still have those. */
  readonly before: (readonly string[])[];
  openedAtMs: number;
}

/** What every master wrote, acknowledged and found: the oracle of rows. Each row's value is unique in a simulation. */
export class History {
  readonly #lineages: Lineage[] = [];
  /** Row n at index n - 1, with the epoch that acknowledged it first. */
  readonly #acknowledged: { readonly value: string | undefined; readonly epoch: number }[] = [];
  readonly #existed = new Map<string, readonly string[]>();
  readonly #nowMs: () => number;
  readonly #mayOverlap: (who: string) => boolean;
  /** It may not begin with nothing. */
  beginsWithData = false;
  opens = 0;
  written = 0;
  acknowledgements = 0;

  /** `mayOverlap`: this member's master may for the moment not be blamed for writing on (its machine stood still until now). */
  constructor(nowMs: () => number, mayOverlap: (who: string) => boolean) {
    this.#nowMs = nowMs;
    this.#mayOverlap = mayOverlap;
  }

  /** The member whose databases the history began with, if it did not begin with empty ones. */
  get adoptedFrom(): string | undefined {
    return this.#lineages.find(({ epoch }) => epoch === 0)?.who;
  }

  /** These rows were on a member's disk before there was a cluster: one that has such a member begins with them, and they count as acknowledged. */
  existed(who: string, rows: readonly string[]): void {
    this.#existed.set(who, rows);
  }

  get acknowledgedRows(): number {
    return this.#acknowledged.length;
  }

  /** So many rows a master on this member's disk may not lose. */
  rowsToKeep(who: string): number {
    return Math.max(this.#acknowledged.length, this.#existed.get(who)?.length ?? 0);
  }

  /** A master opened its databases and found these rows: nothing acknowledged may be missing, and all of it must have been written before, in this order. */
  opened(who: string, epoch: number, rows: readonly string[], forgot = false): void {
    this.opens++;
    if (this.#lineages.length === 0 && (this.#existed.size > 0 || this.beginsWithData)) this.#begin(who, epoch, rows);
    for (const [index, { value, epoch: since }] of this.#acknowledged.entries()) {
      // One that is late (its machine slept) owes nothing to epochs after its own; that it writes nothing is another rule.
      if (since > epoch || rows[index] === value) continue;
      throw new Violation(
        "AcknowledgedIsKept",
        `${who} opened epoch ${epoch} with ${rows.length} rows; row ${index + 1} was acknowledged as ${String(value)} and is ${String(rows[index])}`,
      );
    }
    const same = this.#lineages.find((lineage) => lineage.epoch === epoch);
    const base = same ?? this.#lineages.filter((lineage) => lineage.epoch < epoch).at(-1);
    const versions = base === undefined ? [[]] : [base.rows, ...base.before];
    const wrong = Math.max(...versions.map((version) => firstDifference(rows, version)));
    if (wrong < rows.length) {
      throw new Violation(
        "ImageIsAPrefix",
        `${who} opened epoch ${epoch} with row ${wrong + 1} = ${String(rows[wrong])}; epoch ${String(base?.epoch)} had written ${String(base?.rows[wrong])} there`,
      );
    }
    if (same !== undefined) {
      if (rows.length < same.rows.length) same.before.push(same.rows);
      same.rows = [...rows];
      return;
    }
    const after = this.#lineages.findIndex((lineage) => lineage.epoch > epoch);
    const lineage = { epoch, who, rows: [...rows], before: forgot ? versions : [], openedAtMs: this.#nowMs() };
    if (after === -1) this.#lineages.push(lineage);
    else this.#lineages.splice(after, 0, lineage);
  }

  /** Whoever opens first: the history begins with what a member had. */
  #begin(who: string, epoch: number, rows: readonly string[]): void {
    const from = [...this.#existed].find(
      ([, had]) => had.length === rows.length && firstDifference(rows, had) === rows.length,
    );
    if (from === undefined) {
      const had = [...this.#existed].map(([member, { length }]) => `${member} had ${length} rows`);
      throw new Violation(
        "HistoryBeginsWithTheData",
        `${who} opened epoch ${epoch} with ${rows.length} rows; before there was a cluster ${had.join(" and ")}`,
      );
    }
    this.#lineages.push({ epoch: 0, who: from[0], rows: [...rows], before: [], openedAtMs: this.#nowMs() });
    for (const value of rows) this.#acknowledged.push({ value, epoch: 0 });
  }

  /** A master is about to write row `number`. */
  writes(who: string, epoch: number, number: number, value: string): void {
    this.written++;
    const lineage = this.#lineages.find((each) => each.epoch === epoch);
    if (lineage === undefined) throw new Error(`${who} writes in epoch ${epoch}, which nobody opened`);
    const later = this.#lineages.find((each) => each.epoch > epoch);
    if (later !== undefined && later.who !== who && !this.#mayOverlap(who)) {
      throw new Violation(
        "OneMasterWrites",
        `${who} still writes in epoch ${epoch}; ${later.who} opened epoch ${later.epoch} ${(this.#nowMs() - later.openedAtMs).toFixed(1)} ms ago`,
      );
    }
    lineage.rows[number - 1] = value;
  }

  /** The barrier resolved that was asked for after row `number` was written. */
  acknowledges(who: string, epoch: number, number: number): void {
    this.acknowledgements++;
    const lineage = this.#lineages.find((each) => each.epoch === epoch);
    for (let index = 0; index < number; index++) {
      const value = lineage?.rows[index];
      const before = this.#acknowledged[index];
      if (before !== undefined && before.value !== value) {
        throw new Violation(
          "AcknowledgedIsKept",
          `${who} acknowledges row ${index + 1} as ${String(value)} in epoch ${epoch}; it was acknowledged as ${String(before.value)}`,
        );
      }
      if (before === undefined || epoch < before.epoch) this.#acknowledged[index] = { value, epoch };
    }
  }
}

/** Index of the first of `rows` that is another in `version`; their number if none is. */
function firstDifference(rows: readonly string[], version: readonly string[]): number {
  const index = rows.findIndex((value, at) => version[at] !== value);
  return index === -1 ? rows.length : index;
}
