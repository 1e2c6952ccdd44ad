import { KubeConfig } from "@kubernetes/client-node";
import { afterAll, beforeAll, beforeEach, expect, test } from "@jest/globals";
import { setTimeout as sleep } from "node:timers/promises";
import { startApiServer, type ApiServer } from "../../../e2e/cluster/api-server.js";
import { sharingConnections } from "./connections.js";
import { Leadership } from "./leadership.js";

const TIMES = { leaseMs: 2000, renewDeadlineMs: 1500, retryMs: 100 };
const logger = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

let server: ApiServer;
let count = 0;
let name: string;

beforeAll(async () => {
  server = await startApiServer();
}, 30 * 60_000);

afterAll(async () => {
  await server?.stop();
});

beforeEach(() => {
  name = `operator-${++count}`;
});

function candidate(identity: string, onVerb: (verb: string) => void = () => undefined): Leadership {
  const config = sharingConnections(new KubeConfig(), ({ verb }) => onVerb(verb));
  config.loadFromFile(server.kubeconfig);
  return new Leadership({ ...TIMES, name, namespace: "default", identity }, config, logger);
}

async function holder(): Promise<string> {
  return await server.api.holder(name);
}

/** Renews until it is stopped, or has lost it; gives whether it has. */
function holding(leader: Leadership): { readonly stop: () => Promise<boolean>; readonly lost: Promise<boolean> } {
  const over = new AbortController();
  const lost = leader.held(over.signal).then(() => !over.signal.aborted);
  const stop = async (): Promise<boolean> => {
    over.abort(new Error("stopped"));
    return await lost;
  };
  return { stop, lost };
}

const never = new AbortController().signal;

test("whoever leads renews without reading, also after somebody has written to the Lease", async () => {
  const verbs: string[] = [];
  const leader = candidate("a", (verb) => verbs.push(verb));
  await leader.won(never);
  const held = holding(leader);
  await sleep(1000);
  const before = verbs.length;
  await server.kubectl(["annotate", "lease", name, "by=hand"]);
  await sleep(1000);
  expect(await held.stop()).toBe(false);
  expect(before).toBeGreaterThan(4);
  // Once to find none, once for what was written by hand.
  expect(verbs.filter((verb) => verb === "get").length).toBeLessThanOrEqual(2);
  expect(await holder()).toBe("a");
});

test("another one waits, leads at once when it is released, and after the lease when its holder is gone", async () => {
  const [a, b, c] = [candidate("a"), candidate("b"), candidate("c")];
  await a.won(never);
  const held = holding(a);
  let isWon = false;
  const won = b.won(never).then(() => (isWon = true));
  await sleep(TIMES.leaseMs + 500);
  expect(isWon).toBe(false);
  await held.stop();
  await a.release();
  await won;
  expect(await holder()).toBe("b");
  // It renews no more, and does not release it.
  await c.won(never);
  expect(await holder()).toBe("c");
});

test("one whose Lease another one has is told so", async () => {
  const a = candidate("a");
  await a.won(never);
  const { lost } = holding(a);
  await server.kubectl(["patch", "lease", name, "--type=merge", "-p", '{"spec":{"holderIdentity":"b"}}']);
  expect(await lost).toBe(true);
  expect(await holder()).toBe("b");
});

test("a Lease that was deleted is made again", async () => {
  const a = candidate("a");
  await a.won(never);
  const held = holding(a);
  await server.kubectl(["delete", "lease", name]);
  await sleep(500);
  expect(await held.stop()).toBe(false);
  expect(await holder()).toBe("a");
});
