/** One row of the table: what was measured, against what, and whether it is within the bound. */
export interface Row {
  readonly what: string;
  readonly against: string;
  readonly measured: string;
  readonly bound: string;
  readonly holds: boolean;
  /** The raw figures, for the JSON. */
  readonly figures: Readonly<Record<string, number | readonly number[]>>;
}

export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

export const median = (values: readonly number[]): number => quantile(values, 0.5);

/** Resident bytes as samples. */
export function memoryRow(doing: string, residents: readonly number[]): Row {
  const most = Math.max(...residents);
  return {
    what: `sidecar's resident memory, ${doing}`,
    against: "-",
    measured: `at most ${(most / 1e6).toFixed(0)} MB (median ${(median(residents) / 1e6).toFixed(0)} MB)`,
    bound: "<= 150 MB",
    holds: most <= 150e6,
    figures: { residents },
  };
}

export function table(rows: readonly Row[]): string {
  const lines = rows.map(
    ({ what, against, measured, bound, holds }) =>
      `| ${what} | ${against} | ${measured} | ${bound} | ${holds ? "yes" : "**no**"} |`,
  );
  return ["| what | against | measured | bound | holds |", "|---|---|---|---|---|", ...lines].join("\n");
}
