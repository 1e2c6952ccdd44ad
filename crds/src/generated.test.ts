import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "@jest/globals";
import { parse } from "yaml";
import { openApiSchema } from "./crd.js";
import { generatedFiles } from "./generated.js";
import { resource } from "./resource.js";
import { conditionReasons } from "./status.js";
import type { Structural } from "./structural.js";

const root = join(import.meta.dirname, "..", "..");
const read = (path: string): string => readFileSync(join(root, path), "utf8");

test.each(Object.keys(generatedFiles()))("%s is what the schema says (else: make docs)", (path) => {
  expect(read(path)).toBe(generatedFiles()[path]);
});

function walk(node: Structural, path: string, visit: (node: Structural, path: string) => void): void {
  visit(node, path);
  for (const [name, child] of Object.entries(node.properties ?? {})) walk(child, `${path}.${name}`, visit);
  if (node.items !== undefined) walk(node.items, `${path}[]`, visit);
  if (node.additionalProperties !== undefined) walk(node.additionalProperties, `${path}{}`, visit);
}

describe("every node", () => {
  const nodes: [string, Structural][] = [];
  walk(openApiSchema(), "", (node, path) => nodes.push([path, node]));

  test("says what it means", () => {
    const silent = nodes.filter(
      ([path, node]) => /^\.(spec|status)/.test(path) && !/[\]}]$/.test(path) && node.description === undefined,
    );
    expect(silent.map(([path]) => path)).toEqual([]);
  });

  test("is bounded, or the API server would find its rules too dear", () => {
    const unbounded = nodes.filter(
      ([path, node]) =>
        (node.items !== undefined && node["maxItems"] === undefined) ||
        (node.additionalProperties !== undefined && node["maxProperties"] === undefined) ||
        (node.type === "string" && path.startsWith(".s") && node["maxLength"] === undefined && node.enum === undefined),
    );
    expect(unbounded.map(([path]) => path)).toEqual([]);
  });

  test("is an object with fields, or a map, or open, but never two of them", () => {
    const both = nodes.filter(([, node]) => node.properties !== undefined && node.additionalProperties !== undefined);
    expect(both.map(([path]) => path)).toEqual([]);
  });

  test("has a whole default, where it has one", () => {
    for (const [path, node] of nodes) {
      if (typeof node.default !== "object" || node.properties === undefined) continue;
      const expected = Object.entries(node.properties).filter(([, child]) => child.default !== undefined);
      expect([path, node.default]).toEqual([
        path,
        Object.fromEntries(expected.map(([name, child]) => [name, child.default])),
      ]);
    }
  });
});

test("the quick start is valid, and what it leaves out has the defaults", () => {
  const { spec } = resource.parse(parse(read("examples/quickstart.yaml")));
  expect(spec).toMatchObject({
    masterContainer: "master",
    failover: { leaseDuration: "15s", renewDeadline: "10s", retryPeriod: "2s" },
    deletionPolicy: "Retain",
    gate: "HoldStart",
  });
});

test("every condition has a reason for when all is well", () => {
  for (const reasons of Object.values(conditionReasons)) expect(Object.keys(reasons).length).toBeGreaterThan(1);
});
