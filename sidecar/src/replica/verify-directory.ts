import { MetaMasterError } from "../base/errors.js";
import type { ImagePath } from "../formats/entry.js";
import type { ImageState } from "../formats/image.js";
import { findDamage, localAppends } from "./ahead.js";
import { CompareSink } from "./compare-sink.js";
import { proveExact } from "./continuity.js";
import { findPosition } from "./history.js";
import { replayFrom, sameSmall } from "./restore.js";
import { pickBase, type SnapshotShelf } from "./restore-target.js";
import { FileDigests } from "./ship/digests.js";
import type { LocalState, StateStore } from "./state.js";
import { listLocal } from "./sweep.js";
import type { ReplicaTools } from "./tools.js";
import type { Finding, VerifyReport } from "./verify.js";

/**
 * A directory that no sidecar uses, against the history that its state says it is part of: every byte of WALs and MANIFESTs, small files, and the sha256 of tables. Changes
 * nothing. What a primary holds beyond the log is no fault.
 */
export async function verifyDirectory(
  tools: ReplicaTools,
  shelf: SnapshotShelf,
  store: StateStore,
  signal: AbortSignal,
): Promise<VerifyReport> {
  const found = await store.read();
  if (found.found !== "state") {
    const message = found.found === "none" ? "nothing says what this directory is part of" : found.error.message;
    return report(
      [error(found.found === "none" ? "StateMissing" : "StateUnreadable", tools.folders.state, message)],
      0,
    );
  }
  const { state } = found;
  if (state.role === "restoring") {
    return report(
      [error("RestoreUnfinished", tools.folders.root, "a restore into this directory did not come to its end")],
      0,
    );
  }
  try {
    const { position } =
      state.role === "primary" && state.claim !== undefined ? { position: state.claim } : state.image;
    await findPosition(tools.reader, position, signal);
    return await compare(tools, shelf, state, signal);
  } catch (thrown) {
    if (!(thrown instanceof MetaMasterError) || thrown.kind !== "corrupt") throw thrown;
    return report([error(thrown.code, tools.folders.root, thrown.message)], 0);
  }
}

async function compare(
  tools: ReplicaTools,
  shelf: SnapshotShelf,
  state: LocalState,
  signal: AbortSignal,
): Promise<VerifyReport> {
  const exact = state.role === "follower";
  const { slot } = state.image.position;
  const target = exact && slot >= 0 ? ({ kind: "slot", slot } as const) : ({ kind: "end" } as const);
  const sink = new CompareSink(tools.fs, tools.layout);
  try {
    const image =
      exact && slot < 0
        ? state.image
        : await replayFrom(tools, sink, await pickBase(tools, shelf, target, signal), target, signal);
    const findings = sink
      .different(localAppends(tools.layout, image))
      .map((path) => error("FileDiffers", tools.layout.toLocal(path), "bytes of it are not those of the log"));
    const files = exact ? await wholeImage(tools, image, findings, signal) : await aheadOf(tools, image, findings);
    return { ...report(findings, files.bytes), objects: files.count, end: image.position };
  } finally {
    await sink.close();
  }
}

interface Looked {
  count: number;
  bytes: number;
}

async function wholeImage(
  tools: ReplicaTools,
  image: ImageState,
  findings: Finding[],
  signal: AbortSignal,
): Promise<Looked> {
  const { fs, layout, progress } = tools;
  const digests = new FileDigests(fs);
  const looked: Looked = { count: 0, bytes: 0 };
  for (const [path, file] of image.files) {
    const local = layout.toLocal(path);
    const stat = await fs.stat(local);
    progress.report("files", ++looked.count, image.files.size);
    looked.bytes += stat?.size ?? 0;
    const fault = await faultOf();
    if (fault !== undefined) findings.push(error(stat === undefined ? "FileMissing" : "FileDiffers", local, fault));

    async function faultOf(): Promise<string | undefined> {
      if (stat === undefined) return "it is part of the image, and missing";
      if (stat.kind !== (file.kind === "directory" ? "directory" : "file")) return "it is of another kind";
      if (file.kind === "append" && stat.size < file.size) return `it has ${stat.size} of ${file.size} bytes`;
      if (file.kind === "small" && !(await sameSmall(tools, local, file)))
        return "its bytes or permissions are not those of the log";
      if (file.kind !== "table") return undefined;
      if (stat.size !== file.size) return `it has ${stat.size} bytes, ${file.size} in the log`;
      return (await digests.of(local, stat, signal)).sha256 === file.sha256
        ? undefined
        : "its sha256 is not that of the log";
    }
  }
  await extras(tools, image, findings);
  if (findings.length === 0) await proven(tools, image, findings);
  return looked;
}

/** A follower may hold what it had applied and not yet recorded: odd, and set back at its next start. */
async function extras(tools: ReplicaTools, image: ImageState, findings: Finding[]): Promise<void> {
  const known = (path: ImagePath): boolean => image.files.has(path);
  for (const { path, local } of await listLocal(tools)) {
    if (known(path)) continue;
    findings.push({
      severity: "warning",
      code: "FileUnknown",
      subject: local,
      message: "it is not part of the image; the next start removes it",
    });
  }
}

async function proven(tools: ReplicaTools, image: ImageState, findings: Finding[]): Promise<void> {
  try {
    await proveExact(tools, image);
  } catch (thrown) {
    if (!(thrown instanceof MetaMasterError) || thrown.kind !== "corrupt") throw thrown;
    // Bytes behind a recorded size are the next start's to cut.
    findings.push({ severity: "warning", code: thrown.code, subject: tools.folders.root, message: thrown.message });
  }
}

async function aheadOf(tools: ReplicaTools, image: ImageState, findings: Finding[]): Promise<Looked> {
  const damage = await findDamage(tools, image);
  if (damage !== undefined) findings.push(error(damage.code, tools.folders.root, damage.message));
  const files = await listLocal(tools);
  return { count: files.length, bytes: files.reduce((sum, { size }) => sum + size, 0) };
}

function error(code: string, subject: string, message: string): Finding {
  return { severity: "error", code, subject, message };
}

function report(findings: readonly Finding[], bytes: number): VerifyReport {
  return { findings, entries: 0, snapshots: 0, objects: 0, bytes, end: { slot: -1, chain: "" } };
}
