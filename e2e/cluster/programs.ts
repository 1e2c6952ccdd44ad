import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat, utimes } from "node:fs/promises";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { cacheFolder } from "../servers/catalog.js";
import { GO_ENV, GO_FLAGS } from "../tools/go.js";

const run = promisify(execFile);

/**
 * `kube` is etcd and every Kubernetes program in one file: its first argument names the program (`kube kubectl get pods`). All are built
 * from one Go module (`programs/go.mod` has their versions), so what they share is compiled once.
 */
export type Program = "kube" | "coredns" | "helm" | "pause";

const KUBERNETES = "v1.34.4";
const SOURCES = join(sourceFolder(), "programs");
const BUILD_MS_MAX = 45 * 60_000;
const UNUSED_MS_MAX = 14 * 24 * 3_600_000;

/** Kubelet and clients compare these; nothing in them may differ from build to build. */
const STAMPS = ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"].flatMap((version) =>
  [
    `gitVersion=${KUBERNETES}`,
    "gitMajor=1",
    `gitMinor=${KUBERNETES.split(".")[1]}`,
    "gitTreeState=clean",
    "buildDate=2026-01-01T00:00:00Z",
  ].map((stamp) => `-X ${version}.${stamp}`),
);
const FLAGS = [...GO_FLAGS, "-ldflags", ["-s -w", ...STAMPS].join(" ")];
const PACKAGES = { kube: "./kube", coredns: "./coredns", helm: "helm.sh/helm/v3/cmd/helm" } as const;

/** The path of a program, whether or not it is there yet: below the tests' cache folder, by a digest of versions, sources and flags. */
async function programPath(program: Program): Promise<string> {
  return join(cacheFolder(), `kubernetes-${await digest()}`, program);
}

/** Builds what is missing; gives the paths. From an empty Go cache `kube` takes about 13 minutes of CPU, later 10 seconds. */
export async function buildPrograms<P extends Program>(
  programs: readonly P[],
  say: (line: string) => void,
): Promise<Record<P, string>> {
  const paths = {} as Record<P, string>;
  for (const program of programs) {
    const path = await programPath(program);
    paths[program] = path;
    if (!existsSync(path)) {
      const started = performance.now();
      say(`building ${program} (once; kube takes 7 to 13 minutes) ...`);
      await build(program, path);
      say(`built ${program} in ${Math.round((performance.now() - started) / 1000)} s`);
    }
    const now = new Date();
    // For `forgetOld`; a cache that another user filled can't be marked, and need not be.
    await utimes(join(path, ".."), now, now).catch(() => undefined);
  }
  await forgetOld(say);
  return paths;
}

/** In a folder of its own and then renamed: a build that is killed, or two at a time, leave a whole binary or none. */
async function build(program: Program, path: string): Promise<void> {
  await needGo(program);
  await mkdir(join(path, ".."), { recursive: true });
  const folder = await mkdtemp(join(path, "..", `.build-${program}-`));
  const out = join(folder, program);
  const options = { cwd: SOURCES, env: { ...process.env, ...GO_ENV }, maxBuffer: 1 << 24 };
  try {
    if (program === "pause") {
      const module = await run("go", ["list", "-m", "-f", "{{.Dir}}", "k8s.io/kubernetes"], options);
      const source = join(module.stdout.trim(), "build/pause/linux/pause.c");
      await run("gcc", ["-Os", "-static", "-o", out, source], { timeout: 60_000 });
    } else {
      await run("go", ["build", ...FLAGS, "-o", out, PACKAGES[program]], { ...options, timeout: BUILD_MS_MAX });
    }
    await rename(out, path);
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    throw new Error(`${program} could not be built: ${text.split("\n").slice(0, 6).join(" | ")}`, { cause: error });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function needGo(program: Program): Promise<void> {
  await run("go", ["version"]).catch((error: unknown) => {
    throw new Error(
      `${program} is not in ${cacheFolder()} and there is no Go on PATH to build it: install Go 1.24 or later`,
      { cause: error },
    );
  });
}

let digested: Promise<string> | undefined;

function digest(): Promise<string> {
  digested ??= digestOf();
  return digested;
}

async function digestOf(): Promise<string> {
  const hash = createHash("sha256").update(JSON.stringify([FLAGS, PACKAGES, process.arch]));
  const entries = await readdir(SOURCES, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  for (const file of files.toSorted())
    hash
      .update(file.slice(SOURCES.length))
      .update("\0")
      .update(await readFile(file));
  return hash.digest("hex").slice(0, 16);
}

/** Builds of other versions that nobody used for two weeks: each is 260 MB. */
async function forgetOld(say: (line: string) => void): Promise<void> {
  const current = `kubernetes-${await digest()}`;
  for (const name of await readdir(cacheFolder())) {
    if (!name.startsWith("kubernetes-") || name === current) continue;
    const folder = join(cacheFolder(), name);
    if (Date.now() - (await stat(folder)).mtimeMs < UNUSED_MS_MAX) continue;
    say(`removing ${folder}: unused for two weeks`);
    await rm(folder, { recursive: true, force: true });
  }
}

/** `e2e/cluster` of the checkout: Go sources and scripts are not copied to `dist`, from where this may run. */
export function sourceFolder(): string {
  for (let folder = import.meta.dirname; ; folder = dirname(folder)) {
    const found = join(folder, "e2e/cluster");
    if (existsSync(join(found, "programs/go.mod"))) return found;
    if (dirname(folder) === folder) throw new Error(`e2e/cluster is in no folder above ${import.meta.dirname}`);
  }
}
