import { copyFile, link, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { Disk } from "../../sim/disk.js";
import { SimulatedFileSystem } from "../../sim/file-system.js";
import { Incarnation } from "../../sim/incarnation.js";
import { SeededRandom } from "../../sim/random.js";
import { Scheduler } from "../../sim/scheduler.js";
import type { FileSystem } from "../base/file-system.js";
import { NodeFileSystem } from "../base/node-file-system.js";
import type { Bucket } from "../bucket/bucket.js";
import { LOG_PREFIX, logKey, SNAPSHOT_PREFIX } from "../formats/entry.js";
import { StateStore } from "./state.js";
import type { Files } from "./ship/testing/recover.js";
import { diskFiles, differences, rowCount, World, type Member } from "./testing/world.js";

const quick = { slowShare: 0, slowMsMax: 0, watchDelayMsMax: 0, watchLostShare: 0 };
/** Seeds of one test; each names itself when it fails. */
const BATCHES = Array.from({ length: 12 }, (_, batch) => batch);
const SEEDS_IN_BATCH = 10;

async function eachSeed(batch: number, work: (seed: number) => Promise<void>): Promise<void> {
  for (let seed = batch * SEEDS_IN_BATCH; seed < (batch + 1) * SEEDS_IN_BATCH; seed++) {
    try {
      await work(seed);
    } catch (error) {
      throw new Error(`seed ${seed}`, { cause: error });
    }
  }
}

/** A machine that can die: its process at a given operation on the disk, and the power with it. */
class Machine {
  readonly scheduler = new Scheduler();
  readonly disk = new Disk(1n, () => this.scheduler.nowMs);
  readonly random: SeededRandom;
  boot = 1;

  constructor(seed: number) {
    this.random = new SeededRandom(seed, "crash");
  }

  /** Runs `work` on a fresh process that dies at the given operation; true if it lived. */
  async run(operations: number, power: boolean, work: (fs: FileSystem) => Promise<void>): Promise<boolean> {
    const incarnation = new Incarnation(this.scheduler, "x");
    const dead = Promise.withResolvers<false>();
    incarnation.dieAtOperation(operations, () => {
      incarnation.crash();
      dead.resolve(false);
    });
    const fs = new SimulatedFileSystem(this.disk, incarnation, this.random, quick);
    const lived = await Promise.race([dead.promise, work(fs).then(() => true)]);
    if (!lived && power) {
      this.disk.powerFailure(this.random);
      this.boot++;
    }
    return lived;
  }

  /** The files of `from` as they are on the real disk, durable here. */
  async copy(from: string): Promise<void> {
    const real = new NodeFileSystem();
    const walk = async (directory: string): Promise<void> => {
      this.disk.makeDirectory(directory);
      for (const { name, kind } of await real.list(directory)) {
        const path = `${directory}/${name}`;
        if (kind === "directory") await walk(path);
        else {
          const file = this.disk.create(path);
          this.disk.write(file, await real.readFile(path, 1e9), 0);
          file.data.sync();
        }
      }
      for (let each = directory; each !== "/"; each = each.slice(0, Math.max(1, each.lastIndexOf("/"))))
        this.disk.syncDirectory(each);
      this.disk.syncDirectory("/");
    };
    await walk(from);
  }
}

/** The bucket as it was when the log ended at `slot`. */
function until(world: World, slot: number): Bucket {
  const { bucket } = world;
  const hidden = (key: string): boolean =>
    (key.startsWith(LOG_PREFIX) && key > logKey(slot)) ||
    (key.startsWith(SNAPSHOT_PREFIX) && Number.parseInt(key.slice(SNAPSHOT_PREFIX.length), 10) > slot);
  return {
    url: bucket.url,
    putIfAbsent: (key, body, call) => bucket.putIfAbsent(key, body, call),
    put: (key, source, call) => bucket.put(key, source, call),
    get: async (key, call) => (hidden(key) ? undefined : await bucket.get(key, call)),
    head: async (key, call) => (hidden(key) ? undefined : await bucket.head(key, call)),
    list: async (prefix, call) => {
      const page = await bucket.list(prefix, call);
      return { ...page, objects: page.objects.filter(({ key }) => !hidden(key)) };
    },
    delete: (key, call) => bucket.delete(key, call),
    close: () => bucket.close(),
  };
}

describe("killed, or out of power, at any operation on the disk", () => {
  let world: World;
  let old: Member;
  let end: number;
  let files: Files;
  const companions = ["meta/**"];
  beforeAll(async () => {
    world = await World.open();
    old = world.member("a", { companions });
    await old.lead();
    const database = await old.create();
    await mkdir(`${old.directory}/meta/ck-1`, { recursive: true });
    await writeFile(`${old.directory}/meta/VERSION`, "1");
    for (let round = 0; round < 4; round++) {
      await database.put(10);
      await old.barrier();
      await database.flush();
      if (round === 1) await link(database.tableFiles[0]!, `${old.directory}/meta/ck-1/000001.sst`);
      if (round === 2) {
        await rm(`${old.directory}/meta/ck-1`, { recursive: true });
        await writeFile(`${old.directory}/meta/VERSION`, "2");
        await database.compact();
      }
      if (round === 3) await database.rollManifest();
      await old.checkpoint();
    }
    await database.put(10);
    await old.barrier();
    const standby = world.member("b", { companions });
    await standby.follow();
    await old.die();
    // What never gets to the bucket: a tail, and a table.
    await database.put(5);
    await database.flush();
    await database.put(2);
    await standby.lead();
    const next = world.member("c", { companions });
    await copyFile(`${old.directory}/meta/VERSION`, `${standby.directory}/meta/VERSION`);
    await next.follow();
    await standby.die();
    end = (await world.entries()).at(-1)!.position.slot;
    files = await world.files();
  });
  afterAll(() => world.close());

  const settled = async (machine: Machine, member: Member): Promise<void> => {
    await machine.run(Infinity, false, async (fs) => {
      const found = await diskFiles(fs, member.tools.layout);
      expect(differences(found, files)).toEqual([]);
      expect(rowCount(found)).toBe(50n);
    });
  };

  test.each(BATCHES)("a follower ends with the image (batch %i)", (batch) =>
    eachSeed(batch, async (seed) => {
      const machine = new Machine(seed);
      const member = world.member(`follower-${seed}`, { companions });
      let slot = 0;
      for (let deaths = 0; ;) {
        const last = deaths >= 5;
        const operations = last ? Infinity : machine.random.between(1, 400);
        const lived = await machine.run(operations, machine.random.chance(0.5), async (fs) => {
          member.fs = fs;
          member.bootId = `boot-${machine.boot}`;
          for (;;) {
            member.bucket = until(world, slot);
            await member.restart();
            await member.follow();
            // What a saved state says is on the disk is there, whatever happened since.
            expect(member.reconciled).not.toMatchObject({ how: "Repaired" });
            if (slot === end) return;
            slot = Math.min(end, slot + machine.random.between(1, 6));
          }
        });
        if (lived) break;
        deaths++;
      }
      await settled(machine, member);
    }),
  );

  test.each(BATCHES)("a restore ends with the image (batch %i)", (batch) =>
    eachSeed(batch, async (seed) => {
      const machine = new Machine(1000 + seed);
      const member = world.member(`restored-${seed}`, { companions });
      for (let deaths = 0; ; deaths++) {
        const operations = deaths >= 4 ? Infinity : machine.random.between(1, 200);
        const lived = await machine.run(operations, machine.random.chance(0.5), async (fs) => {
          member.fs = fs;
          member.bootId = `boot-${machine.boot}`;
          await member.restart();
          expect((await member.reconcile()).state).toBe("Following");
        });
        if (lived) break;
        await machine.run(Infinity, false, async (fs) => {
          const there = await diskFiles(fs, member.tools.layout);
          const state = await new StateStore(fs, member.tools.folders).read();
          const role = state.found === "state" ? state.state.role : state.found;
          // Whatever is there, nobody takes it for a whole database.
          if (there.size > 0 && differences(there, files).length > 0) expect(role).toBe("restoring");
        });
      }
      await settled(machine, member);
    }),
  );

  test.each(BATCHES)("a diverged primary is rewound, and what it held beyond is in quarantine (batch %i)", (batch) =>
    eachSeed(batch, async (seed) => {
      const machine = new Machine(2000 + seed);
      await machine.copy(old.directory);
      const member = world.member(`diverged-${seed}`, { companions, directory: old.directory });
      for (let deaths = 0; ; deaths++) {
        const operations = deaths >= 4 ? Infinity : machine.random.between(1, 200);
        const lived = await machine.run(operations, machine.random.chance(0.5), async (fs) => {
          member.fs = fs;
          member.bootId = `boot-${machine.boot}`;
          await member.restart();
          expect((await member.reconcile()).state).toBe("Following");
        });
        if (lived) break;
      }
      await settled(machine, member);
      await machine.run(Infinity, false, async (fs) => {
        const root = `${old.directory}/.metamaster/quarantine`;
        const kept = await fs.list(root);
        const reports = [];
        for (const { name } of kept) {
          const directory = `${root}/${name}`;
          if ((await fs.stat(`${directory}/report.json`)) === undefined) continue;
          const report: unknown = JSON.parse(
            Buffer.from(await fs.readFile(`${directory}/report.json`, 1e6)).toString(),
          );
          expect(report).toMatchObject({ epoch: 1, databases: [{ database: "db", records: 2, lastSequence: "57" }] });
          const { forkedAt } = report as { forkedAt: { slot: number } };
          const overlaid = await world.files(forkedAt.slot);
          for (const each of await fs.list(`${directory}/files/db`)) {
            overlaid.set(`db/${each.name}`, await fs.readFile(`${directory}/files/db/${each.name}`, 1e9));
          }
          expect(rowCount(overlaid)).toBe(57n);
          reports.push(report);
        }
        expect(reports).toHaveLength(1);
      });
    }),
  );

  test("the whole history was gone through", async () => {
    expect((await world.entries()).length).toBeGreaterThan(10);
    expect([...files.keys()]).toContain("@companions/meta/VERSION");
    await readFile(`${old.directory}/.metamaster/state.json`);
  });
});
