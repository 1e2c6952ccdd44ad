import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const INSTALL_MS_MAX = 300_000;

/** Installs Debian packages, removing none; gives what went wrong, undefined if it worked. */
export async function aptInstall(packages: readonly string[]): Promise<string | undefined> {
  if (process.getuid?.() !== 0 || onPath("apt-get") === undefined) return "not root on Debian: not installed";
  const options = { timeout: INSTALL_MS_MAX, env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" } };
  // Another run may be installing at the same time.
  const common = ["-q", "-o", "DPkg::Lock::Timeout=240"];
  try {
    await run("apt-get", ["update", ...common], options);
    await run("apt-get", ["install", ...common, "-y", "--no-install-recommends", "--no-remove", ...packages], options);
    return undefined;
  } catch (error) {
    return `apt-get failed: ${error instanceof Error ? error.message.slice(0, 300) : String(error)}`;
  }
}

export function onPath(program: string): string | undefined {
  const folders = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin", "/sbin"];
  return folders.map((folder) => join(folder, program)).find((path) => existsSync(path));
}
