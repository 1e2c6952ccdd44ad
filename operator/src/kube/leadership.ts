import { CoordinationV1Api, V1MicroTime, type KubeConfig, type V1Lease } from "@kubernetes/client-node";
import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "../log.js";
import { statusCodeOf } from "./refused.js";

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
  #seen: { readonly version: string; readonly atMs: number } | undefined;

  constructor(settings: LeadershipSettings, config: KubeConfig, logger: Logger) {
    this.#settings = settings;
    this.#api = config.makeApiClient(CoordinationV1Api);
    this.#logger = logger;
  }

  /** Resolves once it leads; rejects with the signal's reason. */
  async won(signal: AbortSignal): Promise<void> {
    let said = "";
    for (;;) {
      signal.throwIfAborted();
      try {
        const holder = await this.#inTime();
        if (holder === undefined) return;
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
    let provenMs = performance.now();
    while (!signal.aborted && performance.now() - provenMs < renewDeadlineMs) {
      await sleep(retryMs, undefined, { signal }).catch(() => undefined);
      if (signal.aborted) return;
      const sentMs = performance.now();
      try {
        if ((await this.#inTime()) !== undefined) return;
        provenMs = sentMs;
      } catch (error) {
        this.#logger.warn({ err: error }, "the operator's lease can't be renewed, trying again");
      }
    }
  }

  /** Lets another one work at once. */
  async release(): Promise<void> {
    const { name, namespace } = this.#settings;
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
    let lease: V1Lease;
    try {
      lease = await this.#api.readNamespacedLease({ name, namespace });
    } catch (error) {
      if (statusCodeOf(error) !== 404) throw error;
      await this.#api.createNamespacedLease({
        namespace,
        body: { metadata: { name, namespace }, spec: this.#record(0) },
      });
      return undefined;
    }
    const holder = lease.spec?.holderIdentity ?? "";
    if (holder !== identity && holder !== "" && !this.#hasRunOut(lease)) return holder;
    const transitions = (lease.spec?.leaseTransitions ?? 0) + (holder === identity ? 0 : 1);
    try {
      await this.#api.replaceNamespacedLease({
        name,
        namespace,
        body: { ...lease, spec: { ...lease.spec, ...this.#record(transitions) } },
      });
    } catch (error) {
      if (statusCodeOf(error) === 409) return "another one, which was faster";
      throw error;
    }
    return undefined;
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
