import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { logKey } from "../formats/entry.js";
import { oldestSlotNeeded } from "../formats/image-fold.js";
import type { ModelDatabase } from "./ship/testing/model-database.js";
import { deadline, rowCount, World, type Member } from "./testing/world.js";

const code = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => "none",
    (error: unknown) => (error instanceof Error && "code" in error ? String(error.code) : String(error)),
  );

/** A standby that was away for longer than what it needs next is kept. */
describe("a standby that was left behind", () => {
  let world: World;
  let standby: Member;
  beforeEach(async () => {
    world = await World.open();
    standby = world.member("b");
  });
  afterEach(() => world.close());

  async function lead(name: string): Promise<{ member: Member; database: ModelDatabase }> {
    const member = world.member(name);
    await member.lead();
    const database = await member.create();
    return { member, database };
  }

  /** The newest snapshot's image, as the collector knows it. */
  async function newest() {
    const slots = await world.shelf.list(deadline());
    return (await world.shelf.read(slots.at(-1)!, deadline()))!;
  }

  test("goes on from the newest snapshot where a table is gone and the entry that names it is not", async () => {
    const { member, database } = await lead("a");
    await member.checkpoint();
    await standby.follow();
    for (let round = 0; round < 2; round++) {
      await database.put(10);
      await database.flush();
      await member.checkpoint();
    }
    await database.compact();
    await member.checkpoint();
    const kept = await newest();
    // The MANIFEST keeps every slot; of the tables only those that no kept snapshot has are deleted.
    expect(oldestSlotNeeded(kept)).toBeLessThanOrEqual(standby.follower!.seen.slot + 1);
    expect(kept.garbage.size).toBeGreaterThan(0);
    for (const key of kept.garbage.keys()) await world.bucket.delete(key, {});
    expect(await code(standby.catchUp())).toBe("TableMissing");
    expect(await standby.reconcile()).toMatchObject({ state: "Following", how: "Restored" });
    await standby.follow();
    expect(rowCount(await standby.disk())).toBe(20n);
    await member.die();
  });

  test("goes on from the newest snapshot where its last entry is a claim, which is never deleted", async () => {
    const first = await lead("a");
    await first.database.put(10);
    await first.member.checkpoint();
    await first.member.die();
    await standby.follow();
    const next = world.member("c");
    await next.lead();
    // It saw the claim and was stopped.
    await standby.catchUp();
    await standby.follower!.save();
    const at = standby.follower!.seen.slot;
    expect((await world.entries())[at]!.header.kind).toBe("claim");
    const database = await next.create();
    await database.put(5);
    await next.checkpoint();
    await next.die();
    const last = world.member("d");
    await last.lead();
    await last.create();
    await last.checkpoint();
    const kept = await newest();
    const oldest = Math.min(oldestSlotNeeded(kept), kept.position.slot);
    expect(oldest).toBeGreaterThan(at + 1);
    for (const { header } of await world.entries()) {
      if (header.kind !== "claim" && header.slot < oldest) await world.bucket.delete(logKey(header.slot), {});
    }
    await standby.restart();
    expect(await standby.reconcile()).toMatchObject({ how: "Followed" });
    expect(await code(standby.follow())).toBe("TrimmedAway");
    expect(await standby.reconcile()).toMatchObject({ state: "Following", how: "Restored" });
    await standby.follow();
    await last.die();
  });
});
