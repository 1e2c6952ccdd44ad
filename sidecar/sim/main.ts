import { fork, type ChildProcess } from "node:child_process";
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import type { Mutation } from "./mutation.js";
import { mutations } from "./mutations.js";
import { families } from "./profile.js";
import { simulate, type Outcome } from "./world.js";

/** What a worker reports of one seed. */
interface Report {
  readonly seed: number;
  readonly failure: string | undefined;
  readonly hash: string;
  readonly steps: number;
  readonly rows: number;
  readonly acknowledged: number;
  readonly epochs: number;
  readonly slots: number;
}

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "1000" },
    from: { type: "string", default: "1" },
    seed: { type: "string" },
    trace: { type: "boolean", default: false },
    twice: { type: "boolean", default: false },
    bug: { type: "string" },
    family: { type: "string" },
    healthy: { type: "boolean", default: false },
    parallel: { type: "string", default: "2" },
    summary: { type: "string" },
    minutes: { type: "string", default: "Infinity" },
    "keep-going": { type: "boolean", default: false },
    worker: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

const usage = `Runs whole clusters in a simulation, one a seed, with faults, and checks that nothing acknowledged is ever lost.

  node dist/sidecar/sim/main.js [--seeds N] [--from N] [--parallel N] [--keep-going] [--summary FILE] [--minutes N]
  node dist/sidecar/sim/main.js --seed N [--trace] [--twice]

  --seeds N      how many seeds (1000)            --from N     the first one (1)
  --parallel N   worker processes (2)             --keep-going don't stop at the first failure
  --seed N       this one alone, in this process  --trace      print all that happens
  --healthy      with --bug: its circumstances only
  --twice        run it twice and compare         --bug NAME   plant a bug: ${Object.keys(mutations).join(", ")}
  --family NAME  seeds of this family alone: ${families.join(", ")}
  --summary FILE write {"passed": n, "failed": n} there
  --minutes N    begin no seed later than that; how many it came to is said (no limit)
`;

const family = families.find((each) => each === values.family);
if (values.family !== undefined && family === undefined) throw new Error(`There is no family ${values.family}.`);

/** Of real time, for one seed; the slowest takes a fraction of it. */
const hangMs = 120_000;

async function runSeed(seed: number, print?: (line: string) => void): Promise<Outcome> {
  const name = values.bug;
  const make = name === undefined ? undefined : mutations[name];
  if (name !== undefined && make === undefined) throw new Error(`There is no bug ${name}; see --help.`);
  let stray: unknown;
  const onStray = (error: unknown): void => {
    stray ??= error;
  };
  process.on("unhandledRejection", onStray);
  try {
    const outcome = await simulate({
      seed,
      ...(make === undefined ? {} : { mutation: values.healthy ? circumstancesOf(make()) : make() }),
      ...(print === undefined ? {} : { print }),
      family,
    });
    await new Promise((resolve) => setImmediate(resolve));
    if (stray === undefined || outcome.violation !== undefined) return outcome;
    const error = new Error(`a promise was rejected and nobody cared: ${describe(stray)}`);
    return { ...outcome, violation: error };
  } finally {
    process.off("unhandledRejection", onStray);
  }
}

/** The same circumstances without the bug. */
function circumstancesOf({ adjust, family: told }: Mutation): Mutation {
  return { ...(adjust === undefined ? {} : { adjust }), ...(told === undefined ? {} : { family: told }) };
}

