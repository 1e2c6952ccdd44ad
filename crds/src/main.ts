import { writeFile } from "node:fs/promises";
import { generatedFiles } from "./generated.js";

/** `make docs`, from the project's directory. */
for (const [path, text] of Object.entries(generatedFiles())) await writeFile(path, text);
