import { CoordinationV1Api, V1MicroTime, type KubeConfig, type V1Lease } from "@kubernetes/client-node";
import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "../log.js";
import { statusCodeOf } from "./refusal.js";

export interface LeadershipSettings {
  readonly name: string;
  readonly namespace: string;
  /** This process. */
  readonly identity: string;
  readonly leaseMs: number;
  readonly renewDeadlineMs: number;
  readonly retryMs: number;
}

const CALL_MS = 4000;

/**
 * One operator of several works at a time. Times are this process's own: a lease is waited for from having read it, and a leader counts from having sent its last renewal. Two that worked at once
 * would do no harm, only twice the work: what is dangerous the members and the log decide.
 */
export class Leadership {
  readonly #settings: LeadershipSettings;
  readonly #api: CoordinationV1Api;
  readonly #logger: Logger;
  #provenMs = -Infinity;
  /** As this process wrote it last: it is renewed without being read again, and refused (409) if somebody else has written since. */
  #ours: V1Lease | undefined;
  #seen: { readonly version: string; readonly atMs: number } | undefined;

  constructor(settings: LeadershipSettings, config: KubeConfig, logger: Logger) {
    this.#settings = settings;
    this.#api = config.makeApiClient(CoordinationV1Api);
    this.#logger = logger;
  }

  /** By its own clock: one that was stopped for a while, or can't renew, has done with writing before another one begins. */
  get leads(): boolean {
    return performance.now() - this.#provenMs < this.#settings.leaseMs;
  }

  /** Resolves once it leads; rejects with the signal's reason. */
  async won(signal: AbortSignal): Promise<void> {
    let said = "";
    for (;;) {
      signal.throwIfAborted();
      const sentMs = performance.now();
      try {
        const holder = await this.#inTime();
        if (holder === undefined) {
          this.#provenMs = sentMs;
          return;
        }
        if (holder !== said) this.#logger.info({ holder }, `${holder} leads, waiting`);
        said = holder;
      } catch (error) {
        this.#logger.warn({ err: error }, "the operator's lease can't be taken, trying again");
      }
      await sleep(this.#settings.retryMs, undefined, { signal });
    }
  }

  /** Renews it; resolves when it is lost, or with the signal. */
  async held(signal: AbortSignal): Promise<void> {
    const { retryMs, renewDeadlineMs } = this.#settings;
    while (!signal.aborted && performance.now() - this.#provenMs < renewDeadlineMs) {
      await sleep(retryMs, undefined, { signal }).catch(() => undefined);
      if (signal.aborted) return;
      const sentMs = performance.now();
      try {
        if ((await this.#inTime()) !== undefined) {
          this.#provenMs = -Infinity;
          return;
        }
        this.#provenMs = sentMs;
      } catch (error) {
        this.#logger.warn({ err: error }, "the operator's lease can't be renewed, trying again");
      }
    }
  }

  /** Lets another one work at once. */
  async release(): Promise<void> {
    const { name, namespace } = this.#settings;
    this.#provenMs = -Infinity;
    try {
      const lease = await this.#api.readNamespacedLease({ name, namespace });
      if (lease.spec?.holderIdentity !== this.#settings.identity) return;
      await this.#api.replaceNamespacedLease({
        name,
        namespace,
        body: { ...lease, spec: { ...lease.spec, holderIdentity: "" } },
      });
    } catch (error) {
      this.#logger.warn({ err: error }, "the operator's lease could not be given back, it runs out by itself");
    }
  }

  /** A call that hangs must not take the time of all others. */
  async #inTime(): Promise<string | undefined> {
    const over = new AbortController();
    const late = async (): Promise<never> => {
      await sleep(CALL_MS, undefined, { signal: over.signal });
      throw new Error(`no answer within ${CALL_MS} ms`);
    };
    try {
      return await Promise.race([this.#try(), late()]);
    } finally {
      over.abort();
    }
  }

  /** Undefined: it is ours. Else who holds it. */
  async #try(): Promise<string | undefined> {
    const { name, namespace, identity } = this.#settings;
    if (await this.#renewed()) return undefined;
    let lease: V1Lease;
    try {
      lease = await this.#api.readNamespacedLease({ name, namespace });
    } catch (error) {
      if (statusCodeOf(error) !== 404) throw error;
      const body = { metadata: { name, namespace }, spec: this.#record(0) };
      this.#ours = await this.#api.createNamespacedLease({ namespace, body });
      return undefined;
    }
    const holder = lease.spec?.holderIdentity ?? "";
    if (holder !== identity && holder !== "" && !this.#hasRunOut(lease)) return holder;
    const transitions = (lease.spec?.leaseTransitions ?? 0) + (holder === identity ? 0 : 1);
    try {
      await this.#write(lease, transitions);
    } catch (error) {
      if (statusCodeOf(error) === 409) return "another one, which was faster";
      throw error;
    }
    return undefined;
  }

  /** False: it is to be read. An answer that was lost has changed it, too. */
  async #renewed(): Promise<boolean> {
    const lease = this.#ours;
    this.#ours = undefined;
    if (lease === undefined) return false;
    try {
      await this.#write(lease, lease.spec?.leaseTransitions ?? 0);
      return true;
    } catch (error) {
      if ([404, 409].includes(statusCodeOf(error) ?? 0)) return false;
      throw error;
    }
  }

  async #write(lease: V1Lease, transitions: number): Promise<void> {
    const { name, namespace } = this.#settings;
    const body = { ...lease, spec: { ...lease.spec, ...this.#record(transitions) } };
    this.#ours = await this.#api.replaceNamespacedLease({ name, namespace, body });
  }

  #hasRunOut(lease: V1Lease): boolean {
    const version = lease.metadata?.resourceVersion ?? "";
    const nowMs = performance.now();
    if (this.#seen?.version !== version) this.#seen = { version, atMs: nowMs };
    return nowMs - this.#seen.atMs > Math.max(this.#settings.leaseMs, (lease.spec?.leaseDurationSeconds ?? 0) * 1000);
  }

  #record(leaseTransitions: number): NonNullable<V1Lease["spec"]> {
    const { identity, leaseMs } = this.#settings;
    const now = new V1MicroTime();
    return {
      holderIdentity: identity,
      leaseDurationSeconds: Math.ceil(leaseMs / 1000),
      acquireTime: now,
      renewTime: now,
      leaseTransitions,
    };
  }
}
