import { readFigures } from "./figures.js";

// What the scenarios measured, beside what it should be: the last thing that `make e2e` prints. Nothing fails by it: a busy machine is slow.

interface Gapped {
  readonly gaps: readonly { readonly ms: number }[];
}

interface Row {
  readonly what: string;
  readonly scenario: string;
  readonly goal: string;
  /** Seconds or MB: above it the goal is missed. */
  readonly most: number;
  /** One number for each time it was measured. */
  readonly measured: (figures: never) => readonly number[];
}

/** From the start of its process. */
interface NewMembers {
  readonly members: readonly { readonly readyMs: number; readonly restoreMs: number }[];
}

const seconds = ({ gaps }: Gapped): readonly number[] => (gaps.length === 0 ? [0.5] : gaps.map(({ ms }) => ms / 1000));

const rows: readonly Row[] = [
  { what: "master killed", scenario: "master killed", goal: "3 s", most: 3, measured: seconds },
  { what: "pod deleted, and by force", scenario: "pod deleted", goal: "3 s", most: 3, measured: seconds },
  { what: "node cut off, lease 6 s", scenario: "node cut off", goal: "9 s", most: 9, measured: seconds },
  { what: "switchover", scenario: "switchover", goal: "2 s", most: 2, measured: seconds },
  {
    what: "new member until it follows, its restore apart",
    scenario: "new members",
    goal: "2 s",
    most: 2,
    measured: ({ members }: NewMembers) => members.map(({ readyMs, restoreMs }) => (readyMs - restoreMs) / 1000),
  },
  {
    what: "sidecar with its watchdog, MB",
    scenario: "sidecars",
    goal: "150 MB",
    most: 150,
    measured: ({ megabytes }: { readonly megabytes: Readonly<Record<string, number>> }) => Object.values(megabytes),
  },
  {
    what: "operator with 300 resources, MB",
    scenario: "300 resources",
    goal: "200 MB",
    most: 200,
    measured: ({ rssMb }: { readonly rssMb: number }) => [rssMb],
  },
];

for (const { what, scenario, goal, most, measured } of rows) {
  const figures = await readFigures(scenario);
  const all = figures === undefined ? [] : measured(figures as never);
  const shown = all.map((each) => (most > 20 ? `${Math.round(each)}` : each.toFixed(1))).join(", ");
  const missed = all.some((each) => each > most) ? " MISSED" : "";
  console.log(`${what.padEnd(56)} ${(shown === "" ? "not measured" : shown).padEnd(20)} <= ${goal}${missed}`);
}
