import { rm, writeFile } from "node:fs/promises";
import { LinuxProcesses } from "../../base/linux-processes.js";
import { hasCode, messageOf, messageWithHint, MetaMasterError } from "../../base/errors.js";
import { fileError } from "../../base/node-file-errors.js";
import { Presence, untilAbsent } from "../../base/presence.js";
import type { Logger } from "../../base/log.js";
import { openCluster } from "../../log/cluster-identity.js";
import type { MemberEnd } from "../../member/context.js";
import type { Master } from "../../member/master/master.js";
import { tellHalt } from "../../member/halted.js";
import { haltFor, haltReasonFor, type Halt } from "../../member/halts.js";
import type { Member } from "../../member/member.js";
import { RoleBoard } from "../../member/roles.js";
import { Scope } from "../../base/scope.js";
import type { OwnPod } from "../../kube/own-pod.js";
import { DirectoryLock } from "../../replica/directory-lock.js";
import { LocalFolders } from "../../replica/local-folders.js";
import type { Progress } from "../../replica/progress.js";
import { StateStore } from "../../replica/state.js";
import { formatAddress } from "../config/address.js";
import type { LoadedConfig } from "../config/load.js";
import { httpFile, loopbackFor } from "../http/client.js";
import { httpDefaults, MemberHttp } from "../http/server.js";
import { MemberMetrics } from "../metrics/member-metrics.js";
import { historyOf, type History } from "./history.js";
import { openKubernetes, type Kubernetes } from "./kubernetes.js";
import type { MasterMaker } from "./master.js";
import { composeMember, type ComposedMember } from "./member.js";
import { keepPod } from "./pod.js";
import { PodWatch } from "./pod-watch.js";
import { keepRoleLabel } from "./role-label.js";
import { seedMember } from "./seed.js";
import { RunningMember } from "./served.js";
import { openStore, type Store } from "./store.js";
import { mayCure, pauseMsAfter, StoreProof } from "./store-proof.js";
import { productVersion, type System } from "./system.js";

export interface RunParts {
  readonly config: LoadedConfig["config"];
  readonly master: MasterMaker;
  readonly system: System;
  readonly logger: Logger;
  readonly progress: Progress;
  /** Told of the master as soon as there is one: whoever ends the process must end it first. */
  readonly onComposed: (member: Member, master: Master) => void;
}

const stoppedEarly: MemberEnd = { reason: "Stopped", masterExit: undefined, unshipped: false };

const CLAIM_TRIES = 3;
const CLAIM_PAUSE_MS = 100;
const LEFT_MASTER_KILL_MS = 10_000;
const STEP_MS = 1000;

/** A whole life of one member: lock, HTTP, probe of the bucket, identity, the member itself. `signal`: stop gracefully. */
export async function runMember(parts: RunParts, signal: AbortSignal): Promise<MemberEnd> {
  const { config, system } = parts;
  const kubernetes = config.election.type === "Lease" ? await openKubernetes(config, system) : undefined;
  const nonce = Buffer.from(system.random.bytes(16)).toString("hex");
  const folders = new LocalFolders(config.dataDirectory);
  const processes = await LinuxProcesses.open(system.fs, process.pid);
  const presence = await settleIn(parts, folders, nonce, signal);
  if (presence === undefined) return stoppedEarly;
  const scope = new Scope(signal);
  try {
    return await runAlone(parts, { kubernetes, nonce, folders, processes, scope }, scope.signal);
  } finally {
    scope.close();
    await presence.leave();
  }
}

interface Home {
  readonly kubernetes: Kubernetes | undefined;
  readonly nonce: string;
  readonly folders: LocalFolders;
  readonly processes: LinuxProcesses;
  /** Of the run: aborted, it ends in order. */
  readonly scope: Scope;
}

