import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readFile, readdir, rename } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { RocksdbTools } from "./tools.js";

const run = promisify(execFile);
const COMPILE_MS_MAX = 180_000;
const FLAGS = ["-std=c++17", "-O1", "-Wall", "-Wextra"];
const LIBRARIES = ["-lrocksdb", "-lpthread"];

const folder = dirname(fileURLToPath(import.meta.url));
const root = join(folder, "..", "..");

/** The path of the compiled test master (e2e/rocksdb/master). */
export function buildTestMaster(tools: RocksdbTools): Promise<string> {
  return buildProgram(tools, join(folder, "master"), "test-master");
}

/** Compiles the C++ program in `sources`; again only when a source or flag changes. Resolves with the path of the binary. */
export async function buildProgram(tools: RocksdbTools, sources: string, program: string): Promise<string> {
  const names = (await readdir(sources)).filter((name) => /\.(cc|h)$/.test(name)).toSorted();
  const hash = createHash("sha256").update(JSON.stringify([tools.compiler, FLAGS, LIBRARIES]));
  for (const name of names) hash.update(name).update(await readFile(join(sources, name)));
  const cache = join(root, ".cache", program);
  const binary = join(cache, `${program}-${hash.digest("hex").slice(0, 16)}`);
  if (existsSync(binary)) return binary;
  await mkdir(cache, { recursive: true });
  const temporary = `${binary}.${process.pid}`;
  const inputs = names.filter((name) => name.endsWith(".cc")).map((name) => join(sources, name));
  await run(tools.compiler, [...FLAGS, "-o", temporary, ...inputs, ...LIBRARIES], { timeout: COMPILE_MS_MAX });
  await rename(temporary, binary);
  return binary;
}
