import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { referencePages } from "./pages.js";

/** `make docs`, from the project's directory: writes the generated pages. */
const folder = join("docs", "reference");
await mkdir(folder, { recursive: true });
for (const [name, text] of Object.entries(await referencePages())) await writeFile(join(folder, name), text);
