import { MetaMasterError } from "../base/errors.js";
import { hasCode } from "../base/errors.js";
import type { KubeClient, KubeObject } from "./client.js";
import { field, isObject } from "./json.js";
import type { LeaseRecord, LeaseStore, StoredLease } from "./leases.js";
import type { KubeResource } from "./resource.js";

const textMax = 1024;
/** The API keeps the holder only: whether it was one of this Lease's who wrote last, a purge has to know. */
const HELD_BY = "metamaster.io/held-by";

/** One Lease of the API (coordination.k8s.io/v1). */
export class KubeLeases implements LeaseStore {
  readonly #client: KubeClient;
  readonly #resource: KubeResource & { readonly namespace: string; readonly name: string };
  readonly #labels: Readonly<Record<string, string>>;

  /** `labels`: for one that is made. */
  constructor(client: KubeClient, name: string, labels: Readonly<Record<string, string>>) {
    const { namespace } = client;
    this.#client = client;
    this.#resource = { group: "coordination.k8s.io", version: "v1", resource: "leases", namespace, name };
    this.#labels = labels;
  }

  async read(signal: AbortSignal): Promise<StoredLease | undefined> {
    try {
      return decodeLease(await this.#client.get(this.#resource, signal));
    } catch (error) {
      if (hasCode(error, "KubeNotFound")) return undefined;
      throw error;
    }
  }

  async create(record: LeaseRecord, signal: AbortSignal): Promise<StoredLease> {
    const { namespace, name } = this.#resource;
    const metadata = { namespace, name, labels: this.#labels };
    return decodeLease(await this.#client.create(this.#resource, encodeLease({ metadata }, record), signal));
  }

  async update(from: StoredLease, record: LeaseRecord, signal: AbortSignal): Promise<StoredLease> {
    // Without a version it would not be conditional.
    if (from.resourceVersion === "") throw odd("has no version");
    return decodeLease(await this.#client.update(this.#resource, encodeLease(from.object, record), signal));
  }
}

/** `object` with the record in place: what others put there stays. */
export function encodeLease(object: KubeObject, record: LeaseRecord): KubeObject {
  const before = field(object, "spec");
  const metadata = field(object, "metadata");
  const { managedFields: _, ...kept } = isObject(metadata) ? metadata : {};
  return {
    ...object,
    apiVersion: "coordination.k8s.io/v1",
    kind: "Lease",
    metadata: withHistory(kept, record),
    spec: {
      ...(isObject(before) ? before : {}),
      holderIdentity: record.holder,
      leaseDurationSeconds: Math.max(1, Math.ceil(record.durationMs / 1000)),
      acquireTime: record.acquireTime,
      renewTime: record.renewTime,
      leaseTransitions: record.transitions,
    },
  };
}

function withHistory(metadata: KubeObject, { heldBy }: LeaseRecord): KubeObject {
  if (heldBy.length === 0) return metadata;
  const { annotations } = metadata;
  return { ...metadata, annotations: { ...(isObject(annotations) ? annotations : {}), [HELD_BY]: heldBy.join(",") } };
}

/** Throws `KubeAnswerInvalid` where it is no Lease. */
export function decodeLease(object: KubeObject): StoredLease {
  const resourceVersion = field(object, "metadata", "resourceVersion");
  if (typeof resourceVersion !== "string" || resourceVersion === "") throw odd("has no version");
  const spec = field(object, "spec") ?? {};
  if (!isObject(spec)) throw odd("has no spec");
  const seconds = count(spec["leaseDurationSeconds"], "leaseDurationSeconds");
  return {
    resourceVersion,
    object,
    record: {
      holder: text(spec["holderIdentity"], "holderIdentity"),
      durationMs: seconds * 1000,
      acquireTime: text(spec["acquireTime"], "acquireTime"),
      renewTime: text(spec["renewTime"], "renewTime"),
      transitions: count(spec["leaseTransitions"], "leaseTransitions"),
      heldBy: names(field(object, "metadata", "annotations", HELD_BY)),
    },
  };
}

function text(value: unknown, name: string): string {
  if (value === undefined || value === null) return "";
  if (typeof value !== "string" || value.length > textMax) throw odd(`has a ${name} that is no text`);
  return value;
}

/** What somebody else may have made of it names nobody. */
function names(value: unknown): readonly string[] {
  return typeof value === "string" ? value.split(",").filter((name) => name !== "") : [];
}

function count(value: unknown, name: string): number {
  if (value === undefined || value === null) return 0;
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) {
    throw odd(`has a ${name} that is no count`);
  }
  return value;
}

function odd(why: string): MetaMasterError {
  return new MetaMasterError("KubeAnswerInvalid", "corrupt", `Kubernetes: the Lease ${why}.`, {
    hint: "Look at it with kubectl; if it is not MetaMaster's, give `election.leaseName` another name.",
  });
}
