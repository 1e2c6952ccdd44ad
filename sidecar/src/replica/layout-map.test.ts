import { describe, expect, test } from "@jest/globals";
import { hasCode } from "../base/errors.js";
import { ImageLayout } from "./layout-map.js";

const layout = new ImageLayout({
  dataDirectory: "/data",
  databases: [
    { name: "db", path: "/data/db" },
    { name: "state", path: "/elsewhere/state", walPath: "/data/wal" },
  ],
  companions: ["meta/**"],
});

describe("an image path on this disk", () => {
  test.each([
    ["db/000012.log", "/data/db/000012.log"],
    ["db/archive/000012.log", "/data/db/archive/000012.log"],
    ["db/MANIFEST-000004", "/data/db/MANIFEST-000004"],
    ["db/CURRENT", "/data/db/CURRENT"],
    ["db/OPTIONS-000007", "/data/db/OPTIONS-000007"],
    ["db/IDENTITY", "/data/db/IDENTITY"],
    ["db/000009.sst", "/data/db/000009.sst"],
    ["db/000009.ldb", "/data/db/000009.ldb"],
    ["db/000009.blob", "/data/db/000009.blob"],
    ["state/000009.sst", "/elsewhere/state/000009.sst"],
    ["state@wal/000012.log", "/data/wal/000012.log"],
    ["state@wal/archive/000012.log", "/data/wal/archive/000012.log"],
    ["@companions/meta/VERSION", "/data/meta/VERSION"],
    ["@companions/meta/ck-1/CURRENT", "/data/meta/ck-1/CURRENT"],
    ["@companions/db/notes.txt", "/data/db/notes.txt"],
  ])("%s lies at %s, and back", (path, local) => {
    expect(layout.toLocal(path)).toBe(local);
    expect(layout.toImage(local)).toBe(path);
  });

  test.each(["other/CURRENT", "db@wal/000012.log"])("%j is of a database that is not configured here", (path) => {
    expect(() => layout.toLocal(path)).toThrow(
      expect.objectContaining({ code: "DatabaseNotConfigured", kind: "invalid" }),
    );
  });

  test.each([
    "db",
    "db/",
    "/db/CURRENT",
    "db//CURRENT",
    "db/./CURRENT",
    "db/../db/CURRENT",
    "../data/db/CURRENT",
    "state@wal/CURRENT",
    "state@wal/000009.sst",
    "db/LOCK",
    "db/LOG",
    "db/notes.txt",
    "db/sub/000012.log",
    "db/archive/CURRENT",
    "db/000012.dbtmp",
    "@companions/../etc/passwd",
    "@companions/meta/../../etc/passwd",
    "@companions/.metamaster/state.json",
    "@companions/meta/.metamaster/x",
    "@companions/db",
    "@companions/db/CURRENT",
    "@companions/db/000012.log",
    "@companions/db/LOCK",
    "@companions/wal/archive/000012.log",
    "@companions/wal",
    "@companions/a\nb",
    "@companions/a\0b",
    `@companions/${"x".repeat(1100)}`,
    "",
  ])("%j is refused", (path) => {
    let error: unknown;
    try {
      layout.toLocal(path);
    } catch (thrown) {
      error = thrown;
    }
    expect(hasCode(error, "ImagePathInvalid")).toBe(true);
  });

  test.each([
    "/data/.metamaster/state.json",
    "/data/db/LOCK",
    "/data/db/LOG",
    "/etc/passwd",
    "/data",
    "/data/db/1.dbtmp",
  ])("%s is part of no image", (local) => expect(layout.toImage(local)).toBeUndefined());
});
