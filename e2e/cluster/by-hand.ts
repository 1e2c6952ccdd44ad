import { chmod, copyFile, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { loadImages } from "../scenarios/images.js";
import { binaryPath, whyMissing } from "../servers/catalog.js";
import { addLibraries, busyboxRoot, writeImages } from "./image.js";
import { LocalCluster } from "./local/local.js";
import { buildPrograms } from "./programs.js";

/** `make cluster`: the tests' local cluster for a person, with the images of docs/guides/quick-start.md on its nodes, until Ctrl-C. */
const NODES = Number(process.env["NODES"] ?? "3");
const folder = resolve(".cache/cluster");
const say = (line: string): void => console.log(line);

const ended = new Promise<void>((done) => {
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => done());
});
const why = whyMissing("versitygw");
if (why !== undefined) throw new Error(why);
const cluster = new LocalCluster(say);
const { kube, helm } = await buildPrograms(["kube", "helm"], say);
await cluster.up(NODES);
try {
  await loadImages(cluster);
  await loadStore();
  await writeFolder();
  say(
    `${NODES} nodes are up, with all images of docs/guides/quick-start.md (go on there with examples/kind-store.yaml).`,
  );
  say(`In another terminal: . ${join(folder, "env")}     # kubectl and helm for this cluster`);
  say("Ctrl-C takes it down.");
  await ended;
} finally {
  await cluster.down();
  await rm(folder, { recursive: true, force: true });
}

/** The images of examples/kind-store.yaml, by the names that it gives them. */
async function loadStore(): Promise<void> {
  const work = await mkdtemp(join(tmpdir(), "metamaster-images-"));
  try {
    const [busybox, store, archive] = ["busybox", "store", "images.tar"].map((name) => join(work, name)) as [
      string,
      string,
      string,
    ];
    await busyboxRoot(busybox);
    await mkdir(join(store, "bin"), { recursive: true });
    await copyFile(binaryPath("versitygw"), join(store, "bin/versitygw"));
    await addLibraries(store, binaryPath("versitygw")).catch(() => undefined);
    const images = [
      { names: ["docker.io/library/busybox:1.37"], layers: [busybox], config: { Entrypoint: [] } },
      {
        names: ["docker.io/versity/versitygw:v1.8.0"],
        layers: [busybox, store],
        config: { Entrypoint: ["/bin/versitygw"] },
      },
    ];
    await writeImages(images, archive);
    await cluster.load(archive);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function writeFolder(): Promise<void> {
  const bin = join(folder, "bin");
  await rm(folder, { recursive: true, force: true });
  await mkdir(bin, { recursive: true });
  await copyFile(cluster.kubeconfig, join(folder, "kubeconfig"));
  await symlink(helm, join(bin, "helm"));
  await writeFile(join(bin, "kubectl"), `#!/bin/sh\nexec ${kube} kubectl "$@"\n`);
  await chmod(join(bin, "kubectl"), 0o755);
  await writeFile(
    join(folder, "env"),
    `export KUBECONFIG=${join(folder, "kubeconfig")} PATH=${bin}:$PATH METAMASTER_HOST=${cluster.hostAddress}\n`,
  );
}
