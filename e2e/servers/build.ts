import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { GO_ENV, GO_FLAGS } from "../tools/go.js";
import { binaryPath, cacheFolder, catalog, serverNames, type ServerName } from "./catalog.js";

const run = promisify(execFile);

/** Builds what is missing or of another version; gives a line for people about each server that can't be had. */
export async function buildServers(say: (line: string) => void): Promise<string[]> {
  const go = await run("go", ["version"]).then(
    () => true,
    () => false,
  );
  const problems: string[] = [];
  for (const name of serverNames) {
    const present = existsSync(binaryPath(name));
    if (!go) {
      // Whoever put a binary there without Go knows why.
      if (!present) problems.push(`${name}: there is no Go here to build it; its tests are skipped`);
      continue;
    }
    if (present && (await isCurrent(name))) continue;
    const started = performance.now();
    say(`building ${name} ${catalog[name].version} (once; it takes minutes) ...`);
    try {
      await build(name);
      say(`built ${name} in ${Math.round((performance.now() - started) / 1000)} s`);
    } catch (error) {
      problems.push(`${name}: ${firstLines(error)}`);
    }
  }
  return problems;
}

/** Go writes the module's version into every binary, so the binary is its own stamp. */
async function isCurrent(name: ServerName): Promise<boolean> {
  const { stdout } = await run("go", ["version", "-m", binaryPath(name)]).catch(() => ({ stdout: "" }));
  const { package: goPackage, version } = catalog[name];
  return stdout.split("\n").some((line) => {
    const [kind, module, found] = line.trim().split("\t");
    return kind === "mod" && module !== undefined && goPackage.startsWith(module) && found === version;
  });
}

/** In a folder of its own and then renamed: a build that is killed, or two at a time, leave a whole binary or none. */
async function build(name: ServerName): Promise<void> {
  const { package: goPackage, version } = catalog[name];
  await mkdir(cacheFolder(), { recursive: true });
  const folder = await mkdtemp(join(cacheFolder(), `.build-${name}-`));
  try {
    await run("go", ["install", ...GO_FLAGS, "-ldflags=-s -w", `${goPackage}@${version}`], {
      env: { ...process.env, ...GO_ENV, GOBIN: folder },
      maxBuffer: 1 << 24,
    });
    await rename(join(folder, name), binaryPath(name));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function firstLines(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.split("\n").slice(0, 4).join(" | ");
}
