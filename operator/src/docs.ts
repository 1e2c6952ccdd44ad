import { writeFile } from "node:fs/promises";
import { operatorMetricsPage } from "./metrics-page.js";

/** `make docs`, from the project's directory. */
await writeFile("docs/reference/operator-metrics.md", await operatorMetricsPage());
