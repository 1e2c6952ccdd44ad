import { buildPrograms } from "./programs.js";

/** `node dist/e2e/cluster/main.js kube|cluster`: builds, before the tests run, what they need. */
const programs = process.argv[2] === "cluster" ? (["kube", "coredns", "helm", "pause"] as const) : (["kube"] as const);
await buildPrograms(programs, (line) => console.log(line));
