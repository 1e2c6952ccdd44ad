import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, test } from "@jest/globals";
import { SystemClock } from "../base/system-clock.js";
import { KubeClient } from "./client.js";
import { OwnPod, viewOf, type PodView } from "./own-pod.js";

const never = new AbortController().signal;

let server: Server | undefined;
let client: KubeClient | undefined;

afterEach(() => {
  client?.close();
  server?.closeAllConnections();
  server?.close();
});

type Answer = (answer: ServerResponse) => void;

function object(uid: string, annotations: object = {}): object {
  return { metadata: { name: "meta-0", uid, resourceVersion: "7", annotations } };
}

function json(body: object, status = 200): Answer {
  return (answer) => answer.writeHead(status).end(JSON.stringify(body));
}

const notFound = { kind: "Status", reason: "NotFound", message: "gone" };

/** The pod `u1`, of whom the API server says `gets` one after the other, and `events` to every watch. */
async function watched({ gets, events = [] }: { gets: Answer[]; events?: object[] }): Promise<OwnPod> {
  server = createServer(({ url = "" }, answer) => {
    if (url.includes("watch=true")) answer.end(events.map((event) => `${JSON.stringify(event)}\n`).join(""));
    else if (url.includes("labelSelector")) json({ items: [object("u0"), object("u1")] })(answer);
    else (gets.shift() ?? json({}, 500))(answer);
  });
  await new Promise<void>((resolve) => server?.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const access = { url: `http://127.0.0.1:${port}`, namespace: "db", ca: async () => "", token: async () => "secret" };
  client = new KubeClient(access, { userAgent: "test", callMs: 5000 }, new SystemClock());
  return new OwnPod(client, "u1", "a=b");
}

async function seen(pod: OwnPod): Promise<unknown[]> {
  const views: (PodView | undefined)[] = [];
  for await (const view of pod.changes(5000, never)) views.push(view);
  return views.map((view) => view?.annotations ?? "gone");
}

test("another pod that has its name is none of its changes, nor is a bookmark", async () => {
  const pod = await watched({
    gets: [json(object("u1")), json(object("u1", { n: "2" })), json(object("u2", { to: "x" }))],
    events: [
      { type: "BOOKMARK", object: { metadata: { resourceVersion: "8" } } },
      { type: "MODIFIED", object: object("u1", { n: "1" }) },
      { type: "ADDED", object: object("u2", { to: "x" }) },
      { type: "MODIFIED", object: object("u2", { to: "y" }) },
    ],
  });
  expect(await seen(pod)).toEqual([{}, { n: "1" }, { n: "2" }, { n: "1" }, "gone"]);
});

test("what a watch says to be gone is read", async () => {
  const events = [{ type: "DELETED", object: object("u1") }];
  const pod = await watched({ gets: [json(object("u1")), json(object("u1")), json(notFound, 404)], events });
  expect(await seen(pod)).toEqual([{}, {}, "gone"]);
});

test.each([
  ["another server's 404", (answer: ServerResponse) => answer.writeHead(404).end("404 page not found"), "KubeNotFound"],
  ["no right", json({ kind: "Status", reason: "Forbidden" }, 403), "KubeAccessDenied"],
  ["an API server that is away", json({}, 503), "KubeUnavailable"],
] as const)("nothing of the pod is said by %s", async (_what, answer, code) => {
  const pod = await watched({ gets: [answer, json(notFound, 404)] });
  await expect(seen(pod)).rejects.toMatchObject({ code });
  expect(await pod.look(never)).toBeUndefined();
});

const restarted = (counts: Readonly<Record<string, number>>): object => ({
  status: { initContainerStatuses: Object.entries(counts).map(([name, restartCount]) => ({ name, restartCount })) },
});

test.each([
  ["both were started again", { "metamaster-watchdog": 1, metamaster: 2, mine: 0 }, true],
  ["the other one was always there", { "metamaster-watchdog": 0, metamaster: 7 }, false],
  ["nothing happened", { "metamaster-watchdog": 0, metamaster: 0, mine: 9 }, false],
  ["the containers are called otherwise", { sidecar: 1 }, false],
])("a pod is worn or not: %s", (_what, counts, expected) => {
  expect(viewOf(restarted(counts)).isWorn).toBe(expected);
  expect(viewOf({}).isWorn).toBe(false);
});
