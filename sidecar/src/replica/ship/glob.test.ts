import { describe, expect, test } from "@jest/globals";
import { parseGlob } from "./glob.js";

describe("companion globs", () => {
  test.each([
    ["kv_backend", "kv_backend", true],
    ["kv_backend", "kv_backend2", false],
    ["kv_backend", "sub/kv_backend", false],
    ["meta/checkpoint", "meta/checkpoint/ck-1/000004.sst", true],
    ["meta/checkpoint/*", "meta/checkpoint/ck-1/CURRENT", true],
    ["meta/checkpoint/*", "meta/checkpoint", false],
    ["*.txt", "a.txt", true],
    ["*.txt", "a/b.txt", false],
    ["**/*.txt", "b.txt", true],
    ["**/*.txt", "a/c/b.txt", true],
    ["a/**/b", "a/b", true],
    ["a/**/b", "a/x/y/b", true],
    ["a/**/b", "a/x/y/c", false],
    ["a?c", "abc", true],
    ["a?c", "ac", false],
    ["a.c", "abc", false],
    ["a[b]c", "a[b]c", true],
    ["a[b]c", "abc", false],
    ["#rocksdb", "#rocksdb", true],
  ])("%s on %s: %s", (pattern, path, expected) => {
    expect(parseGlob(pattern).matches(path.split("/"))).toBe(expected);
  });

  test.each(["", "/etc/passwd", "a//b", "../up", "a/../b", "./a", "a**", ".metamaster/state.json"])(
    "refuses %j",
    (pattern) => {
      expect(() => parseGlob(pattern)).toThrow(expect.objectContaining({ code: "CompanionInvalid" }));
    },
  );

  test("a walk begins at the fixed part and leaves out what can't match", () => {
    const glob = parseGlob("meta/checkpoint/ck-*");
    expect(glob.root).toEqual(["meta", "checkpoint"]);
    expect(glob.mayMatchBelow(["meta"])).toBe(true);
    expect(glob.mayMatchBelow(["meta", "checkpoint"])).toBe(true);
    expect(glob.mayMatchBelow(["meta", "other"])).toBe(false);
    expect(glob.mayMatchBelow(["meta", "checkpoint", "ck-7", "deep"])).toBe(true);
    expect(glob.mayMatchBelow(["meta", "checkpoint", "tmp-7"])).toBe(false);
  });
});
