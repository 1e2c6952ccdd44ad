// A test run of its own for crash.test.ts, which kills it: starts a server, says its pid and folder, and waits.
// Runs the sources themselves: Node strips their types, and the hook finds `x.ts` for the `x.js` that they import.
import { registerHooks } from "node:module";

registerHooks({
  resolve(specifier, context, next) {
    const own = specifier.startsWith(".") && specifier.endsWith(".js");
    return next(own ? specifier.replace(/\.js$/, ".ts") : specifier, context);
  },
});

const { StoreServer } = await import("./server.js");
const { pid, folder } = await StoreServer.start("versitygw");
console.log(`${pid} ${folder}`);
setInterval(() => undefined, 1000);
