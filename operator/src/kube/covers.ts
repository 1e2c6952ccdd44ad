/**
 * Does what is there have all that is wanted? The API server adds fields (defaults, status) and never takes any away: what is wanted must be in it. Lists are compared
 * item by item, as the objects made here have them in one order.
 */
export function covers(live: unknown, wanted: unknown): boolean {
  if (Array.isArray(wanted)) {
    return Array.isArray(live) && live.length === wanted.length && wanted.every((each, at) => covers(live[at], each));
  }
  if (typeof wanted === "object" && wanted !== null) {
    if (typeof live !== "object" || live === null) return isEmpty(wanted);
    return Object.entries(wanted).every(([key, value]) => value === undefined || covers(Reflect.get(live, key), value));
  }
  return live === wanted;
}

/** The API server leaves out what is empty. */
function isEmpty(value: object): boolean {
  return Object.values(value).every((each) => each === undefined);
}
