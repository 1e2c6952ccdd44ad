/**
 * Runs every test that needs no Kubernetes, runner by runner, and prints one line `N passed, N failed` summed over all of them.
 * A skipped test is a failure under CI=true. With `--only NAME[,NAME]` some runners alone: unit, e2e, sim, and those that need it: kube, cluster.
 */
import { spawn } from "node:child_process";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: {
    only: { type: "string" },
    seeds: { type: "string", default: "2000" },
    minutes: { type: "string", default: "3" },
  },
});
const results = ".cache/test-results";
rmSync(results, { recursive: true, force: true });
mkdirSync(results, { recursive: true });

/** @param {string} name @param {string[]} args */
function jest(name, args) {
  const file = `${results}/${name}.json`;
  return {
    name,
    command: [
      "--experimental-vm-modules",
      "--no-warnings",
      "node_modules/jest/bin/jest.js",
      `--selectProjects=${name}`,
      "--testTimeout=120000",
      "--json",
      `--outputFile=${file}`,
      ...args,
    ],
    count() {
      const report = JSON.parse(readFileSync(file, "utf8"));
      return {
        passed: report.numPassedTests,
        failed: report.numFailedTests + report.numRuntimeErrorTestSuites,
        skipped: report.numPendingTests,
        failures: failuresOf(report),
      };
    },
  };
}

/** What failed, once more where somebody looks who sees only the end. @param {any} report */
function failuresOf(report) {
  return report.testResults.flatMap((/** @type {any} */ file) => {
    const tests = file.assertionResults.filter((/** @type {any} */ each) => each.status === "failed");
    const told = tests.map((/** @type {any} */ each) => `${each.fullName}\n${each.failureMessages.join("\n")}`);
    return told.length === 0 && file.status === "failed" ? [`${file.name}\n${file.message}`] : told;
  });
}

const runners = [
  jest("unit", ["--maxWorkers=2"]),
  {
    name: "sim",
    command: [
      "dist/sidecar/sim/main.js",
      "--seeds",
      values.seeds,
      "--parallel",
      "2",
      // On a slow machine the others need the time.
      "--minutes",
      values.minutes,
      "--summary",
      `${results}/sim.json`,
    ],
    count: () => JSON.parse(readFileSync(`${results}/sim.json`, "utf8")),
  },
  jest("e2e", ["--runInBand"]),
  // They wait, for leases and watches: three API servers at a time need no more of a processor than one.
  jest("kube", ["--maxWorkers=3"]),
  jest("cluster", ["--runInBand"]),
].filter(({ name }) => (values.only ?? "unit,sim,e2e").split(",").includes(name));

/** @param {string[]} command @returns {Promise<number>} */
function run(command) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, command, { stdio: ["ignore", "inherit", "inherit"] });
    child.on("error", reject);
    child.on("close", (code) => resolve(code ?? 1));
  });
}

const FAILURE_CHARACTERS_MAX = 1500;
/** @type {string[]} */
const failures = [];
let passed = 0;
let failed = 0;
let skipped = 0;
for (const runner of runners) {
  process.stdout.write(`\n== ${runner.name}\n`);
  const code = await run(runner.command);
  /** @type {{ passed: number, failed: number, skipped: number, failures?: string[] }} */
  let counted = { passed: 0, failed: 0, skipped: 0 };
  try {
    counted = { ...counted, ...runner.count() };
  } catch (error) {
    process.stdout.write(
      `${runner.name}: no result was written (${error instanceof Error ? error.message : String(error)})\n`,
    );
  }
  if (code !== 0 && counted.failed === 0) counted.failed = 1;
  failures.push(...(counted.failures ?? []).map((each) => `${runner.name}: ${each.slice(0, FAILURE_CHARACTERS_MAX)}`));
  passed += counted.passed;
  failed += counted.failed;
  skipped += counted.skipped;
}
if (process.env.CI === "true" && skipped > 0) {
  process.stdout.write(`${skipped} tests were skipped: under CI=true a skip is a failure\n`);
  failed += skipped;
  skipped = 0;
}
if (skipped > 0) process.stdout.write(`${skipped} tests were skipped, see above why\n`);
for (const failure of failures) process.stdout.write(`\nFAILED ${failure}\n`);
process.stdout.write(`\n${passed} passed, ${failed} failed\n`);
process.exitCode = failed === 0 ? 0 : 1;
