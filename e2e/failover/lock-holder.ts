/**
 * A master in the small, for `node -e`: holds LOCK as RocksDB does (fcntl on the whole range: here by SQLite, the only thing in Node that calls fcntl), with a child of its own.
 * Arguments: LOCK, a folder for what it says, and what it does: `polite` finishes on SIGTERM, `deaf` ignores it. Ends with 3 once there is a file `end`, and with 4 if it can't have the LOCK.
 */
export const lockHolder = `
const { DatabaseSync } = require("node:sqlite");
const { spawn } = require("node:child_process");
const { existsSync, writeFileSync } = require("node:fs");
const [, lock, folder, manner] = process.argv;
process.on("SIGTERM", () => {
  if (manner === "deaf") return;
  writeFileSync(folder + "/finished", "yes");
  child.kill("SIGKILL");
  process.exit(0);
});
// Before the LOCK: whoever sees that held sees the child, too.
const child = spawn("sleep", ["1000"], { stdio: "ignore" });
let database;
try {
  database = new DatabaseSync(lock);
  database.exec("BEGIN EXCLUSIVE");
} catch {
  child.kill("SIGKILL");
  process.exit(4);
}
writeFileSync(folder + "/pids", process.pid + " " + child.pid);
setInterval(() => {
  if (existsSync(folder + "/end")) process.exit(3);
}, 20);
`;
