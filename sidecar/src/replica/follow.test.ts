import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
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
});
