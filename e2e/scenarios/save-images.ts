import { mkdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { IMAGE, makeImages, MASTER_IMAGE } from "./images.js";

/** Writes both images to one archive, for `kind load image-archive`, any registry's tool, or a run of the scenarios. */
const folder = resolve(process.argv[2] ?? ".cache/images");
const archive = join(folder, "images.tar");
await mkdir(folder, { recursive: true });
await makeImages(archive);
process.stdout.write(`${IMAGE} and ${MASTER_IMAGE}: ${archive}\n`);
