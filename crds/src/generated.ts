import { stringify } from "yaml";
import { apiPage } from "./api-page.js";
import { customResourceDefinition } from "./crd.js";
import { GROUP, PLURAL } from "./resource.js";

/** All files that are made of the schema, by their path in the project. */
export function generatedFiles(): Readonly<Record<string, string>> {
  const note = "# Made by `make docs` of crds/src; edit the sources instead.\n";
  const crd = note + stringify(customResourceDefinition(), { lineWidth: 0 });
  return {
    [`crds/${GROUP}_${PLURAL}.yaml`]: crd,
    "charts/metamaster/files/crd.yaml": crd,
    "docs/reference/api.md": apiPage(),
  };
}
