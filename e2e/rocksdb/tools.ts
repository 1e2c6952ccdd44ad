import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

/** Real RocksDB programs, and what compiles the test master. */
export interface RocksdbTools {
  readonly ldb: string;
  readonly dbBench: string;
  readonly sstDump: string;
  readonly compiler: string;
}

export type FoundTools = { readonly tools: RocksdbTools } | { readonly missing: string };

const PACKAGES = ["rocksdb-tools", "librocksdb-dev", "g++"];
const INSTALL_MS_MAX = 300_000;
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
  const problem = await install();
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

/** What went wrong; undefined if it worked. */
async function install(): Promise<string | undefined> {
  if (process.getuid?.() !== 0 || onPath("apt-get") === undefined) return "not root on Debian: not installed";
  const options = { timeout: INSTALL_MS_MAX, env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" } };
  try {
    await run("apt-get", ["update", "-q"], options);
    await run("apt-get", ["install", "-q", "-y", "--no-install-recommends", ...PACKAGES], options);
    return undefined;
  } catch (error) {
    return `apt-get failed: ${error instanceof Error ? error.message.slice(0, 300) : String(error)}`;
  }
}

function onPath(program: string): string | undefined {
  const folders = (process.env["PATH"] ?? "").split(delimiter);
  return folders.map((folder) => join(folder, program)).find((path) => existsSync(path));
}
