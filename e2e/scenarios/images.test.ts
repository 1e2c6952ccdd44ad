import { expect, test } from "@jest/globals";
import { existsSync, readFileSync } from "node:fs";
import { PRODUCT_CONFIG, PRODUCT_WORKSPACES } from "./images.js";

interface Instruction {
  readonly name: string;
  readonly rest: string;
}

/** Of the Dockerfile, with lines joined that are one. */
const instructions: readonly Instruction[] = readFileSync("Dockerfile", "utf8")
  .replaceAll(/^#.*\n/gm, "")
  .replaceAll(/\\\n\s*/g, "")
  .split("\n")
  .filter((line) => line.trim() !== "")
  .map((line) => {
    const [, name = "", rest = ""] = /^([A-Z]+)\s+(.*)$/.exec(line) ?? [];
    return { name, rest };
  });
const lastStage = instructions.slice(instructions.findLastIndex(({ name }) => name === "FROM"));
const one = (wanted: string): string =>
  lastStage
    .filter(({ name }) => name === wanted)
    .map(({ rest }) => rest)
    .join("|");

test("the Dockerfile starts what the tests' image starts, as the same user and in the same environment", () => {
  expect({
    Entrypoint: JSON.parse(one("ENTRYPOINT")) as unknown,
    Env: one("ENV").split(/\s+/),
    User: one("USER"),
    WorkingDir: one("WORKDIR"),
  }).toEqual(PRODUCT_CONFIG);
});

test("it is laid out of the same parts, with the Node that the tests run on, from files that are there", () => {
  const builds = instructions.filter(({ name }) => name === "RUN").map(({ rest }) => rest);
  expect(builds.at(-1)).toContain(`scripts/app-tree.js /out ${PRODUCT_WORKSPACES.join(" ")}`);
  const { devDependencies, workspaces } = JSON.parse(readFileSync("package.json", "utf8")) as {
    devDependencies: Record<string, string>;
    workspaces: string[];
  };
  expect(instructions).toContainEqual({ name: "ARG", rest: `NODE_VERSION=${devDependencies["node"] ?? ""}` });
  const copied = instructions
    .filter(({ name, rest }) => name === "COPY" && !rest.startsWith("--from"))
    .flatMap(({ rest }) => rest.split(/\s+/).slice(0, -1));
  expect(copied.filter((path) => !existsSync(path))).toEqual([]);
  // One that is forgotten has no packages when it is compiled.
  expect(copied).toEqual(expect.arrayContaining(workspaces.map((folder) => `${folder}/package.json`)));
});
