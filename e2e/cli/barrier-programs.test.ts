import { execFile, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, jest, test } from "@jest/globals";
import { put } from "./key-value.js";
import { MemberProcess } from "./member-process.js";

jest.setTimeout(180_000);

const examples = new URL("../../examples/barrier/", import.meta.url).pathname;

interface Language {
  readonly name: string;
  readonly tool: readonly string[];
  /** Command lines: what makes the program, if anything, and what runs it. */
  readonly make?: (folder: string) => readonly string[];
  readonly run: (folder: string) => readonly string[];
}

const languages: readonly Language[] = [
  {
    name: "Go",
    tool: ["go", "version"],
    make: (folder) => ["go", "build", "-o", join(folder, "go-barrier"), join(examples, "go/main.go")],
    run: (folder) => [join(folder, "go-barrier")],
  },
  {
    name: "Rust",
    tool: ["rustc", "--version"],
    make: (folder) => [
      "rustc",
      "--edition=2021",
      "-Dwarnings",
      "-o",
      join(folder, "rust-barrier"),
      join(examples, "rust/main.rs"),
    ],
    run: (folder) => [join(folder, "rust-barrier")],
  },
  {
    name: "Java",
    tool: ["javac", "-version"],
    make: (folder) => ["javac", "-Werror", "-d", folder, join(examples, "java/Barrier.java")],
    run: (folder) => ["java", "-cp", folder, "Barrier"],
  },
  { name: "Python", tool: ["python3", "--version"], run: () => ["python3", join(examples, "python/barrier.py")] },
];

const here = languages.filter(({ tool: [program = "", ...args] }) => spawnSync(program, args).status === 0);
const missing = languages.filter((language) => !here.includes(language)).map(({ name }) => name);
if (missing.length > 0) process.stderr.write(`no toolchain here for the barrier in ${missing.join(", ")}\n`);

let root: string;
let primary: MemberProcess;
let standby: MemberProcess;

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), "metamaster-e2e-barrier-"));
  primary = new MemberProcess({ name: "alpha", root });
  standby = new MemberProcess({ name: "beta", root });
  primary.startKeyValueMaster();
  await primary.untilRole("Primary");
  await primary.masterUrl();
  standby.startKeyValueMaster();
  await standby.untilRole("Standby");
});

afterAll(async () => {
  for (const member of [primary, standby]) await member?.end();
  rmSync(root, { recursive: true, force: true });
});

function execute(
  [program = "", ...args]: readonly string[],
  url = "",
): Promise<{ code: unknown; out: string; err: string }> {
  return new Promise((resolve) => {
    const env = { ...process.env, METAMASTER_URL: url };
    execFile(program, args, { env, timeout: 150_000 }, (error, out, err) =>
      resolve({ code: error === null ? 0 : error.code, out, err }),
    );
  });
}

function urlOf(member: MemberProcess): string {
  return (JSON.parse(readFileSync(join(member.data, ".metamaster/http.json"), "utf8")) as { url: string }).url;
}

async function durableSlot(): Promise<number> {
  const { out } = await primary.cli("log", "list", "--limit", "1", "-o", "json");
  return (JSON.parse(out) as { slot: number }[])[0]?.slot ?? -1;
}

test("there is a toolchain for one of them at least", () => expect(here).not.toEqual([]));

test.each(here.map((language) => [language.name, language] as const))(
  "the barrier in %s: durable on the primary, refused with the reason elsewhere and where nobody answers",
  async (name, { make, run }) => {
    if (make !== undefined) expect(await execute(make(root))).toMatchObject({ code: 0 });
    await put(await primary.masterUrl(), name, "a row");
    expect(await execute(run(root), urlOf(primary))).toEqual({ code: 0, out: "durable\n", err: "" });
    expect(await durableSlot()).toBeGreaterThan(0);
    const refused = await execute(run(root), urlOf(standby));
    expect(refused).toMatchObject({ code: 1, out: "" });
    expect(refused.err).toContain("NotPrimary");
    expect(await execute(run(root), "http://127.0.0.1:1")).toMatchObject({ code: 1, out: "" });
  },
);
