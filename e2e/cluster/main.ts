import { buildPrograms } from "./programs.js";
import { clusterOf } from "./provider.js";

/** `node dist/e2e/cluster/main.js kube|cluster`: gets, before the tests run, what they need. */
try {
  // First, because it says at once what this machine lacks.
  if (process.argv[2] === "cluster") await clusterOf().build();
  await buildPrograms(["kube", "helm"], (line) => console.log(line));
} catch (error) {
  console.error(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}
