import { afterEach, beforeEach, expect, test } from "@jest/globals";
import type { Operation } from "../formats/entry.js";
import type { LogWriter } from "../log/log.js";
import { restore } from "./restore.js";
import { deadline, differences, World, type Member } from "./testing/world.js";

/** A file that a group begins anew in the place of one that there is, and a claim that makes the group void. */
const file = "db/archive/000900.log";
const former = Buffer.from("of the file that stays");

let world: World;
let standby: Member;
beforeEach(async () => {
  world = await World.open();
  const primary = world.member("a");
  await primary.lead();
  const database = await primary.create();
  await database.put(3);
  await primary.checkpoint();
  await primary.die();
  standby = world.member("b");
  await standby.follow();
});
afterEach(() => world.close());

async function send(writer: LogWriter, operations: readonly Operation[], more: boolean): Promise<void> {
  await writer.append({ kind: "checkpoint", operations, sequences: [], more }, deadline());
}

/** Two epochs: the first one's last group is void or not. */
async function history(end: "void" | "whole"): Promise<LogWriter> {
  const writer = await standby.claim(standby.follower!.seen, 2);
  await send(writer, [{ type: "append", file, offset: 0, bytes: former }], false);
  const anew: Operation[] = [
    { type: "remove", file },
    { type: "append", file, offset: 0, bytes: Buffer.from("another") },
  ];
  await send(writer, anew, true);
  await send(writer, [{ type: "append", file, offset: 7, bytes: Buffer.from(" one") }], end === "void");
  await standby.catchUp();
  return await standby.claim(standby.follower!.seen, 3);
}

async function equal(): Promise<void> {
  const member = world.member(`r${world.bucket.entries().length}`);
  await restore(member.parts, { kind: "end" }, deadline());
  expect(differences(await member.disk(), await world.files())).toEqual([]);
}

test.each(["void", "whole"] as const)("a group that begins a file anew and is %s in the end", async (end) => {
  const writer = await history(end);
  await equal();
  const offset = end === "void" ? former.length : "another one".length;
  await send(writer, [{ type: "append", file, offset, bytes: Buffer.from(", longer") }], false);
  await equal();
  await standby.catchUp();
  expect(differences(await standby.disk(), await world.files())).toEqual([]);
  // And where a snapshot lies behind all of it.
  await world.putSnapshot(standby.follower!.image);
  await equal();
});
