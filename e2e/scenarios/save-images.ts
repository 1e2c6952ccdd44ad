import { copyFile, mkdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { IMAGE, loadImages, MASTER_IMAGE } from "./images.js";

/** Writes both images to one archive, for `kind load image-archive` or any registry's tool. */
const folder = resolve(process.argv[2] ?? ".cache/images");
const archive = join(folder, "images.tar");
await mkdir(folder, { recursive: true });
await loadImages({ load: (tar) => copyFile(tar, archive) });
process.stdout.write(`${IMAGE} and ${MASTER_IMAGE}: ${archive}\n`);