async function runAlone(
  parts: RunParts,
  { kubernetes, nonce, folders, processes, scope }: Home,
  signal: AbortSignal,
): Promise<MemberEnd> {
  const { config, system, logger } = parts;
  const lock = await DirectoryLock.acquire(system.fs, folders, processes, nonce, logger);
  const metrics = new MemberMetrics(productVersion());
  const facts = {
    cluster: config.cluster,
    bucket: config.bucket.url,
    version: productVersion(),
    pid: process.pid,
    // Loading this code is part of every start.
    startedWallMs: system.clock.wallMs() - process.uptime() * 1000,
  };
  const { gate, isHeld = () => false } = parts.master;
  const board = new RoleBoard(system.clock);
  const served = new RunningMember(config.member, facts, metrics, board, gate);
  let composed: ComposedMember | undefined;
  metrics.watch({
    status: () => served.memberStatus,
    followedWalBytes: () => composed?.followedWalBytes(),
    wallMs: () => system.clock.wallMs(),
  });
  const http = new MemberHttp(
    { ...httpDefaults, address: config.http.address },
    { clock: system.clock, logger, member: served },
  );
  const over = new AbortController();
  const besides: Promise<void>[] = [];
  try {
    const master = parts.master.make(await announce(http, config, logger));
    const pod = kubernetes === undefined ? undefined : watchPod(parts, kubernetes, scope);
    if (pod !== undefined) {
      besides.push(pod.watch.run(over.signal), keepRoleLabel({ ...system, logger, roles: board, ...pod }, over.signal));
    }
    await parts.master.acquainted?.();
    // A container beside us may run already, beside a member that was killed: what it writes nobody vouches for.
    const wasLeft = gate !== undefined && isHeld();
    if (gate !== undefined && !(await endLeftMaster(parts, master, served, signal))) return stoppedEarly;
    const reached = await untilReached(parts, served, signal, async () => {
      const found = await reach(parts, folders, metrics, signal);
      try {
        await seedMember(parts, found.history, signal);
        return found;
      } catch (error) {
        await found.history.store.single.close();
        throw error;
      }
    });
    if (reached === undefined) return stoppedEarly;
    const { history, proof } = reached;
    const run = { member: config.member, nonce, bootId: processes.self.bootId };
    composed = composeMember({ ...parts, metrics, history, proof, run, master, kubernetes, board });
    served.begin(composed.member, history.cluster.uid, () => proof.trouble ?? history.store.trouble());
    parts.onComposed(composed.member, master);
    const { member } = composed;
    if (pod !== undefined && gate !== undefined) {
      besides.push(keepPod({ ...system, logger, member, gate, isHeld, wasLeft, ...pod, config }, over.signal));
    }
    let refused: { readonly error: unknown } | undefined;
    const refuse = (error: unknown): void => {
      refused = { error };
      scope.abort(error);
    };
    besides.push(proof.run(over.signal).catch(refuse));
    const end = await member.run(signal);
    // As if it had been found out before there was a member: it has led nowhere.
    if (refused !== undefined) throw refused.error;
    return end;
  } finally {
    over.abort(new Error("the member has ended"));
    await Promise.all(besides);
    kubernetes?.client.close();
    await http.close();
    await rm(httpFile(config.dataDirectory), { force: true });
    await lock.release();
  }
}

/** Once the pod's object is gone no Service leads here, nobody can ask for anything, and another pod is made: this member ends in order, its tail shipped and its lease released. */
function watchPod(
  { system, logger }: RunParts,
  { pod }: Kubernetes,
  scope: Scope,
): { readonly pod: OwnPod; readonly watch: PodWatch } {
  const onGone = (): void => {
    const why = "this pod is gone from Kubernetes, and nobody has ended it here";
    logger.warn({}, `${why}: stopping`);
    scope.abort(new MetaMasterError("MemberStopped", "transient", why));
  };
  return { pod, watch: new PodWatch({ pod, clock: system.clock, logger, onGone }) };
}

/**
 * Makes this process the one of the directory. In a pod it waits for another one to end: a pod that was deleted by force may still run while its successor starts on the same machine,
 * and volume. Undefined: told to stop.
 */
async function settleIn(
  { system, logger, master }: RunParts,
  folders: LocalFolders,
  nonce: string,
  signal: AbortSignal,
): Promise<Pick<Presence, "leave"> | undefined> {
  await system.fs.makeDirectory(folders.root);
  await system.fs.makeDirectory(folders.alive);
  for (let tries = 1; ; tries++) {
    const presence = await Presence.claim(folders.alive, `${nonce}-${tries}`);
    if (presence === "unsupported") {
      logger.warn({}, `${folders.alive} takes no sockets: another container with this volume would not be noticed`);
      return { leave: async () => undefined };
    }
    if (presence !== "taken") return presence;
    try {
      if (tries > CLAIM_TRIES) {
        const inUse = await DirectoryLock.inUse(system.fs, folders);
        if (master.gate === undefined) throw inUse;
        logger.warn({}, `${inUse.message} It may be of a pod that is going; waiting for its end.`);
        await untilAbsent(folders.alive, signal);
      }
      // Two who came at the same moment refuse each other.
      await system.clock.sleep(CLAIM_PAUSE_MS * system.random.float(), signal);
    } catch (error) {
      if (signal.aborted) return undefined;
      throw error;
    }
  }
}

