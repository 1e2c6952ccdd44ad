import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { errorCodes, errorCodesByPart } from "./error-codes.js";

const root = join(import.meta.dirname, "..");
const kinds = "transient|conflict|fenced|corrupt|invalid";

const sources = readdirSync(root, { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".ts") && !name.endsWith(".test.ts"))
  .filter((name) => !name.includes("testing/") && !name.includes("error-codes"))
  .map((name) => ({ name, text: readFileSync(join(root, name), "utf8") }));

/** Where a code is given to an error: as the first argument of its constructor, or right before its kind. */
const patterns = [
  /new MetaMasterError\(\s*"([A-Za-z]+)"/g,
  new RegExp(String.raw`"([A-Z][A-Za-z]+)",\s*"(?:${kinds})"`, "g"),
  /\b(?:bucketError|corrupt|refuse|unsupported)\(\s*"([A-Z][A-Za-z]+)"/g,
  new RegExp(String.raw`code: "([A-Z][A-Za-z]+)",\s*kind: "(?:${kinds})"`, "g"),
];

test("every code that is thrown is listed", () => {
  const missing = new Set<string>();
  for (const { name, text } of sources) {
    for (const pattern of patterns) {
      for (const [, code = ""] of text.matchAll(pattern)) if (!(code in errorCodes)) missing.add(`${code} (${name})`);
    }
  }
  expect([...missing]).toEqual([]);
});

test("every code that is listed occurs in the sources", () => {
  const text = sources.map((source) => source.text).join("\n");
  expect(Object.keys(errorCodes).filter((code) => !text.includes(`"${code}"`))).toEqual([]);
});

test.each(Object.entries(errorCodesByPart))(
  "%s: alphabetical, CamelCase, whole sentences, no code twice",
  (_part, codes) => {
    const names = Object.keys(codes);
    expect(names).toEqual(names.toSorted());
    for (const [code, { meaning, remedy }] of Object.entries(codes)) {
      expect(code).toMatch(/^([A-Z][a-z]+)+$/);
      expect(meaning).toMatch(/^[A-Z`].*\.$/);
      expect(remedy).toMatch(/^[A-Z].*[.?`]$/);
      expect(errorCodes[code]).toBe(codes[code]);
    }
  },
);
