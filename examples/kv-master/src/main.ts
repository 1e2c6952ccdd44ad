/**
 * A small key-value metadata master: one RocksDB, HTTP put/get/list. It knows nothing of replication except one call: before it answers a
 * write it asks the sidecar for a barrier (METAMASTER_URL), so what it acknowledged survives the loss of this machine.
 *
 *   node main.js --db DIR --port PORT [--host ADDRESS]
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { parseArgs } from "node:util";
import RocksDB from "rocksdb-native";
import { BarrierClient, SharedBarrier } from "./barrier.js";

const VALUE_BYTES_MAX = 1024 * 1024;
const LIST_LIMIT_MAX = 10_000;

async function readBody(incoming: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of incoming as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > VALUE_BYTES_MAX) throw new Error(`the value is larger than ${VALUE_BYTES_MAX} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function answer(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "content-type": "application/json" }).end(`${JSON.stringify(body)}\n`);
}

async function list(db: RocksDB, url: URL): Promise<{ rows: [string, string][] }> {
  const limit = Math.min(Number(url.searchParams.get("limit") ?? 1000), LIST_LIMIT_MAX);
  const rows: [string, string][] = [];
  for await (const { key, value } of db.iterator({ gt: url.searchParams.get("after") ?? "" }, { limit })) {
    rows.push([key.toString(), value.toString()]);
  }
  return { rows };
}

/** A RocksDB that could not write (the disk is full) takes no writes until it is opened again: the sidecar does that, or another member takes over. */
function endUnwritable(error: unknown, response: ServerResponse): never {
  const message = `the database can't be written: ${error instanceof Error ? error.message : String(error)}`;
  console.error(`kv-master: ${message}`);
  response.once("close", () => process.exit(1));
  throw new Error(message, { cause: error });
}

async function serve(
  db: RocksDB,
  barrier: SharedBarrier | undefined,
  incoming: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const url = new URL(incoming.url ?? "/", "http://localhost");
  if (url.pathname === "/healthz")
    return answer(response, 200, { status: "ok", epoch: Number(process.env["METAMASTER_EPOCH"] ?? 0) });
  if (url.pathname === "/list") return answer(response, 200, await list(db, url));
  if (!url.pathname.startsWith("/kv/")) return answer(response, 404, { error: "try /kv/KEY, /list or /healthz" });
  const key = decodeURIComponent(url.pathname.slice("/kv/".length));
  if (incoming.method === "PUT") {
    const value = await readBody(incoming);
    await db.put(key, value).catch((error: unknown) => endUnwritable(error, response));
    await barrier?.wait();
    return answer(response, 200, { key });
  }
  const value = await db.get(key);
  return value === null
    ? answer(response, 404, { error: `no key ${key}` })
    : answer(response, 200, { key, value: value.toString() });
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      db: { type: "string" },
      port: { type: "string", default: "0" },
      // In a pod: 0.0.0.0.
      host: { type: "string", default: "127.0.0.1" },
    },
  });
  if (values.db === undefined) throw new Error("say where the database is: --db DIR");
  const db = new RocksDB(values.db);
  await db.ready();
  const sidecar = process.env["METAMASTER_URL"];
  const client = sidecar === undefined ? undefined : new BarrierClient(sidecar);
  const barrier = client === undefined ? undefined : new SharedBarrier(client);
  const server = createServer((incoming, response) => {
    serve(db, barrier, incoming, response).catch((error: unknown) => {
      answer(response, 503, { error: error instanceof Error ? error.message : String(error) });
    });
  });
  server.keepAliveTimeout = 60_000;
  const stop = (): void => {
    server.close(() => {
      client?.close();
      void db.close().then(() => process.exit(0));
    });
    server.closeAllConnections();
  };
  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);
  server.listen(Number(values.port), values.host, () => {
    const address = server.address();
    if (address !== null && typeof address !== "string")
      console.log(
        `kv-master listens on http://${values.host}:${address.port}, epoch ${process.env["METAMASTER_EPOCH"] ?? "-"}`,
      );
  });
}

await main().catch((error: unknown) => {
  console.error(`kv-master: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
});
