import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { chmod, copyFile, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { promisify } from "node:util";
import { onPath } from "../tools/apt.js";

const run = promisify(execFile);
const TAR_MS_MAX = 300_000;

/** What a container starts with; the names are the image format's. */
export interface ImageConfig {
  readonly Entrypoint?: readonly string[];
  readonly Cmd?: readonly string[];
  readonly Env?: readonly string[];
  readonly WorkingDir?: string;
  readonly User?: string;
}

export interface Image {
  /** One or several. */
  readonly names: readonly string[];
  /** Folders, the lowest first; one that several images have is written, sent and unpacked once. */
  readonly layers: readonly string[];
  readonly config: ImageConfig;
}

/** Writes images as `docker save` would, with nothing but tar. Same files, same images. */
export async function writeImages(images: readonly Image[], tar: string): Promise<void> {
  const work = await mkdtemp(join(tmpdir(), "metamaster-image-"));
  try {
    const digests = new Map<string, string>();
    for (const folder of new Set(images.flatMap(({ layers }) => layers))) {
      digests.set(folder, await writeLayer(folder, join(work, `layer${digests.size}.tar`)));
    }
    const files = [...digests.keys()];
    const manifest: object[] = [];
    for (const [index, { names, layers, config }] of images.entries()) {
      const Config = `config${index}.json`;
      const diffIds = layers.map((folder) => digests.get(folder));
      await writeFile(join(work, Config), JSON.stringify(configOf(config, diffIds)));
      const Layers = layers.map((folder) => `layer${files.indexOf(folder)}.tar`);
      manifest.push({ Config, RepoTags: names, Layers });
    }
    await writeFile(join(work, "manifest.json"), JSON.stringify(manifest));
    await run("tar", ["-C", work, "-cf", tar, "."], { timeout: TAR_MS_MAX });
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** Its digest. */
async function writeLayer(folder: string, tar: string): Promise<string> {
  const plain = ["--numeric-owner", "--owner=0", "--group=0", "--sort=name", "--mtime=@0"];
  await run("tar", [...plain, "-C", folder, "-cf", tar, "."], { timeout: TAR_MS_MAX });
  const hash = createHash("sha256");
  await pipeline(createReadStream(tar), hash);
  return `sha256:${hash.digest("hex")}`;
}

function configOf(config: ImageConfig, diffIds: readonly unknown[]): object {
  return {
    architecture: process.arch === "x64" ? "amd64" : process.arch,
    os: "linux",
    config,
    rootfs: { type: "layers", diff_ids: diffIds },
    history: diffIds.map(() => ({ created: "1970-01-01T00:00:00Z", created_by: "e2e" })),
  };
}

/** A root file system with busybox under all its names. Debian's static one can't resolve names. */
export async function busyboxRoot(root: string): Promise<void> {
  for (const folder of ["bin", "etc", "tmp", "root", "proc", "sys", "dev"]) {
    await mkdir(join(root, folder), { recursive: true });
  }
  await chmod(join(root, "tmp"), 0o1777);
  const busybox = onPath("busybox");
  if (busybox === undefined) throw new Error("there is no busybox: install Debian's busybox-static");
  await copyFile(busybox, join(root, "bin/busybox"));
  const { stdout } = await run(busybox, ["--list"]);
  for (const applet of stdout.split("\n")) {
    if (applet !== "" && applet !== "busybox") await symlink("busybox", join(root, "bin", applet));
  }
  await writeFile(join(root, "etc/passwd"), "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n");
  await writeFile(join(root, "etc/group"), "root:x:0:\nnogroup:x:65534:\n");
}

/** Adds the Node that runs this, as /bin/node, with the libraries that it needs. */
export async function addNode(root: string): Promise<void> {
  await addLibraries(root, process.execPath);
  await copyTo(process.execPath, join(root, "bin/node"));
}

/** Adds the shared libraries that a program or a native module needs. */
export async function addLibraries(root: string, file: string): Promise<void> {
  const { stdout } = await run("ldd", [file]);
  const libraries = stdout.match(/\/\S+/g) ?? [];
  for (const library of libraries) await copyTo(library, join(root, library));
}

async function copyTo(from: string, to: string): Promise<void> {
  await mkdir(dirname(to), { recursive: true });
  await copyFile(from, to);
  await chmod(to, 0o755);
}
