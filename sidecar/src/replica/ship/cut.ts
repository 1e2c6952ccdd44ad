import type { Clock } from "../../base/clock.js";
import { MetaMasterError } from "../../base/errors.js";
import { sameListing, type CompanionListing } from "./companions.js";

/** CURRENT and the MANIFEST it names, at one moment. */
export interface ManifestMark {
  /** `MANIFEST-000005`. */
  readonly name: string;
  readonly size: number;
  readonly inode: bigint;
}

/** Bytes of each live WAL, by number, ascending. Nothing beyond them belongs to the cut. */
export type WalMarks = readonly { readonly number: number; readonly size: number }[];

export interface DatabaseCut {
  /** Undefined: there is no database (yet). */
  readonly manifest: ManifestMark | undefined;
  readonly wals: WalMarks;
}

/** What all files held at one instant, as far as it matters to who opens them. */
export interface Cut {
  readonly companions: CompanionListing;
  /** In the order of the layout. */
  readonly databases: readonly DatabaseCut[];
}

/** How a cut looks at one database. */
export interface CutDatabase {
  manifestMark(): Promise<ManifestMark | undefined>;
  /** Measures from the newest number to the oldest. */
  walMarks(): Promise<WalMarks>;
}

export interface CutSource {
  readonly companions: () => Promise<CompanionListing>;
  readonly databases: readonly CutDatabase[];
}

const TRIES_MAX = 60;
const PAUSE_FIRST_MS = 1;
const PAUSE_MAX_MS = 50;

/**
 * Databases are written in order (a journal before the state that it describes), so they are measured from last to first: what the last
 * holds, the first holds the reason for. Within a database the newest WAL is measured first: data in N+1 proves that N was complete when it
 * is measured after it, so there is never a hole. MANIFESTs and companions must be equal before and after: then they were as they
 * are at every moment in between, also at the one when the WALs were measured.
 */
export async function takeCut(source: CutSource, clock: Clock, signal: AbortSignal): Promise<Cut> {
  let pauseMs = PAUSE_FIRST_MS;
  for (let attempt = 1; attempt <= TRIES_MAX; attempt++) {
    const cut = await tryCut(source);
    if (cut !== undefined) return cut;
    await clock.sleep(pauseMs, signal);
    pauseMs = Math.min(PAUSE_MAX_MS, pauseMs * 2);
  }
  throw new MetaMasterError(
    "CutUnsettled",
    "transient",
    `In ${TRIES_MAX} tries a MANIFEST or a companion changed every time between two looks.`,
    { hint: "If it stays so, a companion is written all the time: name the companions more narrowly." },
  );
}

async function tryCut({ companions, databases }: CutSource): Promise<Cut | undefined> {
  const listed = await companions();
  const before = await Promise.all(databases.map((database) => database.manifestMark()));
  const wals: WalMarks[] = [];
  for (let index = databases.length - 1; index >= 0; index--) {
    wals[index] = (await databases[index]?.walMarks()) ?? [];
  }
  const after = await Promise.all(databases.map((database) => database.manifestMark()));
  if (!before.every((mark, index) => sameMark(mark, after[index]))) return undefined;
  if (!sameListing(listed, await companions())) return undefined;
  return {
    companions: listed,
    databases: before.map((manifest, index) => ({ manifest, wals: wals[index] ?? [] })),
  };
}

function sameMark(left: ManifestMark | undefined, right: ManifestMark | undefined): boolean {
  return left?.name === right?.name && left?.size === right?.size && left?.inode === right?.inode;
}
