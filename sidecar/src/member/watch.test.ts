import { expect, test } from "@jest/globals";
import type { Operation } from "../formats/entry.js";
import { EMPTY_IMAGE } from "../formats/image.js";
import { World } from "../replica/testing/world.js";
import { TailWatch } from "./watch.js";

test("a trim behind what the disk is ahead of, between the parts of a group that the claim makes void, is not forgotten", async () => {
  const world = await World.open();
  try {
    const member = world.member("a");
    const writer = await member.claim(EMPTY_IMAGE.position, 1);
    const image = { ...EMPTY_IMAGE, position: writer.position, epoch: 1, claims: [0] };
    const signal = new AbortController().signal;
    const directory: Operation = { type: "directory", file: "@companions/d", permissions: 0o755 };
    await writer.append({ kind: "checkpoint", operations: [directory], sequences: [], more: true }, signal);
    const keys = ["tables/1/db/nobody-s"];
    const trim: Operation = { type: "trim", fromSlot: 0, throughSlot: -1, keys, executedThrough: -1 };
    await writer.append({ kind: "trim", operations: [trim], sequences: [], more: false }, signal);
    const watch = new TailWatch("Ahead", image, world.reader(), async (sealed) => sealed);
    expect(await watch.poll(signal)).toHaveLength(2);
    expect(watch).toMatchObject({ stale: false, end: writer.position });
    const sealed = await watch.seal({ slot: writer.position.slot + 1, chain: "00".repeat(32) }, 2);
    expect(sealed.trims).toEqual([{ slot: 2, throughSlot: -1, keys }]);
    expect(sealed.files.size).toBe(0);
  } finally {
    await world.close();
  }
});
