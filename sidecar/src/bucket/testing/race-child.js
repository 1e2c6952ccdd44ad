// A process of its own for open.test.ts: creates keys in a file bucket with bytes that name it, and prints the keys it won.
// Runs the sources themselves: Node strips their types, and the hook finds `x.ts` for the `x.js` that they import.
import { writeSync } from "node:fs";
import { registerHooks } from "node:module";
import { pathToFileURL } from "node:url";

registerHooks({
  resolve(specifier, context, next) {
    const own = specifier.startsWith(".") && specifier.endsWith(".js");
    return next(own ? specifier.replace(/\.js$/, ".ts") : specifier, context);
  },
});

const [root, number, count, dieAt] = process.argv.slice(2);
const { openBucket } = await import("../open.js");
const { SystemClock } = await import("../../base/system-clock.js");
const { SystemRandom } = await import("../../base/system-random.js");
const components = { clock: new SystemClock(), random: new SystemRandom(), onRetry: () => undefined };
const bucket = await openBucket({ url: pathToFileURL(root).href }, components);
for (let i = 0; i < Number(count); i++) {
  const key = `log/${String(i).padStart(20, "0")}`;
  // In the middle of this put, at another point of it in each run.
  if (String(i) === dieAt) setTimeout(() => process.kill(process.pid, "SIGKILL"), i % 4);
  const answer = await bucket.putIfAbsent(key, Buffer.alloc(30_000, Number(number)), {});
  if (answer === "created") writeSync(1, `${key}\n`);
}
writeSync(1, "done\n");
