import { buildServers } from "./build.js";

/** `node dist/e2e/servers/main.js`: gets the object stores of the tests. Under CI=true one that can't be had is a failure. */
const problems = await buildServers((line) => console.log(line));
for (const problem of problems) console.log(`skipped: ${problem}`);
if (problems.length > 0 && process.env["CI"] === "true") process.exitCode = 1;
