import { expect, test } from "@jest/globals";
import { SystemClock } from "../base/system-clock.js";
import { LeaderPen } from "./leader-pen.js";
import { memoryClaim, MemoryLog } from "./testing/memory-log.js";

const signal = new AbortController().signal;
const wal = { kind: "wal", operations: [], sequences: [], more: false } as const;

test("nothing follows a release, not even what is asked for while it is under way", async () => {
  const clock = new SystemClock();
  const log = new MemoryLog(clock);
  log.latencyMs = 1;
  const claimed = await memoryClaim(log, { member: "a", nonce: "n" }, clock)({ slot: -1, chain: "" }, 1, signal);
  if (claimed.outcome === "lost") throw new Error("lost");
  const durable: string[] = [];
  const pen = new LeaderPen(claimed.writer, ({ kind }) => durable.push(kind));
  const before = pen.append(wal, signal);
  const release = pen.release("b", 5000, signal);
  const heartbeat = pen.append({ ...wal, kind: "heartbeat" }, signal);
  await expect(heartbeat).rejects.toMatchObject({ code: "TermEnded", kind: "fenced" });
  await Promise.all([before, release]);
  await expect(pen.append(wal, signal)).rejects.toMatchObject({ code: "TermEnded" });
  expect(log.entries.map(({ header }) => header.kind)).toEqual(["claim", "wal", "release"]);
  expect(log.last?.operations).toEqual([{ type: "handover", to: "b", untilMs: 5000 }]);
  expect(durable).toEqual(["wal"]);
  expect(pen).toMatchObject({ epoch: 1, released: true, fenced: undefined, position: log.last?.position });
});
