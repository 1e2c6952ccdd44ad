import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { METAMASTER } from "./member-process.js";

/** Says at its end what was loaded: files, and what of Node is not there from the beginning. */
const HOOK = `
import { registerHooks } from "node:module";
const files = [];
registerHooks({ load: (url, context, next) => (files.push(url), next(url, context)) });
process.on("exit", () => process.stdout.write("\\nLOADED " + JSON.stringify({ files, own: process.moduleLoadList })));
`;

/** What a start of `metamaster <args>` loads; it need not succeed. */
function loadedBy(...args: readonly string[]): { readonly files: readonly string[]; readonly own: readonly string[] } {
  const hook = `data:text/javascript,${encodeURIComponent(HOOK)}`;
  const { stdout } = spawnSync(process.execPath, ["--import", hook, METAMASTER, ...args], {
    encoding: "utf8",
    timeout: 60_000,
  });
  return JSON.parse(stdout.slice(stdout.lastIndexOf("LOADED ") + 7)) as ReturnType<typeof loadedBy>;
}

test("a member that starts loads its own code and its store's, and nothing of what it doesn't use: every module is part of a failover, and of the memory", () => {
  const root = mkdtempSync(join(tmpdir(), "metamaster-e2e-loaded-"));
  try {
    const config = join(root, "metamaster.yaml");
    mkdirSync(join(root, "bucket"));
    const databases = "databases:\n  - name: meta\n    path: meta";
    const rest = `member: a\nbucket:\n  url: s3://b\n  endpoint: http://127.0.0.1:1\n${databases}\nhttp:\n  address: 256.0.0.1:0`;
    writeFileSync(config, `cluster: test\ndataDirectory: data\n${rest}\n`);
    const { files, own } = loadedBy("sidecar", "--config", config);
    const named = (part: string): boolean => files.some((file) => file.includes(part));
    expect(
      ["/surface/compose/run.js", "/member/member.js", "/node_modules/pino/"].filter((part) => !named(part)),
    ).toEqual([]);
    const others = ["/node_modules/pino-pretty/", "/google", "/log/purge/purge.js", "/surface/cli/commands/log.js"];
    expect(others.filter(named)).toEqual([]);
    expect(own.filter((name) => /undici|http2/.test(name))).toEqual([]);
    expect(loadedBy("status", "--config", config).files.filter((file) => file.includes("/replica/ship/"))).toEqual([]);
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
});
