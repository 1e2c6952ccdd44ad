import { describe, expect, test } from "@jest/globals";
import { madeSwitchover, pendingSwitchover } from "./declared.js";
import type { Action, Member } from "./members.js";
import { nextAction, type Wishes } from "./next-action.js";
import { rollout } from "./rollout.js";
import { scale } from "./scale.js";
import { bestTarget, declaredSwitchover, offItsNode } from "./switchover.js";

/** `P0 S1 S2`: role and ordinal; then `~5` seconds behind, `!` cordoned, `%` on a node that is not Ready, `-` deleting, `'` of the template before, `*` may be the one that serves, `=` may follow, `^` troubled. */
function members(text: string): Member[] {
  const roles: Record<string, Member["role"]> = {
    P: "Primary",
    S: "Standby",
    Y: "Syncing",
    H: "Halted",
    U: "Unknown",
    M: "Promoting",
    F: "Fencing",
  };
  return text
    .split(" ")
    .filter((word) => word !== "")
    .map((word) => {
      const [, role = "", ordinal = "", marks = ""] = /^([A-Z])(\d+)(.*)$/.exec(word) ?? [];
      return {
        name: `m-${ordinal}`,
        ordinal: Number(ordinal),
        role: roles[role] ?? "Unknown",
        mayServe: marks.includes("*"),
        mayFollow: marks.includes("="),
        troubled: marks.includes("^"),
        lagSeconds: marks.includes("?") ? undefined : Number(/~(\d+)/.exec(marks)?.[1] ?? 0),
        revision: marks.includes("'") ? "old" : "new",
        deleting: marks.includes("-"),
        cordoned: marks.includes("!"),
        nodeSilent: marks.includes("%"),
      };
    });
}

const isNew = ({ revision }: Member): boolean => revision === "new";

/** `Switchover m-1`, `DeletePod m-2`, `SetReplicas 3`, `Wait`, `Nothing`. */
function said(action: Action): string {
  if (action.do === "Switchover") return `Switchover ${action.target}`;
  if (action.do === "DeletePod") return `DeletePod ${action.pod}`;
  return action.do === "SetReplicas" ? `SetReplicas ${action.replicas}` : action.do;
}

test.each([
  ["P0 S1 S2", "m-1"],
  ["P0 S1~3 S2~1", "m-2"],
  ["P0 S1~11 S2~10", "m-2"],
  ["P0 S1~11", undefined],
  ["P0 S1? S2~9", "m-2"],
  ["P0 S1- S2~9", "m-2"],
  ["P0 S1! S2~9", "m-2"],
  ["P0 Y1 H2 U3", undefined],
  ["P0 S1' S2~5", "m-2"],
  ["P0 S1^ S2'~5", "m-2"],
  ["P0 S1^", "m-1"],
])("the best target of %s is %s", (text, expected) => {
  expect(bestTarget(members(text), { maxLagSeconds: 10, may: () => true, rather: isNew })?.name).toBe(expected);
});

test.each([
  ["P0 S1", "m-1", "Switchover m-1"],
  ["S0 P1", "m-1", "Nothing"],
  ["P0 S1~11", "m-1", "Wait"],
  ["P0 S1?", "m-1", "Wait"],
  ["P0 Y1", "m-1", "Wait"],
  ["P0 S1-", "m-1", "Wait"],
  ["P0 S1", "m-7", "Wait"],
  ["S0 S1", "m-1", "Wait"],
])("%s, asked for %s: %s", (text, target, expected) => {
  expect(said(declaredSwitchover(members(text), { target, maxLagSeconds: 10 }))).toBe(expected);
});

test.each([
  ["P0 S1", "Nothing"],
  ["P0! S1", "Switchover m-1"],
  ["P0! S1! S2~4", "Switchover m-2"],
  ["P0! S1!", "Wait"],
  ["P0!", "Wait"],
  ["P0 S1!", "Nothing"],
  ["S0! S1", "Nothing"],
  ["P0% S1", "Switchover m-1"],
  ["P0% S1% S2~4", "Switchover m-2"],
  ["P0! S1% S2~4", "Switchover m-2"],
  ["P0% S1%", "Wait"],
  ["P0 S1%", "Nothing"],
  ["U0% S1", "Nothing"],
])("a node under %s: %s", (text, expected) => {
  expect(said(offItsNode(members(text), 10))).toBe(expected);
});

