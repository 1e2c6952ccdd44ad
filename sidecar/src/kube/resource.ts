/** A resource of the API: what a URL, an RBAC rule and a message are made of. */
export interface KubeResource {
  /** "": the core group. */
  readonly group: string;
  readonly version: string;
  /** Plural: `leases`. */
  readonly resource: string;
  /** Undefined: of the whole cluster. */
  readonly namespace?: string;
  /** Undefined: the collection. */
  readonly name?: string;
}

export type KubeVerb = "get" | "list" | "watch" | "create" | "update" | "patch" | "delete";

export function pathOf({ group, version, resource, namespace, name }: KubeResource): string {
  const root = group === "" ? `/api/${version}` : `/apis/${group}/${version}`;
  const within = namespace === undefined ? "" : `/namespaces/${encodeURIComponent(namespace)}`;
  const which = name === undefined ? "" : `/${encodeURIComponent(name)}`;
  return `${root}${within}/${resource}${which}`;
}

/** `lease meta/primary` */
export function textOf({ resource, namespace, name }: KubeResource): string {
  if (name === undefined) return namespace === undefined ? resource : `${resource} of namespace ${namespace}`;
  return `${resource.slice(0, -1)} ${namespace === undefined ? "" : `${namespace}/`}${name}`;
}

/** The rule that is missing, as it stands in a Role. A creation can't be limited by name. */
export function ruleOf(verb: KubeVerb, { group, resource, namespace, name }: KubeResource): string {
  const names = name === undefined || verb === "create" ? "" : `, resourceNames: ["${name}"]`;
  const where = namespace === undefined ? "ClusterRole" : `Role in namespace ${namespace}`;
  return `a ${where} with {apiGroups: ["${group}"], resources: ["${resource}"], verbs: ["${verb}"]${names}}`;
}
