import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { cacheFolder } from "../servers/catalog.js";
import { onPath } from "./apt.js";

const run = promisify(execFile);
const MS_MAX = 240_000;

/**
 * Path of Prometheus' own promtool. Taken out of Debian's package without installing it: that would start a server. Undefined, after saying why, if it can't be had here; under CI=true that is an
 * error.
 */
export async function requirePromtool(what: string): Promise<string | undefined> {
  const cached = join(cacheFolder(), "promtool");
  const found = onPath("promtool") ?? (existsSync(cached) ? cached : undefined);
  if (found !== undefined) return found;
  try {
    await extract(cached);
    return cached;
  } catch (error) {
    const why = `there is no promtool (on Debian: apt-get install prometheus): ${error instanceof Error ? error.message.slice(0, 300) : String(error)}`;
    if (process.env["CI"] === "true") throw new Error(`${what}: ${why}`, { cause: error });
    console.warn(`SKIPPED: ${what}: ${why}`);
    return undefined;
  }
}

/** In a folder of its own and then renamed: whole, or not there. */
async function extract(target: string): Promise<void> {
  await mkdir(cacheFolder(), { recursive: true });
  const folder = await mkdtemp(join(cacheFolder(), ".promtool-"));
  const options = { cwd: folder, timeout: MS_MAX };
  try {
    await run("apt-get", ["update", "-q", "-o", "DPkg::Lock::Timeout=240"], options);
    // The user that apt downloads as could not write into it.
    await run("apt-get", ["download", "-q", "-o", "APT::Sandbox::User=root", "prometheus"], options);
    const [archive] = (await readdir(folder)).filter((name) => name.endsWith(".deb"));
    if (archive === undefined) throw new Error("apt-get download left no package");
    await run("dpkg-deb", ["-x", archive, "out"], options);
    await rename(join(folder, "out/usr/bin/promtool"), target);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
