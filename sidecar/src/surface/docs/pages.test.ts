import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { referencePages } from "./pages.js";

const folder = join(import.meta.dirname, "../../../../docs/reference");

test.each(["cli.md", "config.md", "errors.md", "metrics.md"])(
  "docs/reference/%s is what the sources say (else: make docs)",
  async (name) => {
    const pages = await referencePages();
    expect(await readFile(join(folder, name), "utf8")).toBe(pages[name]);
  },
);
