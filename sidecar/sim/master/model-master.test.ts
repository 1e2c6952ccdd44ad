import { describe, expect, test } from "@jest/globals";
import { Disk } from "../disk.js";
import { History } from "../history.js";
import { SeededRandom } from "../random.js";
import { Violation } from "../violation.js";
import type { Step } from "./files.js";
import { masterProfile } from "./profile.js";
import { Workload } from "./workload.js";

interface Bench {
  readonly disk: Disk;
  readonly random: SeededRandom;
  readonly history: History;
  readonly open: (epoch: number, reopens?: boolean) => Workload;
}

function bench(seed: number): Bench {
  const random = new SeededRandom(seed, "test");
  const disk = new Disk(1n, () => 0);
  const history = new History(
    () => 0,
    () => false,
  );
  const { workload } = masterProfile(random.stream("profile"), "/data");
  disk.makeDirectory("/data");
  const open = (epoch: number, reopens = false): Workload =>
    new Workload(workload, { disk, random: random.stream(`epoch ${epoch}`), history, who: "a", epoch, reopens });
  return { disk, random, history, open };
}

function finish(work: Step): void {
  for (const _ of work);
}

/** Runs pieces of work side by side for so many steps, then drops them where they are: a kill. */
function churn(workload: Workload, random: SeededRandom, steps: number): void {
  let writing = workload.write();
  let working = workload.job();
  for (let step = 0; step < steps; step++) {
    if (random.chance(0.6)) {
      if (writing.next().done === true) writing = workload.write();
    } else if (working.next().done === true) working = workload.job();
  }
}

describe("the model master", () => {
  test("finds all it wrote after any number of kills", () => {
    let rows = 0;
    for (let seed = 0; seed < 60; seed++) {
      const { random, history, open } = bench(seed);
      for (let round = 0; round < 6; round++) {
        const workload = open(1, round > 0);
        if (random.chance(0.2)) {
          const opening = workload.open();
          for (let step = random.between(0, 6); step > 0; step--) opening.next();
          continue;
        }
        finish(workload.open());
        churn(workload, random, random.between(0, 150));
        // Nothing but a kill: what was written stays.
        history.acknowledges("a", 1, workload.written);
      }
      finish(open(1, true).open());
      rows += history.acknowledgedRows;
    }
    expect(rows).toBeGreaterThan(2000);
  });

  test("sees a missing table, a hole in the WALs, a foreign row, a lost acknowledged one and companions of another time", () => {
    const seen = new Set<string>();
    for (let seed = 0; seed < 200; seed++) {
      const { disk, random, history, open } = bench(seed);
      const workload = open(1);
      finish(workload.open());
      churn(workload, random, 120);
      history.acknowledges("a", 1, workload.written);
      const directory = random.pick(["/data/db0", "/data/db0/wal"].filter((path) => disk.exists(path)));
      const victims = disk.list(directory).filter(({ name }) => /\.(sst|log)$/.test(name));
      if (victims.length === 0) continue;
      const victim = `${directory}/${random.pick(victims).name}`;
      const { data } = disk.file(victim);
      if (data.size === 0) continue;
      if (random.chance(0.5)) disk.unlink(victim);
      else data.truncate(random.between(0, data.size - 1));
      try {
        finish(open(2).open());
      } catch (error) {
        if (!(error instanceof Violation)) throw error;
        seen.add(error.invariant);
      }
    }
    expect([...seen].toSorted()).toEqual(["AcknowledgedIsKept", "CompanionsBelong", "ImageOpens", "NoHole"]);
  });
});
