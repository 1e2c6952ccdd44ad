import { existsSync } from "node:fs";
import { join } from "node:path";
import { aptInstall, onPath } from "../tools/apt.js";

/** Real RocksDB programs, and what compiles the test master. */
export interface RocksdbTools {
  readonly ldb: string;
  readonly dbBench: string;
  readonly sstDump: string;
  readonly compiler: string;
}

export type FoundTools = { readonly tools: RocksdbTools } | { readonly missing: string };

const PACKAGES = ["rocksdb-tools", "librocksdb-dev", "g++"];
let found: Promise<FoundTools> | undefined;

/** Finds the tools, and installs Debian's packages when allowed to (root on Debian); otherwise says what is missing. Once a process. */
export function rocksdbTools(): Promise<FoundTools> {
  found ??= find();
  return found;
}

/**
 * For a test file: the tools, or undefined after saying why its tests are skipped. Under CI=true a missing tool is a failure, because a green
 * run must mean that real RocksDB was used.
 */
export async function requireRocksdbTools(what: string): Promise<RocksdbTools | undefined> {
  const result = await rocksdbTools();
  if ("tools" in result) return result.tools;
  if (process.env["CI"] === "true") throw new Error(`${what}: ${result.missing}`);
  console.warn(`SKIPPED: ${what}: ${result.missing}`);
  return undefined;
}

async function find(): Promise<FoundTools> {
  const first = look();
  if ("tools" in first) return first;
  const problem = await aptInstall(PACKAGES);
  const second = look();
  return "tools" in second || problem === undefined ? second : { missing: `${second.missing} (${problem})` };
}

function look(): FoundTools {
  const programs = {
    ldb: onPath("ldb"),
    dbBench: onPath("db_bench"),
    sstDump: onPath("sst_dump"),
    compiler: onPath("g++"),
  };
  const header = ["/usr/include", "/usr/local/include"].some((folder) => existsSync(join(folder, "rocksdb/db.h")));
  const { ldb, dbBench, sstDump, compiler } = programs;
  if (ldb !== undefined && dbBench !== undefined && sstDump !== undefined && compiler !== undefined && header) {
    return { tools: { ldb, dbBench, sstDump, compiler } };
  }
  const missing = Object.entries(programs).flatMap(([name, path]) => (path === undefined ? [name] : []));
  if (!header) missing.push("rocksdb/db.h");
  return { missing: `not found: ${missing.join(", ")}; on Debian: apt-get install ${PACKAGES.join(" ")}` };
}
