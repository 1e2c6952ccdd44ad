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

export function table(rows: readonly Row[]): string {
  const lines = rows.map(
    ({ what, against, measured, bound, holds }) =>
      `| ${what} | ${against} | ${measured} | ${bound} | ${holds ? "yes" : "**no**"} |`,
  );
  return ["| what | against | measured | bound | holds |", "|---|---|---|---|---|", ...lines].join("\n");
}
