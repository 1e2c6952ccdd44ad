import type { Spec, Status } from "../../../crds/src/index.js";

type Declared = NonNullable<Spec["switchover"]>;
type Made = NonNullable<Status["switchover"]>;

/** The switchover of the spec that is still to be made. */
export function pendingSwitchover(declared: Declared | undefined, made: Made | undefined): Declared | undefined {
  return declared !== undefined && isSame(declared, made) ? undefined : declared;
}

/** What the status keeps: who was primary when a person's wish was done may be lost later, and is not to be switched back to. */
export function madeSwitchover(
  declared: Declared | undefined,
  made: Made | undefined,
  primary: string | undefined,
  nowMs: number,
): Made | undefined {
  if (declared === undefined || isSame(declared, made)) return declared && made;
  if (primary !== declared.target) return undefined;
  const { target, requestedAt } = declared;
  return { target, ...(requestedAt === undefined ? {} : { requestedAt }), time: new Date(nowMs).toISOString() };
}

function isSame({ target, requestedAt }: Declared, made: Made | undefined): boolean {
  return made?.target === target && made.requestedAt === requestedAt;
}
