import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { until, type MemberProcess } from "./member-process.js";

/** Resolves with the status: 200 is an acknowledgement; 0: no answer came. */
export async function tryPut(url: string, key: string, value: string, ms = 30_000): Promise<number> {
  try {
    const signal = AbortSignal.timeout(ms);
    // A connection that is kept is closed by its server after five seconds, which may be now.
    const headers = { connection: "close" };
    const answer = await fetch(`${url}/kv/${key}`, { method: "PUT", body: value, headers, signal });
    await answer.arrayBuffer();
    return answer.status;
  } catch {
    return 0;
  }
}

export async function put(url: string, key: string, value: string): Promise<void> {
  const status = await tryPut(url, key, value);
  if (status !== 200) throw new Error(`${key} was not acknowledged: ${status}`);
}

export async function keys(url: string): Promise<readonly string[]> {
  const { rows } = (await (await fetch(`${url}/list`)).json()) as { rows: [string, string][] };
  return rows.map(([key]) => key);
}

/** Until the standby's files are, byte for byte, those of the primary, who must be idle. */
export async function untilSame(standby: MemberProcess, primary: MemberProcess): Promise<void> {
  await until(
    `${standby.name}'s files equal ${primary.name}'s`,
    async () => (differences(standby.database, primary.database).length === 0 ? true : undefined),
    () => `${differences(standby.database, primary.database).join(", ")}\n${standby.said}`,
  );
}

/** Files of a database that one has and the other lacks, or that differ. RocksDB's own journal of what it did is no part of it. */
export function differences(a: string, b: string): string[] {
  const [left, right] = [databaseFiles(a), databaseFiles(b)];
  const names = new Set([...left.keys(), ...right.keys()]);
  return [...names].filter((name) => {
    const [one, other] = [left.get(name), right.get(name)];
    return one === undefined || other === undefined || Buffer.compare(one, other) !== 0;
  });
}

function databaseFiles(directory: string): ReadonlyMap<string, Buffer> {
  const files = new Map<string, Buffer>();
  for (const name of readdirSync(directory)) {
    if (!/^(CURRENT|MANIFEST-\d+|\d+\.(log|sst))$/.test(name)) continue;
    try {
      files.set(name, readFileSync(join(directory, name)));
    } catch (error) {
      // It was removed since the directory was listed.
      if (!String(error).includes("ENOENT")) throw error;
    }
  }
  return files;
}
