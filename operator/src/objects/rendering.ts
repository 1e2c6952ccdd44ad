import { GROUP, resource, SIDECAR_CONTAINER, type MetaMasterCluster } from "../../../crds/src/index.js";
import { field, list, text, type LiveObject } from "../kube/objects.js";
import { digestOf } from "./digest.js";
import { inOrder, isRecord } from "./in-order.js";

/** On the StatefulSet: what it was last made from and into. */
const RENDERED_ANNOTATION = `${GROUP}/rendered`;
/** On the resource: another value replaces all pods, one by one, by what this operator makes of the spec now. */
export const RESTARTED_ANNOTATION = `${GROUP}/restarted-at`;
/** All annotations of an object are 256 KiB at most. */
const RENDERED_CHARS_MAX = 128 * 1024;

/**
 * What an operator has made of a spec: the parts whose change replaces pods. Another version of the operator, or another default image, makes something else of the same spec, and
 * that must restart nobody: it is taken when the spec changes, when no pod is there, or when a person asks for it.
 */
export interface Rendering {
  /** Digest of what a person has set. */
  readonly inputs: string;
  /** metamaster.yaml. */
  readonly config: string;
  /** The pods' template, as it was applied. */
  readonly template: object;
}

/** Of no weight for a pod. */
const ELSEWHERE: ReadonlySet<string> = new Set([
  "replicas",
  "switchover",
  "update",
  "deletionPolicy",
  "volumeClaimTemplate",
  "serviceAccount",
]);

/** Where a spec has nothing but what it must have, and that is nobody's. */
const least = resource.shape.spec.parse({
  bucket: { url: "s3://none/none" },
  template: { spec: { containers: [{ name: "x" }] } },
  databases: [{ name: "x", path: "x" }],
  volumeClaimTemplate: { spec: { resources: { requests: { storage: "1Ki" } } } },
});

/** The same for two operators, though one knows of more settings: what is left at its default does not count. */
export function inputsOf({ spec, metadata }: MetaMasterCluster): string {
  const said = Object.entries(spec).filter(([key]) => !ELSEWHERE.has(key));
  return digestOf([inOrder(withoutDefaults(Object.fromEntries(said), least)), restartedAt(metadata)]);
}

export function restartedAt({ annotations }: MetaMasterCluster["metadata"]): string | undefined {
  return annotations?.[RESTARTED_ANNOTATION];
}

/** What the StatefulSet is kept at; undefined: it is made anew. */
export function keptRendering(
  cluster: MetaMasterCluster,
  set: LiveObject | undefined,
  pods: number,
): Rendering | undefined {
  const rendering = parsed(text(set, "metadata", "annotations", RENDERED_ANNOTATION));
  return pods > 0 && rendering?.inputs === inputsOf(cluster) ? rendering : undefined;
}

/** As an annotation; none where it would be too long: then a new operator restarts the pods. */
export function renderedAnnotation(rendering: Rendering): Readonly<Record<string, string>> {
  const value = JSON.stringify(rendering);
  return value.length > RENDERED_CHARS_MAX ? {} : { [RENDERED_ANNOTATION]: value };
}

/** The sidecars' image, if this operator would take another one. */
export function outdatedSidecar(
  { spec }: MetaMasterCluster,
  { template }: Rendering,
  image: string,
): string | undefined {
  const sidecar = list(template, "spec", "initContainers").find((each) => text(each, "name") === SIDECAR_CONTAINER);
  const runs = text(sidecar, "image");
  return runs === (spec.sidecar.image ?? image) ? undefined : runs;
}

function parsed(value: string | undefined): Rendering | undefined {
  try {
    const found: unknown = JSON.parse(value ?? "null");
    const [inputs, config, template] = [text(found, "inputs"), text(found, "config"), field(found, "template")];
    if (inputs === undefined || config === undefined || typeof template !== "object" || template === null)
      return undefined;
    return { inputs, config, template };
  } catch {
    // Somebody has changed it by hand: as if there were none.
    return undefined;
  }
}

function withoutDefaults(value: unknown, defaults: unknown): unknown {
  if (Array.isArray(value)) {
    const one: unknown = Array.isArray(defaults) ? defaults[0] : undefined;
    return value.map((each) => withoutDefaults(each, one));
  }
  if (!isRecord(value) || !isRecord(defaults)) return value;
  const rest = Object.entries(value).flatMap(([key, each]) => {
    const usual = defaults[key];
    const left = withoutDefaults(each, usual);
    const isUsual = JSON.stringify(inOrder(each)) === JSON.stringify(inOrder(usual));
    return isUsual || (isRecord(left) && Object.keys(left).length === 0) ? [] : [[key, left] as const];
  });
  return Object.fromEntries(rest);
}
