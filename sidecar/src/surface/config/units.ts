const durationUnits = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
const sizeUnits = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3, TiB: 1024 ** 4 } as const;

/** Milliseconds of `500ms`, `15s`, `1.5m`, `2h`, `7d`; undefined if it is no duration. */
export function parseDuration(text: string): number | undefined {
  return parse(text, /^(\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h|d)$/, durationUnits);
}

/** Bytes of `64KiB`, `8MiB`, `1.5GiB`, `512B`; undefined if it is no size. Decimal units are refused: they are too easily taken for the binary ones. */
export function parseSize(text: string): number | undefined {
  return parse(text, /^(\d{1,9}(?:\.\d{1,3})?)(B|KiB|MiB|GiB|TiB)$/, sizeUnits);
}

function parse(text: string, pattern: RegExp, units: Readonly<Record<string, number>>): number | undefined {
  const [, number = "", unit = ""] = pattern.exec(text) ?? [];
  const factor = units[unit];
  return factor === undefined ? undefined : Math.round(Number(number) * factor);
}

export function formatDuration(ms: number): string {
  return format(ms, durationUnits, "ms");
}

export function formatSize(bytes: number): string {
  return format(bytes, sizeUnits, "B");
}

/** In the largest unit that gives a whole number, so that it reads back as the same. */
function format(value: number, units: Readonly<Record<string, number>>, smallest: string): string {
  const fitting = Object.entries(units).findLast(([, factor]) => value >= factor && value % factor === 0);
  const [unit, factor] = fitting ?? [smallest, 1];
  return `${value / factor}${unit}`;
}

/** For people: three digits and a unit. */
export function approximateSize(bytes: number): string {
  const [unit, factor] = Object.entries(sizeUnits).findLast(([, each]) => bytes >= each) ?? ["B", 1];
  const value = bytes / factor;
  return `${unit === "B" || value >= 100 ? Math.round(value) : value.toPrecision(3)} ${unit}`;
}

/** For people: `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`. */
export function approximateDuration(seconds: number): string {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}
