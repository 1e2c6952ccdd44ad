import { KubeConfig } from "@kubernetes/client-node";
import { randomUUID } from "node:crypto";
import { createServer, type Server } from "node:http";
import { hostname } from "node:os";
import { pino } from "pino";
import { readMemberStatus } from "./controller/member-status.js";
import { sharingConnections } from "./kube/connections.js";
import { Leadership } from "./kube/leadership.js";
import { Operator } from "./operator.js";

/** The operator's process. Environment: METAMASTER_IMAGE, WATCH_NAMESPACE, CLUSTER_WIDE, POD_NAMESPACE, POD_NAME, LEASE_NAME, LOG_LEVEL, HTTP_PORT. */

const env = process.env;
const logger = pino({
  level: (env["LOG_LEVEL"] ?? "info").toLowerCase(),
  base: {},
  timestamp: pino.stdTimeFunctions.isoTime,
});
const LEASE = { leaseMs: 15_000, renewDeadlineMs: 10_000, retryMs: 2000 };

function required(name: string): string {
  const value = env[name];
  if (value !== undefined && value !== "") return value;
  throw new Error(`${name} is not set: the chart sets it to the image of the sidecars`);
}

function serve(operator: Operator, ready: () => boolean): Server {
  const server = createServer((request, response) => {
    const answer = (status: number, text: string, type = "text/plain"): void => {
      response.writeHead(status, { "content-type": type }).end(text);
    };
    const path = request.url ?? "/";
    if (path === "/healthz") return answer(200, "ok\n");
    if (path === "/readyz") return ready() ? answer(200, "ok\n") : answer(503, "not ready\n");
    if (path !== "/metrics") return answer(404, "there are /metrics, /healthz and /readyz\n");
    const { registry } = operator.metrics;
    registry.metrics().then(
      (text) => answer(200, text, registry.contentType),
      (error: unknown) => answer(500, `${String(error)}\n`),
    );
  });
  return server.listen(Number(env["HTTP_PORT"] ?? 8080));
}

async function main(): Promise<void> {
  const stop = new AbortController();
  for (const name of ["SIGTERM", "SIGINT"] as const) process.once(name, () => stop.abort(new Error(name)));
  const config = sharingConnections(new KubeConfig(), (request) => operator.metrics.apiRequests.inc({ ...request }));
  config.loadFromDefault();
  const namespace = env["WATCH_NAMESPACE"] ?? "";
  const leadership = new Leadership(
    {
      ...LEASE,
      name: env["LEASE_NAME"] ?? "metamaster-operator",
      namespace: env["POD_NAMESPACE"] ?? "default",
      identity: `${env["POD_NAME"] ?? hostname()}_${randomUUID()}`,
    },
    config,
    logger,
  );
  const operator = new Operator(
    {
      image: required("METAMASTER_IMAGE"),
      namespace: namespace === "" ? undefined : namespace,
      clusterWide: (env["CLUSTER_WIDE"] ?? (namespace === "" ? "true" : "false")) === "true",
    },
    config,
    logger,
    readMemberStatus,
    () => leadership.leads,
  );
  const server = serve(operator, () => !stop.signal.aborted);
  try {
    await leadership.won(stop.signal);
    logger.info({}, "this operator leads");
    operator.metrics.leader.set(1);
    const lost = leadership.held(stop.signal);
    await Promise.race([operator.start(), lost]);
    await lost;
    if (!stop.signal.aborted) logger.error({}, "leadership was lost: ending, to be started anew");
    await operator.stop();
    if (stop.signal.aborted) await leadership.release();
    else process.exitCode = 1;
  } catch (error) {
    if (!stop.signal.aborted) throw error;
  } finally {
    server.close();
    server.closeAllConnections();
  }
  logger.info({}, "stopped");
}

await main();
