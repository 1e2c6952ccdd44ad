import type { Disk } from "./disk.js";
import { History } from "./history.js";
import type { Step } from "./master/files.js";
import { Workload, type WorkloadSettings } from "./master/workload.js";
import { SeededRandom } from "./random.js";
import { Violation } from "./violation.js";

/** Databases that are older than the cluster. */
export interface Past {
  readonly rows: readonly string[];
  /** Every byte of them, by path. */
  readonly files: ReadonlyMap<string, Uint8Array>;
}

/** A master without a sidecar ran on this disk, for so many steps, and was killed; what it left has reached the disk since. */
export function livePast(
  disk: Disk,
  settings: WorkloadSettings,
  random: SeededRandom,
  who: string,
  steps: number,
): Past {
  const history = new History(
    () => 0,
    () => false,
  );
  const parts = { disk, history, who: `${who}-before`, epoch: 0, reopens: true };
  const workload = new Workload(settings, { ...parts, random: random.stream("workload") });
  run(workload.open());
  let [writing, working]: Step[] = [workload.write(), workload.job()];
  for (let step = 0; step < steps; step++) {
    if (random.chance(0.6)) {
      if (writing?.next().done === true) writing = workload.write();
    } else if (working?.next().done === true) working = workload.job();
  }
  const rows = new Workload(settings, { ...parts, random: random.stream("look") }).look();
  disk.syncAll();
  return { rows, files: filesBelow(disk, settings.dataDirectory) };
}

/** Nobody has touched these databases. */
export function checkUntouched(who: string, disk: Disk, directory: string, past: Past): void {
  const now = filesBelow(disk, directory);
  const bad = (what: string): Violation => new Violation("ForeignDataStays", `${who}: ${what}`);
  for (const [path, bytes] of past.files) {
    const found = now.get(path);
    if (found === undefined) throw bad(`${path} is gone`);
    if (Buffer.compare(found, bytes) !== 0) throw bad(`${path} was changed`);
  }
  for (const path of now.keys()) if (!past.files.has(path)) throw bad(`${path} was added`);
}

/** Without what is MetaMaster's own. */
function filesBelow(disk: Disk, directory: string): Map<string, Uint8Array> {
  const found = new Map<string, Uint8Array>();
  const walk = (folder: string): void => {
    for (const { name, kind } of disk.list(folder)) {
      const path = `${folder}/${name}`;
      if (name === ".metamaster") continue;
      if (kind === "directory") walk(path);
      else found.set(path, disk.file(path).data.view().slice());
    }
  };
  walk(directory);
  return found;
}

function run(work: Step): void {
  for (const _ of work);
}
