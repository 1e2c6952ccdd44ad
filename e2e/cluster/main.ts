import { buildPrograms } from "./programs.js";
import { clusterOf } from "./provider.js";

/** `node dist/e2e/cluster/main.js kube|cluster`: gets, before the tests run, what they need. */
try {
  await buildPrograms(["kube"], (line) => console.log(line));
  if (process.argv[2] === "cluster") await clusterOf().build();
} catch (error) {
  console.error(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}