test("a drain that can't go on says what to do", () => {
  expect(offItsNode(members("P0!"), 10)).toMatchObject({ why: expect.stringMatching(/only member.*Scale out/) });
  expect(offItsNode(members("P0! S1!"), 10)).toMatchObject({
    why: expect.stringMatching(/no standby on another node/),
  });
});

test.each([
  ["P0 S1 S2", 3, 3, "Nothing"],
  ["P0 S1 S2", 3, 5, "SetReplicas 5"],
  ["", 0, 3, "SetReplicas 3"],
  ["P0 S1 S2", 3, 2, "SetReplicas 2"],
  ["S0 S1 P2", 3, 2, "Switchover m-0"],
  ["S0~5 S1 P2", 3, 2, "Switchover m-1"],
  ["S0~5 S1 P2", 3, 1, "Switchover m-0"],
  ["S0~50 S1 P2", 3, 1, "Wait"],
  ["Y0 S1 P2", 3, 1, "Wait"],
  ["S0 S1 S2", 3, 1, "Wait"],
  ["S0 M1 S2", 3, 1, "Wait"],
  ["S0 S1 P2", 3, 0, "SetReplicas 0"],
  ["S0 M1 S2", 3, 0, "Wait"],
  ["S0 F1 S2", 3, 0, "Wait"],
  ["S0 S1", 2, 0, "SetReplicas 0"],
])("%s, from %i to %i: %s", (text, current, wanted, expected) => {
  expect(said(scale(members(text), { current, wanted, maxLagSeconds: 10 }))).toBe(expected);
});

test.each([
  ["P0 S1 S2", "Nothing"],
  ["P0' S1' S2'", "DeletePod m-2"],
  ["P0' S1' S2-", "Wait"],
  ["P0' S1' Y2", "Wait"],
  ["P0' S1' S2", "DeletePod m-1"],
  ["P0' S1 S2", "Switchover m-1"],
  ["P0' S1~60 S2~60", "Wait"],
  ["S0' P1 S2", "DeletePod m-0"],
  ["P0'", "DeletePod m-0"],
  ["P0' S1'", "DeletePod m-1"],
  ["P0' U1' S2'", "DeletePod m-1"],
  ["U0*' S1' S2", "Wait"],
  ["P0' H1' S2'", "Wait"],
  ["S0' S1'", "Wait"],
  ["P0' S1' U2", "Wait"],
  // What keeps it may be what is replaced; who only didn't answer may be well.
  ["P0' S1' Y2'", "DeletePod m-2"],
  ["Y0' Y1'", "DeletePod m-0"],
  ["Y0' Y1-", "Wait"],
  ["Y0'", "DeletePod m-0"],
  ["S0'^ Y1", "DeletePod m-0"],
  ["S0' Y1", "Wait"],
  ["P0 S1'^ Y2", "Wait"],
  ["M0' S1'", "Wait"],
  ["P0' U1'= S2'", "Wait"],
  // A template under which nobody can be elected takes no more than one standby.
  ["P0' S1' S2^", "Wait"],
  ["P0' S1^ S2", "Wait"],
  ["P0' S1'^ S2", "DeletePod m-1"],
])("a rollout under %s: %s", (text, expected) => {
  const wish = { current: members(text).length, revision: "new", maxLagSeconds: 10 };
  expect(said(rollout(members(text), { ...wish, policy: "StandbysFirst" }))).toBe(expected);
  expect(said(rollout(members(text), { ...wish, policy: "OnDelete" }))).toBe("Nothing");
  // While a pod is missing nobody else goes.
  const missing = rollout(members(text), { ...wish, current: wish.current + 1, policy: "StandbysFirst" });
  expect(said(missing)).toBe(expected === "Nothing" ? "Nothing" : "Wait");
});

function whyRolloutWaits(text: string): string {
  const all = members(text);
  const wish = { current: all.length, revision: "new", maxLagSeconds: 10, policy: "StandbysFirst" } as const;
  const action = rollout(all, wish);
  return action.do === "Wait" ? action.why : action.do;
}