function describe(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

function reportOf(outcome: Outcome): Report {
  const { seed, violation, traceHash, steps, rows, acknowledged, epochs, slots, recent } = outcome;
  const failure = violation === undefined ? undefined : `${recent.slice(-25).join("\n")}\n${describe(violation)}`;
  return { seed, failure, hash: traceHash, steps, rows, acknowledged, epochs, slots };
}

function replay(seed: number): string {
  return ["node dist/sidecar/sim/main.js --seed", seed, "--trace", ...bugArguments()].join(" ");
}

function worker(): void {
  // Thousands of errors are made in the ordinary course of a simulation, and nobody looks at where; a replay shows it.
  Error.stackTraceLimit = 0;
  process.on("message", (seed: number) => {
    runSeed(seed).then(
      (outcome) => process.send?.(reportOf(outcome)),
      (error: unknown) => process.send?.({ seed, failure: describe(error), hash: "", steps: 0 }),
    );
  });
}

async function one(seed: number): Promise<boolean> {
  const outcome = await runSeed(seed, values.trace ? (line) => process.stdout.write(`${line}\n`) : undefined);
  const { violation, traceHash, virtualMs, steps, rows, acknowledged, epochs, slots, faults } = outcome;
  process.stdout.write(
    `seed ${seed}: ${(virtualMs / 1000).toFixed(1)} virtual s, ${steps} steps, ${slots} slots, ${epochs} epochs, ${rows} rows, ${acknowledged} acknowledgements\n` +
      `faults ${[...faults].map(([fault, count]) => `${fault} ${count}`).join(", ")}\ntrace ${traceHash}\n`,
  );
  if (violation !== undefined) process.stdout.write(`FAILED ${describe(violation)}\n`);
  if (!values.twice) return violation === undefined;
  const again = await runSeed(seed);
  const same = again.traceHash === traceHash;
  process.stdout.write(
    same ? "the second run is the same\n" : `NOT DETERMINISTIC: the second run gives ${again.traceHash}\n`,
  );
  return violation === undefined && same;
}

/** Hands seeds to worker processes; one that takes too long is ended, and its seed has failed. */
async function many(from: number, count: number, parallel: number): Promise<boolean> {
  const startMs = performance.now();
  const endMs = startMs + Number(values.minutes) * 60_000;
  let next = from;
  let isLate = false;
  let [passed, failed, steps, rows, acknowledged, epochs] = [0, 0, 0, 0, 0, 0];
  let shownMs = startMs;
  const rate = (): string => (((passed + failed) * 1000) / (performance.now() - startMs)).toFixed(1);
  const take = (report: Report): void => {
    if (report.failure === undefined) passed++;
    else {
      failed++;
      process.stdout.write(`\nseed ${report.seed} FAILED\n${report.failure}\nreplay it with: ${replay(report.seed)}\n`);
      if (!values["keep-going"]) next = from + count;
    }
    steps += report.steps;
    rows += report.rows;
    acknowledged += report.acknowledged;
    epochs += report.epochs;
    const nowMs = performance.now();
    if (nowMs - shownMs < 10_000) return;
    shownMs = nowMs;
    process.stdout.write(`${passed + failed} of ${count} seeds, ${rate()} a second, ${failed} failed\n`);
  };
  const nextSeed = (): number | undefined => {
    if (next >= from + count) return undefined;
    isLate = performance.now() > endMs;
    return isLate ? undefined : next++;
  };
  await Promise.all(Array.from({ length: Math.min(parallel, count) }, () => serve(nextSeed, take)));
  if (isLate)
    process.stdout.write(`after ${values.minutes} minutes, as told, seed ${next} and those behind it were not begun\n`);
  const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
  process.stdout.write(
    `${passed} seeds passed, ${failed} failed in ${seconds} s (${rate()} a second): ${epochs} epochs, ${rows} rows, ${acknowledged} acknowledgements, ${steps} steps\n`,
  );
  if (values.summary !== undefined)
    writeFileSync(values.summary, `${JSON.stringify({ passed, failed, skipped: 0 })}\n`);
  return failed === 0;
}

/** One worker until there are no more seeds. */
function serve(nextSeed: () => number | undefined, take: (report: Report) => void): Promise<void> {
  return new Promise((resolve) => {
    let child: ChildProcess | undefined;
    let watch: NodeJS.Timeout | undefined;
    const more = (): void => {
      clearTimeout(watch);
      const seed = nextSeed();
      if (seed === undefined) {
        child?.disconnect();
        resolve();
        return;
      }
      const worked = (child ??= begin());
      let answered = false;
      const answer = (report: Report): void => {
        if (answered) return;
        answered = true;
        worked.removeAllListeners("message");
        worked.removeAllListeners("exit");
        take(report);
        more();
      };
      const dead = (how: string): void => {
        child = undefined;
        answer({ seed, failure: how, hash: "", steps: 0, rows: 0, acknowledged: 0, epochs: 0, slots: 0 });
      };
      worked.once("message", (report) => answer(report as Report));
      worked.once("exit", (code) => dead(`the worker exited with code ${code}`));
      watch = setTimeout(() => {
        worked.kill("SIGKILL");
        dead(`no end after ${hangMs / 1000} s of real time: it hangs`);
      }, hangMs);
      worked.send(seed);
    };
    more();
  });
}

function bugArguments(): string[] {
  const { bug, healthy } = values;
  return [
    ...(bug === undefined ? [] : ["--bug", bug]),
    ...(family === undefined ? [] : ["--family", family]),
    ...(healthy ? ["--healthy"] : []),
  ];
}

function begin(): ChildProcess {
  const args = ["--worker", ...bugArguments()];
  return fork(fileURLToPath(import.meta.url), args);
}

if (values.help) process.stdout.write(usage);
else if (values.worker) worker();
else {
  const good =
    values.seed === undefined
      ? await many(Number(values.from), Number(values.seeds), Number(values.parallel))
      : await one(Number(values.seed));
  process.exitCode = good ? 0 : 1;
}
