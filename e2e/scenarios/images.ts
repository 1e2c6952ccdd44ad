import { cp, mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import type { Cluster } from "../cluster/cluster.js";
import { addLibraries, addNode, busyboxRoot, writeImage } from "../cluster/image.js";

/** Tests run in the project. */
const project = process.cwd();
const compiled = join(project, "dist");

/** As the Dockerfile names and lays them out: Node, what was compiled, and the packages that it needs. */
export const IMAGE = "kube.local/metamaster:e2e";
export const MASTER_IMAGE = "kube.local/kv-master:e2e";
const USER = "65532:65532";

/** Makes the product's image and the example master's, without Docker, and puts them on every node. */
export async function loadImages(cluster: Cluster): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "metamaster-images-"));
  try {
    await product(folder);
    await cluster.load(join(folder, "metamaster.tar"));
    await master(folder);
    await cluster.load(join(folder, "master.tar"));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function product(folder: string): Promise<void> {
  const root = join(folder, "metamaster");
  await base(root);
  for (const part of ["sidecar/src", "crds/src", "operator/src"])
    await copy(join(compiled, part), join(root, "app/dist", part));
  await cp(join(project, "sidecar/bin"), join(root, "app/sidecar/bin"), { recursive: true });
  for (const part of ["sidecar", "operator", "crds"])
    await copy(join(project, part, "package.json"), join(root, "app", part, "package.json"));
  await copy(join(project, "package.json"), join(root, "app/package.json"));
  await packagesOf(["sidecar", "operator", "crds"], root);
  const Entrypoint = ["/bin/node", "/app/sidecar/bin/metamaster.js"];
  await writeImage(IMAGE, root, join(folder, "metamaster.tar"), {
    Entrypoint,
    Env: ["PATH=/bin"],
    User: USER,
    WorkingDir: "/app",
  });
}

async function master(folder: string): Promise<void> {
  const root = join(folder, "master");
  await busyboxRoot(root);
  await base(root);
  await copy(join(compiled, "examples/kv-master"), join(root, "app/dist/examples/kv-master"));
  await copy(join(project, "package.json"), join(root, "app/package.json"));
  await packagesOf(["examples/kv-master"], root);
  const Entrypoint = ["/bin/node", "/app/dist/examples/kv-master/src/main.js"];
  await writeImage(MASTER_IMAGE, root, join(folder, "master.tar"), {
    Entrypoint,
    Env: ["PATH=/bin"],
    User: USER,
    WorkingDir: "/app",
  });
}

async function base(root: string): Promise<void> {
  await mkdir(join(root, "tmp"), { recursive: true });
  await addNode(root);
}

async function copy(from: string, to: string): Promise<void> {
  await mkdir(dirname(to), { recursive: true });
  await cp(from, to, { recursive: true, filter: (path) => !path.endsWith(".map") && !path.includes(".test.") });
}

interface Manifest {
  readonly dependencies?: Record<string, string>;
  readonly optionalDependencies?: Record<string, string>;
}

/** What the workspaces need at run time, found as Node finds it. */
async function packagesOf(workspaces: readonly string[], root: string): Promise<void> {
  const found = new Set<string>();
  const visit = async (folder: string): Promise<void> => {
    const { dependencies = {}, optionalDependencies = {} } = JSON.parse(
      await readFile(join(folder, "package.json"), "utf8"),
    ) as Manifest;
    for (const name of Object.keys({ ...dependencies, ...optionalDependencies })) {
      const at = resolvePackage(name, folder);
      // An optional one of another platform.
      if (at === undefined || found.has(at) || name.startsWith("@metamaster/")) continue;
      found.add(at);
      await visit(at);
    }
  };
  for (const workspace of workspaces) await visit(join(project, workspace));
  // What holds others first.
  for (const at of [...found].toSorted((a, b) => a.length - b.length)) {
    const to = join(root, "app", relative(project, at));
    if (existsSync(to)) continue;
    await mkdir(dirname(to), { recursive: true });
    for (const name of await readdir(at, { recursive: true })) {
      if (name.endsWith(".node") && !isForeign(join(at, name))) await addLibraries(root, join(at, name));
    }
    await cp(at, to, { recursive: true, filter: isWanted });
  }
}

/** What runs: neither sources nor docs, nor what is for other machines. */
function isWanted(path: string): boolean {
  return !isForeign(path) && (!/\.(map|md|ts|flow)$/.test(path) || /\.(m|c)?js$/.test(path));
}

function isForeign(path: string): boolean {
  const [, platform] = /\/prebuilds\/([^/]+)/.exec(path) ?? [];
  return platform !== undefined && platform !== `${process.platform}-${process.arch}`;
}

function resolvePackage(name: string, from: string): string | undefined {
  for (let folder = from; ; folder = dirname(folder)) {
    const at = join(folder, "node_modules", name);
    if (existsSync(join(at, "package.json"))) return at;
    if (folder === project || folder === "/") return undefined;
  }
}
