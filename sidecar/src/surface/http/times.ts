const TIME = /(Ms|[sS]econds)$/;

/** For JSON: a measured time with at most microseconds; the clock's further digits say nothing. */
export function shortTime(key: string, value: unknown): unknown {
  return typeof value === "number" && !Number.isInteger(value) && TIME.test(key)
    ? Math.round(value * 1000) / 1000
    : value;
}
