/**
 * `node dist/e2e/tools/main.js`: gets, before the tests run, what they need from outside: the object stores and RocksDB's tools. What
 * can't be had is named, and the tests that need it are skipped; under CI=true that is a failure.
 */
import { aptInstall, onPath } from "./apt.js";
import { rocksdbTools } from "../rocksdb/tools.js";
import { buildServers } from "../servers/build.js";

const problems = await buildServers((line) => console.log(line));
const found = await rocksdbTools();
if ("missing" in found) problems.push(found.missing);
if (onPath("openssl") === undefined) {
  const problem = await aptInstall(["openssl"]);
  if (problem !== undefined) problems.push(`openssl, for certificates: ${problem}`);
}
for (const problem of problems) console.log(`skipped: ${problem}`);
if (problems.length > 0 && process.env["CI"] === "true") process.exitCode = 1;
