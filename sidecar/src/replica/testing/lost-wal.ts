import { unlink } from "node:fs/promises";
import { expect } from "@jest/globals";
import type { ModelDatabase } from "../ship/testing/model-database.js";
import type { Member } from "./world.js";

/** Two more WALs with seven rows each, that nobody ships; the machine is started again, and a power failure took the first of them. */
export async function loseWal(member: Member, database: ModelDatabase): Promise<void> {
  await database.switchWal();
  const lost = database.walFile;
  await database.put(7);
  await database.switchWal();
  await database.put(7);
  member.bootId = "boot-2";
  await member.restart();
  expect((await member.reconcile()).state).toBe("Ahead");
  await unlink(lost);
  await member.restart();
}
