import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Helm, root } from "./helm.js";
import { installYaml } from "./install-yaml.js";

/** `make install.yaml`. */
const helm = await Helm.open();
try {
  await writeFile(join(root, "install.yaml"), await installYaml(helm));
} finally {
  await helm.close();
}
