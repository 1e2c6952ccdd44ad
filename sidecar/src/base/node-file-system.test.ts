import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { NodeFileSystem } from "./node-file-system.js";
import { fileError } from "./node-file-errors.js";
import { fileSystemContract } from "./testing/file-system-contract.js";

fileSystemContract("the operating system", async () => {
  const root = mkdtempSync(join(tmpdir(), "metamaster-fs-"));
  return {
    fs: new NodeFileSystem(),
    root,
    settle: () => setTimeout(25),
    dispose: async () => rmSync(root, { recursive: true, force: true }),
  };
});

const code = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => "none",
    (error: unknown) => (error instanceof Error && "code" in error ? String(error.code) : String(error)),
  );

describe("what only the operating system has", () => {
  const fs = new NodeFileSystem();
  let root: string;
  beforeAll(() => {
    root = mkdtempSync(join(tmpdir(), "metamaster-fs-"));
  });
  afterAll(() => rmSync(root, { recursive: true, force: true }));

  test("a symbolic link is of kind other and never opened, wherever it leads", async () => {
    writeFileSync(join(root, "target"), "abc");
    symlinkSync(join(root, "target"), join(root, "link"));
    symlinkSync(join(root, "nowhere"), join(root, "dangling"));
    for (const name of ["link", "dangling"]) {
      expect((await fs.stat(join(root, name)))?.kind).toBe("other");
      expect(await code(fs.open(join(root, name), "read"))).toBe("FileDenied");
      expect(await code(fs.open(join(root, name), "readWrite"))).toBe("FileDenied");
      expect(await code(fs.readFile(join(root, name), 10))).toBe("FileDenied");
      expect(await code(fs.open(join(root, name), "createExclusive"))).toBe("FileExists");
    }
    expect((await fs.list(root)).map((entry) => `${entry.name}:${entry.kind}`)).toContain("link:other");
  });

  test("an atomic write replaces a link itself and leaves its target alone", async () => {
    writeFileSync(join(root, "aim"), "abc");
    symlinkSync(join(root, "aim"), join(root, "replaced"));
    await fs.writeFileAtomic(join(root, "replaced"), Buffer.from("new"));
    expect(Buffer.from(await fs.readFile(join(root, "aim"), 10)).toString()).toBe("abc");
    expect((await fs.stat(join(root, "replaced")))?.kind).toBe("file");
  });

  test("directories are made with their parents, also through a link, and by several at once", async () => {
    mkdirSync(join(root, "real"));
    symlinkSync(join(root, "real"), join(root, "way"));
    const deep = join(root, "way", "a", "b", "c");
    await Promise.all(Array.from({ length: 8 }, () => fs.makeDirectory(deep)));
    expect(statSync(join(root, "real/a/b/c")).isDirectory()).toBe(true);
    writeFileSync(join(root, "plain"), "");
    expect(await code(fs.makeDirectory(join(root, "plain")))).toBe("FileExists");
    expect(await code(fs.makeDirectory(join(root, "plain", "below")))).toBe("FileSystemFailure");
  });

  test("where no directory can be made is said, with the path", async () => {
    await expect(fs.makeDirectory("/proc/x")).rejects.toMatchObject({
      code: "FileDenied",
      message: expect.stringContaining("/proc/x"),
    });
    await expect(fs.makeDirectory("/proc/x/meta/deep")).rejects.toMatchObject({ details: { path: "/proc/x" } });
  });

  test("a pipe without a writer blocks nothing", async () => {
    execFileSync("mkfifo", [join(root, "pipe")]);
    expect((await fs.stat(join(root, "pipe")))?.kind).toBe("other");
    expect(await code(fs.open(join(root, "pipe"), "read"))).toBe("FileSystemFailure");
    expect(await code(fs.readFile(join(root, "pipe"), 10))).toBe("FileSystemFailure");
  });

  test("reads files of /proc, which say that they are empty", async () => {
    const bytes = await fs.readFile("/proc/self/status", 1 << 20);
    expect(Buffer.from(bytes).toString()).toMatch(/^Name:/);
    expect(await code(fs.readFile("/proc/self/status", 20))).toBe("FileTooLarge");
  });

  test("a directory without permission is FileDenied", async () => {
    if (process.getuid?.() === 0) return; // root may do everything; the mapping itself is tested below
    mkdirSync(join(root, "locked"));
    chmodSync(join(root, "locked"), 0o500);
    expect(await code(fs.open(join(root, "locked", "a"), "readWrite"))).toBe("FileDenied");
  });

  test.each([
    ["ENOSPC", "DiskFull", "transient"],
    ["EDQUOT", "DiskFull", "transient"],
    ["EACCES", "FileDenied", "invalid"],
    ["EROFS", "FileDenied", "invalid"],
    ["EXDEV", "CrossDevice", "invalid"],
    ["EEXIST", "FileExists", "conflict"],
    ["ENOENT", "FileNotFound", "invalid"],
    ["EIO", "FileSystemFailure", "transient"],
  ])("%s is %s (%s)", (errno, expected, kind) => {
    const error = fileError(Object.assign(new Error(`${errno}: said`), { code: errno }), "read", "/a/b");
    expect(error).toMatchObject({ code: expected, kind, details: { path: "/a/b", errno } });
    expect(error.message).toContain("/a/b");
  });

  test("a full device gives DiskFull", async () => {
    const full = await import("node:fs/promises").then(({ open }) => open("/dev/full", "r+"));
    const { NodeFileHandle } = await import("./node-file-handle.js");
    expect(await code(new NodeFileHandle(full, "/dev/full").write(Buffer.from("abc"), 0))).toBe("DiskFull");
    await full.close();
  });

  test("a burst of changes wakes the watcher only now and then, and tells of its end", async () => {
    const path = join(root, "burst", "wal");
    mkdirSync(dirname(path));
    const file = await fs.open(path, "readWrite");
    const size = 3000;
    const told = { seen: 0, calls: 0 };
    const watch = fs.watch([dirname(path)], () => {
      told.calls++;
      // Of the disk: a write may be told before whoever made it hears of its end.
      told.seen = statSync(path).size;
    });
    await setTimeout(10);
    for (let at = 0; at < size; at++) await file.write(Buffer.from("x"), at);
    for (let round = 0; round < 1000 && told.seen < size; round++) await setTimeout(10);
    watch.close();
    await file.close();
    expect(told.seen).toBe(size);
    expect(told.calls).toBeLessThan(1500);
  });
});
