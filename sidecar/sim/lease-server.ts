import { MetaMasterError } from "../src/base/errors.js";
import type { LeaseRecord, LeaseStore, StoredLease } from "../src/kube/leases.js";
import { callOver, type NetworkEnd } from "./network.js";

/** The one Lease that all members share, as an API server keeps it: every writing is conditional on the version it was made from. */
export class LeaseServer {
  #stored: StoredLease | undefined;
  #version = 0;
  /** How often the holder became another one. */
  transfers = 0;

  get stored(): StoredLease | undefined {
    return this.#stored;
  }

  /** By an administrator. */
  remove(): void {
    this.#stored = undefined;
  }

  create(record: LeaseRecord): StoredLease {
    if (this.#stored !== undefined) throw conflict("there is one");
    return this.#put(record);
  }

  update(from: StoredLease, record: LeaseRecord): StoredLease {
    if (this.#stored === undefined) throw new MetaMasterError("KubeNotFound", "invalid", "there is no lease");
    if (this.#stored.resourceVersion !== from.resourceVersion) throw conflict("it was modified");
    return this.#put(record);
  }

  /** As an update without a version does it. */
  overwrite(record: LeaseRecord): StoredLease {
    return this.#put(record);
  }

  #put(record: LeaseRecord): StoredLease {
    if (record.holder !== this.#stored?.record.holder) this.transfers += 1;
    this.#stored = { resourceVersion: String(++this.#version), record, object: {} };
    return this.#stored;
  }
}

function conflict(why: string): MetaMasterError {
  return new MetaMasterError("KubeConflict", "conflict", `the lease: ${why}`);
}

/** The lease as one process sees it over a bad network. */
export class SimulatedLeases implements LeaseStore {
  readonly #server: LeaseServer;
  readonly #end: NetworkEnd;

  constructor(server: LeaseServer, end: NetworkEnd) {
    this.#server = server;
    this.#end = end;
  }

  read(signal: AbortSignal): Promise<StoredLease | undefined> {
    return this.#call("read the lease", signal, () => this.#server.stored);
  }

  create(record: LeaseRecord, signal: AbortSignal): Promise<StoredLease> {
    return this.#call("create the lease", signal, () => this.#server.create(record));
  }

  update(from: StoredLease, record: LeaseRecord, signal: AbortSignal): Promise<StoredLease> {
    return this.#call("update the lease", signal, () => this.#server.update(from, record));
  }

  #call<T>(what: string, signal: AbortSignal, effect: () => T): Promise<T> {
    return callOver(this.#end, { what, codes: "Kube", signal, effect: async () => effect() });
  }
}
