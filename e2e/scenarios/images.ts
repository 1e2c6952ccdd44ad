import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import type { Cluster } from "../cluster/cluster.js";
import { addLibraries, addNode, busyboxRoot, writeImages, type ImageConfig } from "../cluster/image.js";

const run = promisify(execFile);
const LAYOUT_MS_MAX = 120_000;

export const IMAGE = "kube.local/metamaster:e2e";
export const MASTER_IMAGE = "kube.local/kv-master:e2e";
/** The same by other names: to upgrade to. */
export const NEXT_IMAGE = `${IMAGE}-next`;
export const NEXT_MASTER_IMAGE = `${MASTER_IMAGE}-next`;

/** As the Dockerfile says it (images.test.ts compares them). */
export const PRODUCT_CONFIG = {
  Entrypoint: ["/bin/node", "/app/sidecar/bin/metamaster.js"],
  Env: [
    "PATH=/bin:/app/sidecar/bin",
    "METAMASTER_CONFIG=/etc/metamaster/metamaster.yaml",
    "MALLOC_ARENA_MAX=2",
    "MALLOC_MMAP_THRESHOLD_=1048576",
  ],
  User: "65532:65532",
  WorkingDir: "/app",
} as const satisfies ImageConfig;
/** Whose code and packages are in it. */
export const PRODUCT_WORKSPACES = ["sidecar", "operator", "crds"] as const;

const MASTER_CONFIG: ImageConfig = {
  ...PRODUCT_CONFIG,
  Entrypoint: ["/bin/node", "/app/dist/examples/kv-master/src/main.js"],
  Env: ["PATH=/bin"],
};

/** Puts the product's image and the example master's on every node: from the archive that METAMASTER_IMAGES names, made once for a whole run, else from one made for this. */
export async function loadImages(cluster: Pick<Cluster, "load">): Promise<void> {
  const made = process.env["METAMASTER_IMAGES"];
  if (made !== undefined && made !== "") {
    await cluster.load(resolve(made));
    return;
  }
  const folder = await mkdtemp(join(tmpdir(), "metamaster-images-"));
  try {
    const archive = join(folder, "images.tar");
    await makeImages(archive);
    await cluster.load(archive);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Writes both to one archive, without Docker. */
export async function makeImages(archive: string): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "metamaster-images-"));
  try {
    const [node, product, master] = ["node", "product", "master"].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    await mkdir(join(node, "tmp"), { recursive: true });
    await addNode(node);
    await layOut(product, PRODUCT_WORKSPACES);
    await busyboxRoot(master);
    await layOut(master, ["examples/kv-master"]);
    await writeImages(
      [
        { names: [IMAGE, NEXT_IMAGE], layers: [node, product], config: PRODUCT_CONFIG },
        { names: [MASTER_IMAGE, NEXT_MASTER_IMAGE], layers: [node, master], config: MASTER_CONFIG },
      ],
      archive,
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** By the same program as the Dockerfile; native modules find their libraries in a base image there, here they come along. Tests run in the project. */
async function layOut(root: string, workspaces: readonly string[]): Promise<void> {
  await run(process.execPath, ["scripts/app-tree.js", root, ...workspaces], { timeout: LAYOUT_MS_MAX });
  for (const name of await readdir(root, { recursive: true })) {
    if (name.endsWith(".node")) await addLibraries(root, join(root, name));
  }
}
