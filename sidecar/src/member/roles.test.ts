import { expect, test } from "@jest/globals";
import { SystemClock } from "../base/system-clock.js";
import { RoleBoard, roleText } from "./roles.js";

test("the log tells a change of role from a new reason in the same", () => {
  const board = new RoleBoard(new SystemClock());
  const told: string[] = [];
  board.onRole((state, previous) => told.push(roleText(state, previous)));
  board.enter("Syncing", "starting");
  board.enter("Standby", "it follows");
  expect(told).toEqual(["Syncing: starting", "Syncing -> Standby: it follows"]);
});
