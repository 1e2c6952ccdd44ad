// A test run of its own for machine.cluster.test.ts, which kills it: takes a machine, starts a program and a frozen node in it, says what it
// has, and waits. Runs the sources themselves: Node strips their types, and the hook finds `x.ts` for the `x.js` that they import.
import { registerHooks } from "node:module";

registerHooks({
  resolve(specifier, context, next) {
    const own = specifier.startsWith(".") && specifier.endsWith(".js");
    return next(own ? specifier.replace(/\.js$/, ".ts") : specifier, context);
  },
});

const { Machine } = await import("./machine.ts");
const machine = await Machine.take("/bin/false");
await machine.do("network", 1);
await machine.start("sleeper", ["sleep", "1000000"]);
await machine.boot(1);
const { slot, folder, guardPid } = machine;
console.log(JSON.stringify({ slot, folder, guardPid }));
setInterval(() => undefined, 1000);
