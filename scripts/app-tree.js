/**
 * Lays out what runs in a container below TARGET/app: compiled code, launchers, and the packages that it needs at run time, found as Node finds them. The Dockerfile and the images of
 * the end-to-end tests are both made by it: what is tested is what is shipped.
 *
 *   node scripts/app-tree.js TARGET WORKSPACE...      (built and installed before)
 */
import { cpSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";

const project = resolve(import.meta.dirname, "..");
const [target, ...workspaces] = process.argv.slice(2);
if (target === undefined || workspaces.length === 0)
  throw new Error("usage: node scripts/app-tree.js TARGET WORKSPACE...");
const app = join(resolve(target), "app");

/** @param {string} from @param {string} to @param {(path: string) => boolean} wanted */
function copy(from, to, wanted) {
  mkdirSync(dirname(to), { recursive: true });
  cpSync(from, to, { recursive: true, filter: wanted });
}

/** Neither tests nor what only they need. @param {string} path */
function isCode(path) {
  return !/\.map$|\.d\.ts$|\.test\.js$|\/testing(\/|$)/.test(path);
}

/** Neither sources nor pages, nor what is for other machines. @param {string} path */
function isNeeded(path) {
  const [, platform] = /\/prebuilds\/([^/]+)/.exec(path) ?? [];
  if (platform !== undefined && platform !== `${process.platform}-${process.arch}`) return false;
  return !/\.(map|md|ts|flow)$/.test(path) || /\.[mc]?js$/.test(path);
}

/** @param {string} name @param {string} from */
function resolvePackage(name, from) {
  for (let folder = from; ; folder = dirname(folder)) {
    const at = join(folder, "node_modules", name);
    if (existsSync(join(at, "package.json"))) return at;
    if (folder === project || folder === dirname(folder)) return undefined;
  }
}

/** @type {Set<string>} */
const packages = new Set();

/** @param {string} folder */
function visit(folder) {
  const { dependencies = {}, optionalDependencies = {} } = JSON.parse(
    readFileSync(join(folder, "package.json"), "utf8"),
  );
  for (const name of Object.keys({ ...dependencies, ...optionalDependencies })) {
    if (name.startsWith("@metamaster/")) continue;
    const at = resolvePackage(name, folder);
    if (at === undefined) {
      // An optional one is of another platform.
      if (name in optionalDependencies) continue;
      throw new Error(`${name}, which ${folder} needs, is not installed: run \`make install\``);
    }
    if (packages.has(at)) continue;
    packages.add(at);
    visit(at);
  }
}

copy(join(project, "package.json"), join(app, "package.json"), () => true);
for (const workspace of workspaces) {
  const built = join(project, "dist", workspace, "src");
  if (!existsSync(built)) throw new Error(`${built} is not there: run \`make build\``);
  copy(built, join(app, "dist", workspace, "src"), isCode);
  copy(join(project, workspace, "package.json"), join(app, workspace, "package.json"), () => true);
  const launchers = join(project, workspace, "bin");
  if (existsSync(launchers)) copy(launchers, join(app, workspace, "bin"), () => true);
  visit(join(project, workspace));
}
// What holds others first.
for (const at of [...packages].toSorted((a, b) => a.length - b.length)) {
  const to = join(app, relative(project, at));
  if (!existsSync(to)) copy(at, to, isNeeded);
}
