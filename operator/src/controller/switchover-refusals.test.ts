import { expect, test } from "@jest/globals";
import type { Action } from "../decisions/members.js";
import { SwitchoverRefusals } from "./switchover-refusals.js";

const to = (target: string): Action => ({ do: "Switchover", target, why: "the spec asks for it" });
const nothing: Action = { do: "Nothing" };
const behind: Action = { do: "Wait", why: "m-1 is 11 s behind" };
const no = "m-1 does not answer";

/** Seconds, what is decided, what stands on the primary's pod; then what is done, what is shown, and whether it is told. */
type Step = readonly [number, Action, string | undefined, string];

function said({ do: what, ...rest }: Action): string {
  return what === "Wait" ? `waits (${Reflect.get(rest, "why")})` : what;
}

const waits = (why: string, target = "m-1"): string =>
  `waits (the switchover to ${target} was refused, it will be asked for again: ${why})`;

test.each<[string, readonly Step[]]>([
  ["one that is made", [[0, to("m-1"), undefined, "Switchover, shown Switchover"]]],
  [
    "told once, asked for again after half a minute, and shown as refused meanwhile",
    [
      [0, to("m-1"), undefined, "Switchover, shown Switchover"],
      [1, to("m-1"), no, `${waits(no)}, shown ${waits(no)}, told`],
      [30, to("m-1"), no, `${waits(no)}, shown ${waits(no)}`],
      [31, to("m-1"), no, `Switchover, shown ${waits(no)}`],
      [32, to("m-1"), undefined, `Switchover, shown ${waits(no)}`],
      [33, to("m-1"), no, `${waits(no)}, shown ${waits(no)}`],
      [62, to("m-1"), no, `Switchover, shown ${waits(no)}`],
      [63, to("m-1"), "another", `${waits("another")}, shown ${waits("another")}, told`],
      [64, nothing, undefined, "Nothing, shown Nothing"],
      [65, to("m-1"), undefined, "Switchover, shown Switchover"],
      [66, to("m-1"), "another", `${waits("another")}, shown ${waits("another")}, told`],
    ],
  ],
  [
    "what waits meanwhile is the same wish afterwards",
    [
      [0, to("m-1"), undefined, "Switchover, shown Switchover"],
      [1, to("m-1"), no, `${waits(no)}, shown ${waits(no)}, told`],
      [2, behind, undefined, "waits (m-1 is 11 s behind), shown waits (m-1 is 11 s behind)"],
      [3, to("m-1"), no, `${waits(no)}, shown ${waits(no)}`],
    ],
  ],
  [
    "another target is asked for when the one before would be, and its refusal is its own",
    [
      [0, to("m-1"), undefined, "Switchover, shown Switchover"],
      [1, to("m-1"), no, `${waits(no)}, shown ${waits(no)}, told`],
      [2, to("m-2"), no, `${waits(no)}, shown ${waits(no)}`],
      [31, to("m-2"), no, `Switchover, shown ${waits(no)}`],
      [31.5, to("m-2"), no, `${waits(no)}, shown ${waits(no)}`],
      [33, to("m-2"), no, `${waits(no, "m-2")}, shown ${waits(no, "m-2")}, told`],
    ],
  ],
  [
    "what stands on the pod from a wish before is no answer",
    [
      [0, to("m-1"), "old", "Switchover, shown Switchover"],
      [1, to("m-1"), undefined, "Switchover, shown Switchover"],
      [2, to("m-1"), no, `${waits(no)}, shown ${waits(no)}, told`],
      [3, nothing, undefined, "Nothing, shown Nothing"],
      [4, to("m-2"), no, "Switchover, shown Switchover"],
    ],
  ],
])("%s", (_what, steps) => {
  const refusals = new SwitchoverRefusals();
  for (const [seconds, action, refused, expected] of steps) {
    const asked = refusals.look(action, "uid-0", refused, seconds * 1000);
    const told = asked.isNews ? ", told" : "";
    expect(`${said(asked.action)}, shown ${said(asked.shown)}${told}`).toBe(expected);
    if (asked.action.do === "Switchover") refusals.asked(asked.action.target, seconds * 1000);
  }
});

/** At which of these seconds is it asked for, and told? What the pod says is never seen to be gone. */
function inSeconds(count: number, target: (second: number) => string): { asked: number[]; told: number[] } {
  const refusals = new SwitchoverRefusals();
  const [asked, told]: [number[], number[]] = [[], []];
  for (let second = 0; second < count; second++) {
    const look = refusals.look(to(target(second)), "uid-0", no, second * 1000);
    if (look.isNews) told.push(second);
    if (look.action.do !== "Switchover") continue;
    asked.push(second);
    refusals.asked(look.action.target, second * 1000);
  }
  return { asked, told };
}

test("one that was asked for again is asked for once more after half a minute, though its refusal was never seen to be gone", () => {
  expect(inSeconds(100, () => "m-1")).toEqual({ asked: [0, 31, 61, 91], told: [1] });
});

test("where another standby is the best at each look it is asked for as often, and told once of each", () => {
  const { asked, told } = inSeconds(300, (second) => `m-${1 + (second % 2)}`);
  expect(asked.length).toBeGreaterThan(8);
  expect(asked.length).toBeLessThan(12);
  expect(told.length).toBeLessThanOrEqual(2);
});

test("another primary has refused nothing yet", () => {
  const refusals = new SwitchoverRefusals();
  const asks = { action: to("m-1"), shown: to("m-1"), isNews: false };
  expect(refusals.look(to("m-1"), "uid-0", undefined, 0)).toEqual(asks);
  refusals.asked("m-1", 0);
  expect(refusals.look(to("m-1"), "uid-0", no, 1000).isNews).toBe(true);
  expect(refusals.look(to("m-1"), "uid-2", undefined, 2000)).toEqual(asks);
  refusals.asked("m-1", 2000);
  expect(refusals.look(to("m-1"), "uid-2", no, 3000).isNews).toBe(true);
});
