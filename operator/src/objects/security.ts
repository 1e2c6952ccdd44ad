import type { Spec } from "../../../crds/src/index.js";

/** What a sidecar of no known user needs, to end the master's processes and to read and write its files. */
const CAPABILITIES = ["DAC_OVERRIDE", "KILL", "SYS_PTRACE"];

/** Of the sidecar's image. */
const NOBODY = 65_532;

const HARDENED = {
  allowPrivilegeEscalation: false,
  readOnlyRootFilesystem: true,
  seccompProfile: { type: "RuntimeDefault" },
} as const;

type Security = Readonly<Record<string, unknown>>;

/** The master's user, as its container or the pod says it; undefined: only its image knows. */
function masterUser(spec: Spec): number | undefined {
  for (const security of securities(spec)) {
    const user = security["runAsUser"];
    if (typeof user === "number") return user;
  }
  return undefined;
}

/**
 * The sidecar runs as the master's user: it must end its processes and share its files. Where only the image knows who that is it runs as root with the few
 * capabilities that this takes, and no other.
 */
export function sidecarSecurity(spec: Spec): object {
  const user = masterUser(spec);
  if (user === undefined || user === 0) {
    return { ...HARDENED, runAsUser: 0, runAsNonRoot: false, capabilities: { drop: ["ALL"], add: CAPABILITIES } };
  }
  const group = securities(spec).find((each) => typeof each["runAsGroup"] === "number")?.["runAsGroup"];
  return {
    ...HARDENED,
    runAsUser: user,
    ...(typeof group === "number" ? { runAsGroup: group } : {}),
    runAsNonRoot: true,
    capabilities: { drop: ["ALL"] },
  };
}

/** Of the Job that empties the bucket: it ends nobody's processes and reads nobody's files, so it is never root. */
export function purgeSecurity(spec: Spec): object {
  const user = masterUser(spec);
  return {
    ...HARDENED,
    runAsUser: user === undefined || user === 0 ? NOBODY : user,
    runAsNonRoot: true,
    capabilities: { drop: ["ALL"] },
  };
}

/** The container's comes before the pod's. */
function securities({ template, masterContainer }: Spec): Security[] {
  const master = template.spec.containers.find(({ name }) => name === masterContainer);
  return [master?.["securityContext"], template.spec["securityContext"]].filter(
    (each): each is Security => typeof each === "object" && each !== null,
  );
}
