import { expect, test } from "@jest/globals";
import { MetaMasterError } from "../../base/errors.js";
import { JumpingClock } from "../../bucket/testing/test-clock.js";
import type { PodView } from "../../kube/own-pod.js";
import { silent } from "../../member/testing/contender.js";
import { PodWatch } from "./pod-watch.js";

function view(annotations: PodView["annotations"] = {}): PodView {
  return { annotations, labels: {}, wasStarted: false, isBackingOff: false, isWorn: false };
}

type Sight = PodView | "gone" | "away";

/** What happens in each watch, one after the other; then this watch is over, undecided. */
async function watching(
  ...watches: readonly (readonly Sight[])[]
): Promise<{ gone: number; watch: PodWatch; slept: readonly number[] }> {
  const over = new AbortController();
  const clock = new JumpingClock();
  let next = 0;
  let gone = 0;
  async function* changes(): AsyncGenerator<PodView | undefined> {
    const sights = watches[next];
    next += 1;
    if (sights === undefined) {
      over.abort(new Error("enough"));
      throw over.signal.reason;
    }
    for (const sight of sights) {
      if (sight === "away") throw new MetaMasterError("KubeUnavailable", "transient", "away");
      yield sight === "gone" ? undefined : sight;
    }
  }
  const watch = new PodWatch({ pod: { changes }, clock, logger: silent, onGone: () => (gone += 1) });
  await watch.run(over.signal);
  return { gone, watch, slept: clock.slept };
}

test("a pod is gone once two reads say so, with a pause between them", async () => {
  expect(await watching([view(), "gone"], ["gone"])).toMatchObject({ gone: 1, slept: [2000] });
  expect(await watching(["gone"], ["gone"])).toMatchObject({ gone: 1 });
});

test.each([
  ["once", [["gone"]]],
  ["there again in between", [["gone"], [view(), "gone"]]],
  ["an API server that is away in between", [["gone"], ["away"], ["gone"]]],
  ["away only", [["away"], ["away"], ["away"]]],
] as const)("it is not gone: %s", async (_how, watches) => {
  expect(await watching(...watches)).toMatchObject({ gone: 0 });
});

test("the last view is kept, and given", async () => {
  const { watch } = await watching([view({ n: 1 }), view({ n: 2 }), "away"]);
  const views = watch.views(new AbortController().signal);
  expect(await views.next()).toEqual({ done: false, value: view({ n: 2 }) });
});
