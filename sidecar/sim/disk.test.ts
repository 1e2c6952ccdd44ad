import { describe, expect, test } from "@jest/globals";
import { fileSystemContract } from "../src/base/testing/file-system-contract.js";
import { Disk } from "./disk.js";
import { SimulatedFileSystem } from "./file-system.js";
import { Incarnation } from "./incarnation.js";
import { SeededRandom } from "./random.js";
import { Scheduler } from "./scheduler.js";

const quick = { slowShare: 0, slowMsMax: 0, watchDelayMsMax: 0, watchLostShare: 0 };
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");
const bytes = (content: string): Uint8Array => Buffer.from(content, "latin1");

function machine(seed = 1): { disk: Disk; fs: SimulatedFileSystem; incarnation: Incarnation; scheduler: Scheduler } {
  const scheduler = new Scheduler();
  const disk = new Disk(1n, () => scheduler.nowMs);
  const incarnation = new Incarnation(scheduler, "x");
  return {
    disk,
    incarnation,
    scheduler,
    fs: new SimulatedFileSystem(disk, incarnation, new SeededRandom(seed, "fs"), quick),
  };
}

fileSystemContract("the simulated file system", async () => {
  const { disk, fs, scheduler } = machine();
  disk.makeDirectory("/root");
  const settle = async (): Promise<void> => {
    await scheduler.run(() => false, { untilMs: Infinity, steps: 100 });
  };
  return { fs, root: "/root", settle, dispose: async () => {} };
});

/** All outcomes of a power failure over many seeds. */
function outcomes(prepare: (disk: Disk) => void, look: (disk: Disk) => string): Set<string> {
  const seen = new Set<string>();
  for (let seed = 0; seed < 300; seed++) {
    const { disk } = machine();
    prepare(disk);
    disk.powerFailure(new SeededRandom(seed, "power"));
    seen.add(look(disk));
  }
  return seen;
}

describe("a power failure", () => {
  test("keeps synced bytes and any beginning or part of what came after", () => {
    const seen = outcomes(
      (disk) => {
        disk.makeDirectory("/d");
        disk.syncDirectory("/");
        const file = disk.create("/d/f");
        disk.syncDirectory("/d");
        disk.append(file, bytes("ab"));
        file.data.sync();
        disk.append(file, bytes("cd"));
        disk.append(file, bytes("ef"));
      },
      (disk) => text(disk.file("/d/f").data.view()),
    );
    expect(seen).toEqual(new Set(["ab", "abc", "abcd", "abcde", "abcdef", "ab\0\0ef"]));
  });

  test("gives back overwritten and cut synced bytes, or the new ones", () => {
    const seen = outcomes(
      (disk) => {
        const file = disk.create("/f");
        disk.syncDirectory("/");
        disk.write(file, bytes("abcd"), 0);
        file.data.sync();
        disk.write(file, bytes("X"), 1);
        disk.truncate(file, 2);
      },
      (disk) => text(disk.file("/f").data.view()),
    );
    expect(seen).toEqual(new Set(["abcd", "aXcd", "aX", "ab"]));
  });

  test("loses names that no directory sync made durable, and never half a rename", () => {
    const seen = outcomes(
      (disk) => {
        disk.create("/old");
        disk.create("/kept");
        disk.syncDirectory("/");
        disk.rename("/old", "/new");
        disk.link("/kept", "/second");
      },
      (disk) =>
        disk
          .list("/")
          .map(({ name }) => name)
          .join(" "),
    );
    expect(seen).toEqual(new Set(["kept old", "kept old second", "kept new", "kept new second"]));
  });

  test("corrects link counts", () => {
    const { disk } = machine();
    disk.create("/a");
    disk.syncDirectory("/");
    disk.link("/a", "/b");
    expect(disk.stat("/a")?.links).toBe(2);
    let once = false;
    for (let seed = 0; seed < 20 && !once; seed++) {
      const other = machine().disk;
      other.create("/a");
      other.syncDirectory("/");
      other.link("/a", "/b");
      other.powerFailure(new SeededRandom(seed, "power"));
      if (!other.exists("/b")) {
        once = true;
        expect(other.stat("/a")?.links).toBe(1);
      }
    }
    expect(once).toBe(true);
  });

  test("an atomic write is the old or the new content, whole", async () => {
    const seen = new Set<string>();
    for (let seed = 0; seed < 200; seed++) {
      const { disk, fs, incarnation } = machine(seed);
      await fs.writeFileAtomic("/f", bytes("old"));
      incarnation.dieAtOperation(seed % 6, () => incarnation.crash());
      void fs.writeFileAtomic("/f", bytes("new"));
      await new Promise((resolve) => setImmediate(resolve));
      disk.powerFailure(new SeededRandom(seed, "power"));
      seen.add(text(disk.file("/f").data.view()));
    }
    expect(seen).toEqual(new Set(["old", "new"]));
  });
});

describe("the file system of a process", () => {
  test("a killed process has no further effect, but what it wrote stays", async () => {
    const { fs, disk, incarnation } = machine();
    const file = await fs.open("/f", "createExclusive");
    await file.write(bytes("kept"), 0);
    incarnation.crash();
    let answered = false;
    const ended = (): void => void (answered = true);
    file.write(bytes("lost"), 4).then(ended, ended);
    fs.unlink("/f").then(ended, ended);
    await new Promise((resolve) => setImmediate(resolve));
    expect(answered).toBe(false);
    expect(text(disk.file("/f").data.view())).toBe("kept");
  });

  test("a full disk refuses what does not fit, after a part of it", async () => {
    const { fs, disk } = machine();
    const file = await fs.open("/f", "readWrite");
    await file.write(bytes("1234"), 0);
    disk.capacityBytes = disk.usedBytes + 3;
    await expect(file.write(bytes("56789"), 4)).rejects.toMatchObject({ code: "DiskFull", kind: "transient" });
    expect(text(disk.file("/f").data.view())).toBe("1234567");
    await expect(fs.writeFileAtomic("/g", bytes("x"))).rejects.toMatchObject({ code: "DiskFull" });
    await fs.unlink("/f");
    expect(await fs.freeBytes("/")).toBe(7);
  });

  test("a watch tells of changes in its directories, once for a burst", async () => {
    const { fs, disk, scheduler } = machine();
    disk.makeDirectory("/d/e");
    const file = disk.create("/d/f");
    let told = 0;
    const watch = fs.watch(["/d", "/missing"], () => told++);
    const settle = async (): Promise<void> => {
      await scheduler.run(() => false, { untilMs: Infinity, steps: 100 });
    };
    disk.append(file, bytes("x"));
    disk.append(file, bytes("y"));
    await settle();
    expect(told).toBe(1);
    disk.create("/d/e/below");
    await settle();
    expect(told).toBe(1);
    disk.create("/d/new");
    await settle();
    expect(told).toBe(2);
    watch.close();
    disk.unlink("/d/new");
    await settle();
    expect(told).toBe(2);
  });
});
