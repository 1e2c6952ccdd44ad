import { FIELD_MANAGER, CLUSTER_LABEL, type KubeManifest } from "../objects/names.js";
import { text } from "./objects.js";

/** An object can't be written, now and until somebody changes something: why, for people. */
export class Refused extends Error {
  constructor({ kind, metadata }: KubeManifest, why: string, cause?: unknown) {
    super(`${kind} ${metadata.name}: ${why}`, { cause });
    this.name = "Refused";
  }
}

const CODES: ReadonlySet<number | undefined> = new Set([400, 403, 422]);

/** `Refused`, if the API server does not take it as it is; anything else passes: it is away, or somebody was faster. */
export function refusedOr(error: unknown, manifest: KubeManifest): unknown {
  const code = statusCodeOf(error);
  const message = apiMessage(error) ?? "";
  // That a field is unknown, or a name twice in a list, it says as an error of its own.
  const isRefusal = CODES.has(code) || (code === 500 && message.includes("typed patch object"));
  if (!isRefusal) return error;
  const mend = manifest.kind === "StatefulSet" ? "Correct spec.template; until then" : "Until that is mended";
  return new Refused(
    manifest,
    `the API server refuses it: ${message.replace(/\.$/, "")}. ${mend} nothing is changed.`,
    error,
  );
}

/** Whose it is, if it isn't ours to change; undefined: it is. By its labels, as we made it. */
export function whoseElse(live: unknown, { metadata }: KubeManifest): string | undefined {
  if (text(live, "metadata", "labels", "app.kubernetes.io/managed-by") !== FIELD_MANAGER)
    return "one of that name is there already, which the operator did not make";
  const cluster = text(live, "metadata", "labels", CLUSTER_LABEL);
  if (cluster === metadata.labels?.[CLUSTER_LABEL]) return undefined;
  return `one of that name belongs to the MetaMasterCluster ${cluster ?? "?"}`;
}

export function statusCodeOf(error: unknown): number | undefined {
  const code: unknown = typeof error === "object" && error !== null ? Reflect.get(error, "code") : undefined;
  return typeof code === "number" ? code : undefined;
}

/** What the API server said; the library leaves it as it came. */
export function apiMessage(error: unknown): string | undefined {
  const body: unknown = typeof error === "object" && error !== null ? Reflect.get(error, "body") : undefined;
  if (typeof body !== "string") return text(body, "message");
  try {
    return text(JSON.parse(body), "message") ?? body;
  } catch {
    return body;
  }
}
