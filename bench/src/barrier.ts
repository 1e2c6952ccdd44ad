import { randomBytes } from "node:crypto";
import { Agent, request } from "node:http";
import type { BucketConfig } from "../../sidecar/src/bucket/open.js";
import { open } from "../../e2e/servers/stores.js";
import { BenchMember, until } from "./bench-member.js";
import { quantile, type Row } from "./rows.js";

const agent = new Agent({ keepAlive: true, maxSockets: 256 });

function call(method: string, url: string, body = ""): Promise<void> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { method, agent }, (answer) => {
      let text = "";
      answer.on("data", (chunk: Buffer) => (text += chunk.toString()));
      answer.once("end", () =>
        answer.statusCode === 200 ? resolve() : reject(new Error(`${method} ${url}: ${answer.statusCode} ${text}`)),
      );
      answer.once("error", reject);
    });
    sent.once("error", reject);
    sent.end(body);
  });
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

/** Each caller writes a row and then asks; only the asking is timed. */
async function barriers(member: BenchMember, callers: number, total: number): Promise<number[]> {
  const times: number[] = [];
  let next = 0;
  const caller = async (): Promise<void> => {
    while (next < total) {
      const n = next++;
      await call("PUT", `${member.masterUrl}/kv/bench-${callers}-${n}`, "x".repeat(100));
      times.push(await timed(() => call("POST", `${member.sidecarUrl}/v1/barrier`)));
    }
  };
  await Promise.all(Array.from({ length: callers }, caller));
  return times;
}

/** Barriers against single creates of an entry's size by the same driver, on the same store in the same run. */
export async function barrier(root: string, bucket: BucketConfig, total: number): Promise<Row[]> {
  const member = await BenchMember.create("barrier", root, bucket);
  const store = await open(bucket);
  try {
    member.startKeyValueMaster(false);
    await member.role("Primary");
    await until("the master listens", () =>
      call("GET", `${member.masterUrl}/healthz`).then(
        () => true,
        () => undefined,
      ),
    );
    await barriers(member, 1, 50);
    const puts: number[] = [];
    const one: number[] = [];
    // In turn, so that both see the same weather.
    for (let round = 0; round < 10; round++) {
      for (let i = 0; i < total / 10; i++)
        puts.push(await timed(() => store.putIfAbsent(`peer/${round}-${i}`, randomBytes(600), {})));
      one.push(...(await barriers(member, 1, total / 10)));
    }
    const many = await barriers(member, 64, total * 5);
    return [row("1 caller", one, puts), row("64 callers", many, puts)];
  } finally {
    await store.close();
    await member.stop();
    agent.destroy();
  }
}

function row(who: string, times: readonly number[], puts: readonly number[]): Row {
  const [p50, p99, put50, put99] = [
    quantile(times, 0.5),
    quantile(times, 0.99),
    quantile(puts, 0.5),
    quantile(puts, 0.99),
  ];
  return {
    what: `barrier p50 / p99, ${who}`,
    against: `one put of the same bytes (p50 ${put50.toFixed(1)} ms, p99 ${put99.toFixed(1)} ms)`,
    measured: `${(p50 / put50).toFixed(2)} / ${(p99 / put99).toFixed(2)} (${p50.toFixed(1)} ms, ${p99.toFixed(1)} ms)`,
    bound: "<= 1.5 / <= 3",
    holds: p50 / put50 <= 1.5 && p99 / put99 <= 3,
    figures: { p50, p99, put50, put99 },
  };
}
