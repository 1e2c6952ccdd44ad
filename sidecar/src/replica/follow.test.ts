import { readFile } from "node:fs/promises";
import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { NodeFileSystem } from "../base/node-file-system.js";
import type { Operation } from "../formats/entry.js";
import { differences, rowCount, World } from "./testing/world.js";

let world: World;
beforeEach(async () => {
  world = await World.open();
});
afterEach(() => world.close());

describe("a follower", () => {
  test("holds the image byte for byte, through flushes, compactions and MANIFEST rolls", async () => {
    const primary = world.member("a");
    await primary.lead();
    const database = await primary.create();
    await primary.checkpoint();
    const standby = world.member("b");
    await standby.follow();
    for (let round = 0; round < 6; round++) {
      await database.put(20);
      await primary.barrier();
      await standby.catchUp();
      expect(differences(await standby.disk(), await world.files())).toEqual([]);
      if (round % 2 === 0) await database.flush();
      if (round === 3) await database.compact();
      if (round === 4) await database.rollManifest();
      await primary.checkpoint();
      await standby.catchUp();
      await standby.follower?.save();
      expect(differences(await standby.disk(), await world.files())).toEqual([]);
    }
    expect(rowCount(await standby.disk())).toBe(120n);
  });

  test("that dies after a file was replaced by another of its name, and before it saved, is not taken in by it", async () => {
    const primary = world.member("a");
    await primary.lead();
    await primary.create();
    await primary.checkpoint();
    await primary.die();
    const standby = world.member("b");
    await standby.follow();
    const writer = await standby.claim(standby.follower!.seen, 2);
    const signal = new AbortController().signal;
    const file = "db/archive/000900.log";
    const send = async (operations: readonly Operation[]): Promise<void> => {
      await writer.append({ kind: "checkpoint", operations, sequences: [], more: false }, signal);
      await standby.catchUp();
    };
    await send([{ type: "append", file, offset: 0, bytes: Buffer.from("the former") }]);
    await standby.follower!.save();
    const saved = standby.follower!.image.position.slot;
    await send([
      { type: "remove", file },
      { type: "append", file, offset: 0, bytes: Buffer.from("another, and longer") },
    ]);
    expect(differences(await standby.disk(), await world.files())).toEqual([]);
    // The state of before the replacement, as if it had died right then.
    const state = `${standby.directory}/.metamaster/state.json`;
    const after = await readFile(state, "utf8");
    expect(JSON.parse(after)).toMatchObject({ image: { position: { slot: saved + 1 } } });
  });

  test("knows of a trim between the parts of a group that its own claim makes void", async () => {
    const primary = world.member("a");
    await primary.lead();
    await primary.create();
    await primary.checkpoint();
    await primary.die();
    const standby = world.member("b");
    await standby.follow();
    const writer = await standby.claim(standby.follower!.seen, 2);
    const signal = new AbortController().signal;
    const directory: Operation = { type: "directory", file: "@companions/d", permissions: 0o755 };
    await writer.append({ kind: "checkpoint", operations: [directory], sequences: [], more: true }, signal);
    const keys = ["tables/1/db/nobody-s"];
    const trim: Operation = { type: "trim", fromSlot: 0, throughSlot: -1, keys, executedThrough: -1 };
    const { position } = await writer.append({ kind: "trim", operations: [trim], sequences: [], more: false }, signal);
    await standby.catchUp();
    const claim = (await standby.claim(standby.follower!.seen, 3)).position;
    const image = await standby.follower!.seal(claim, 3);
    expect(image.trims).toEqual([{ slot: position.slot, throughSlot: -1, keys }]);
    expect(image.files.has("@companions/d")).toBe(false);
    expect(image).toMatchObject({ position: claim, epoch: 3, claims: [0, writer.position.slot - 2, claim.slot] });
  });

  test("keeps the replaced file aside until a state without it is saved", async () => {
    const primary = world.member("a");
    await primary.lead();
    await primary.create();
    await primary.checkpoint();
    await primary.die();
    let frozen = false;
    const real = new NodeFileSystem();
    const fs = new Proxy(real, {
      get: (target, name) => {
        if (name === "writeFileAtomic" && frozen) return () => Promise.reject(new Error("killed"));
        const value: unknown = Reflect.get(target, name);
        return typeof value === "function" ? (value as (...given: unknown[]) => unknown).bind(target) : value;
      },
    });
    const standby = world.member("b", { fs });
    await standby.follow();
    const writer = await standby.claim(standby.follower!.seen, 2);
    const signal = new AbortController().signal;
    const file = "db/archive/000900.log";
    const append = { type: "append" as const, file, offset: 0 };
    await writer.append(
      { kind: "checkpoint", operations: [{ ...append, bytes: Buffer.from("the former") }], sequences: [], more: false },
      signal,
    );
    await standby.catchUp();
    await standby.follower!.save();
    const saved = standby.follower!.image.position.slot;
    const operations: Operation[] = [
      { type: "remove", file },
      { ...append, bytes: Buffer.from("another, and longer") },
    ];
    await writer.append({ kind: "checkpoint", operations, sequences: [], more: false }, signal);
    frozen = true;
    await standby.catchUp().catch(() => undefined);
    expect(Buffer.from((await standby.disk()).get(file)!).toString()).toBe("another, and longer");
    frozen = false;
    await standby.restart();
    const reconciled = await standby.reconcile();
    if (reconciled.state !== "Following") throw new Error(reconciled.state);
    expect(reconciled.image.position.slot).toBeGreaterThanOrEqual(saved);
    expect(differences(await standby.disk(), await world.files(reconciled.image.position.slot))).toEqual([]);
  });
});