test("a rollout that a halted member holds up says whose pod a person may delete", () => {
  expect(whyRolloutWaits("P0 S1 H2'")).toMatch(/^m-2 is Halted: it is of the template before.*kubectl delete pod m-2$/);
  expect(whyRolloutWaits("P0' S1' H2")).toBe("m-2 is Halted: the next pod is replaced once it follows");
});

describe("what comes first", () => {
  const wishes: Wishes = {
    revision: "new",
    policy: "StandbysFirst",
    maxLagSeconds: 10,
    switchover: undefined,
    replicas: 3,
  };
  const asked = { target: "m-1", maxLagSeconds: 10 };

  test.each<[string, Partial<Wishes>, string]>([
    ["P0 S1 S2", {}, "Nothing"],
    ["P0! S1 S2", { switchover: asked }, "Switchover m-1"],
    ["P0! S1 S2", { replicas: 2 }, "Switchover m-1"],
    ["P0 S1' S2", { replicas: 2 }, "SetReplicas 2"],
    ["P0 S1~60 S2'", { switchover: asked }, "DeletePod m-2"],
    ["P0 S1~60 S2", { switchover: asked, replicas: 2 }, "SetReplicas 2"],
    ["S0 S1~60 P2", { switchover: asked, replicas: 2 }, "Wait"],
    ["P0! S1~60 S2", { switchover: asked }, "Switchover m-2"],
    ["P0! S1 S2", { switchover: { ...asked, target: "m-7" } }, "Switchover m-1"],
    ["P0! S1! S2!", { replicas: 5 }, "SetReplicas 5"],
    ["P0 P1 S2'", { replicas: 1 }, "Wait"],
  ])("%s, %o: %s", (text, change, expected) => {
    expect(said(nextAction(members(text), 3, { ...wishes, ...change }))).toBe(expected);
  });
});

test("whatever is seen, the primary's pod is deleted only where it is alone, and never scaled away but to none", () => {
  const words = ["P", "S", "Y", "H", "U", "M", "F"].flatMap((role) =>
    ["", "'", "-", "!", "~60"].map((mark) => [role, mark]),
  );
  let seen = 0;
  for (const [a = "", am = ""] of words) {
    for (const [b = "", bm = ""] of words) {
      for (const wanted of [0, 1, 2, 3]) {
        const list = members(`${a}0${am} ${b}1${bm}`);
        const action = nextAction(list, 2, {
          revision: "new",
          policy: "StandbysFirst",
          maxLagSeconds: 10,
          switchover: undefined,
          replicas: wanted,
        });
        const primaries = list.filter(({ role }) => role === "Primary");
        if (action.do === "DeletePod") expect(primaries.map(({ name }) => name)).not.toContain(action.pod);
        if (action.do === "SetReplicas" && action.replicas > 0 && action.replicas < 2) {
          expect(primaries.some(({ ordinal }) => ordinal < action.replicas)).toBe(true);
        }
        if (action.do === "Switchover") expect(list.find(({ name }) => name === action.target)?.role).toBe("Standby");
        seen++;
      }
    }
  }
  expect(seen).toBe(35 * 35 * 4);
});

test("a declared switchover is made once: after a later failover it is not made again, unless it is asked for anew", () => {
  const wish = { target: "m-1", maxLag: "10s" };
  expect(madeSwitchover(wish, undefined, "m-0", 0)).toBeUndefined();
  expect(pendingSwitchover(wish, undefined)).toEqual(wish);
  const made = madeSwitchover(wish, undefined, "m-1", 0);
  expect(made).toEqual({ target: "m-1", time: "1970-01-01T00:00:00.000Z" });
  expect(pendingSwitchover(wish, made)).toBeUndefined();
  expect(madeSwitchover(wish, made, "m-0", 9)).toBe(made);
  const again = { ...wish, requestedAt: "noon" };
  expect(pendingSwitchover(again, made)).toEqual(again);
  expect(madeSwitchover(again, made, "m-0", 9)).toBeUndefined();
  expect(madeSwitchover(again, made, "m-1", 9)).toMatchObject({ requestedAt: "noon" });
  expect(madeSwitchover(undefined, made, "m-1", 9)).toBeUndefined();
});