/** Ends it in order if it takes that: its tail is shipped once this member leads again. False: told to stop while somebody still has a database open. */
async function endLeftMaster(
  { config, logger, system }: RunParts,
  master: Master,
  served: RunningMember,
  signal: AbortSignal,
): Promise<boolean> {
  logger.info({}, "nobody may open the databases until this member is primary; a master that is there is ended");
  for (;;) {
    try {
      await master.stop({ graceMs: config.stop.grace, killWithinMs: LEFT_MASTER_KILL_MS });
      served.trouble = undefined;
      return true;
    } catch (error) {
      if (signal.aborted) return false;
      if (!hasCode(error, "MasterWillNotDie")) throw error;
      served.trouble = messageWithHint(error);
      logger.warn({ err: error }, `nothing is done on this volume before it has ended: ${messageWithHint(error)}`);
      await system.clock.sleep(STEP_MS, signal).catch(() => undefined);
      if (signal.aborted) return false;
    }
  }
}

/** Listens, and writes down where: the command line finds the member by it. */
async function announce(http: MemberHttp, config: LoadedConfig["config"], logger: Logger): Promise<string> {
  const bound = await http.listen();
  const url = `http://${formatAddress(loopbackFor(bound))}`;
  const path = httpFile(config.dataDirectory);
  try {
    await writeFile(path, `${JSON.stringify({ url, pid: process.pid, member: config.member })}\n`);
  } catch (error) {
    throw fileError(error, "write to", path);
  }
  logger.info({ url, cluster: config.cluster }, `member ${config.member} of ${config.cluster} answers on ${url}`);
  return url;
}

interface Reached {
  readonly history: History;
  readonly proof: StoreProof;
}

/** The bucket, and the cluster in it, which is this disk's. Found safe before anything is put into it; where there is a history already, that is left to whoever needs it. */
async function reach(
  parts: RunParts,
  folders: LocalFolders,
  metrics: MemberMetrics,
  signal: AbortSignal,
): Promise<Reached> {
  const { config, system, logger } = parts;
  const store: Store = await openStore(config, system, logger, metrics);
  try {
    const proof = new StoreProof({ ...system, store, config, logger });
    // What is fetched from another cluster begins a history.
    if (config.bootstrapFrom !== undefined) await proof.attempt(signal);
    const found = await new StateStore(system.fs, folders).read();
    const uid = found.found === "state" ? found.state.cluster : undefined;
    const beforeCreation = (inner: AbortSignal): Promise<void> => proof.attempt(inner);
    const cluster = await openCluster({ ...system, bucket: store.steady, beforeCreation }, { uid }, signal);
    return { history: historyOf(store, cluster, system, logger), proof };
  } catch (error) {
    await store.single.close();
    throw error;
  }
}

/** What waiting may cure is waited for, said each time; the rest is thrown. Undefined: told to stop. */
async function untilReached(
  { config, system, logger }: RunParts,
  served: RunningMember,
  signal: AbortSignal,
  work: () => Promise<Reached>,
): Promise<Reached | undefined> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await work();
    } catch (error) {
      if (signal.aborted) return undefined;
      const reason = haltReasonFor(error);
      if (reason !== undefined) {
        if (!(await standStill(served, haltFor(error, reason, system.clock.wallMs()), logger, signal)))
          return undefined;
        continue;
      }
      if (!mayCure(error, config)) throw error;
      served.trouble = messageWithHint(error);
      logger.warn(
        { err: error, tries },
        `${["BootstrapSourceUnusable", "BootstrapEmptied"].some((code) => hasCode(error, code)) ? "the history can't begin yet" : "the bucket can't be reached yet"}: ${messageOf(error)}`,
      );
      try {
        await system.clock.sleep(pauseMsAfter(tries), signal);
      } catch {
        return undefined;
      }
    }
  }
}

/** Ending would only have whoever started this process start it again, with nobody there to say why. False: told to stop. */
async function standStill(served: RunningMember, halt: Halt, logger: Logger, signal: AbortSignal): Promise<boolean> {
  tellHalt(halt, logger);
  try {
    await served.stayHalted(halt, signal);
    return true;
  } catch (error) {
    if (!signal.aborted) throw error;
    return false;
  }
}
