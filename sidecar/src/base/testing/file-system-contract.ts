import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import type { FileSystem } from "../file-system.js";

export interface FileSystemSubject {
  readonly fs: FileSystem;
  /** An existing, empty directory on it, without a slash at its end. */
  readonly root: string;
  /** Lets so much time pass that a watch has told what it has to tell. */
  settle(): Promise<void>;
  dispose(): Promise<void>;
}

const text = (value: string): Uint8Array => new TextEncoder().encode(value);

async function codeOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => "none",
    (error: unknown) => {
      if (!(error instanceof Error) || !("code" in error) || !("kind" in error)) return `not ours: ${String(error)}`;
      const { details } = error as unknown as { details: { path?: string } };
      return details.path === undefined ? `no path: ${String(error)}` : `${String(error.code)} ${String(error.kind)}`;
    },
  );
}

/** What every implementation of FileSystem does; a power failure and a full disk are the simulator's own tests. */
export function fileSystemContract(name: string, make: () => Promise<FileSystemSubject>): void {
  describe(`${name} keeps the contract of a file system`, () => {
    let subject: FileSystemSubject;
    let fs: FileSystem;
    let root: string;
    beforeEach(async () => {
      subject = await make();
      ({ fs, root } = subject);
    });
    afterEach(() => subject?.dispose());

    const put = async (path: string, content: string): Promise<void> => {
      const file = await fs.open(`${root}/${path}`, "readWrite");
      await file.truncate(0);
      await file.write(text(content), 0);
      await file.close();
    };
    const content = async (path: string): Promise<string> =>
      new TextDecoder().decode(await fs.readFile(`${root}/${path}`, 1 << 20));
    const names = async (path: string): Promise<string[]> =>
      (await fs.list(`${root}${path}`)).map((entry) => `${entry.name}:${entry.kind}`);

    describe("missing things", () => {
      test("stat gives undefined, also below a file", async () => {
        await put("file", "x");
        expect(await fs.stat(`${root}/none`)).toBeUndefined();
        expect(await fs.stat(`${root}/none/deeper`)).toBeUndefined();
        expect(await fs.stat(`${root}/file/below`)).toBeUndefined();
      });

      test("everything else names the path in FileNotFound", async () => {
        const none = `${root}/none`;
        expect(await codeOf(fs.list(none))).toBe("FileNotFound invalid");
        expect(await codeOf(fs.open(none, "read"))).toBe("FileNotFound invalid");
        expect(await codeOf(fs.open(`${none}/a`, "readWrite"))).toBe("FileNotFound invalid");
        expect(await codeOf(fs.open(`${none}/a`, "createExclusive"))).toBe("FileNotFound invalid");
        expect(await codeOf(fs.readFile(none, 10))).toBe("FileNotFound invalid");
        expect(await codeOf(fs.writeFileAtomic(`${none}/a`, text("x")))).toBe("FileNotFound invalid");
        expect(await codeOf(fs.link(none, `${root}/new`))).toBe("FileNotFound invalid");
        expect(await codeOf(fs.rename(none, `${root}/new`))).toBe("FileNotFound invalid");
        expect(await codeOf(fs.syncDirectory(none))).toBe("FileNotFound invalid");
        expect(await names("")).toEqual([]);
      });

      test("removing what is not there is no error", async () => {
        await fs.unlink(`${root}/none`);
        await fs.unlink(`${root}/none/deeper`);
        await fs.removeTree(`${root}/none`);
      });
    });

    describe("open files", () => {
      test("readWrite creates once and keeps what is there", async () => {
        await put("file", "first");
        const file = await fs.open(`${root}/file`, "readWrite");
        await file.write(text("XY"), 1);
        await file.close();
        expect(await content("file")).toBe("fXYst");
      });

      test("createExclusive refuses what is there", async () => {
        const file = await fs.open(`${root}/file`, "createExclusive");
        await file.close();
        expect(await codeOf(fs.open(`${root}/file`, "createExclusive"))).toBe("FileExists conflict");
      });

      test("a file opened for reading can't be written", async () => {
        await put("file", "first");
        const file = await fs.open(`${root}/file`, "read");
        expect(await codeOf(file.write(text("x"), 0))).toBe("FileSystemFailure transient");
        await file.close();
        expect(await content("file")).toBe("first");
      });

      test("a directory can't be opened", async () => {
        expect(await codeOf(fs.open(root, "read"))).toBe("FileSystemFailure transient");
        expect(await codeOf(fs.readFile(root, 10))).toBe("FileSystemFailure transient");
      });

      test("reads end at the end of the file", async () => {
        await put("file", "abcdef");
        const file = await fs.open(`${root}/file`, "read");
        const target = new Uint8Array(4);
        expect(await file.read(target, 0)).toBe(4);
        expect(target).toEqual(text("abcd"));
        expect(await file.read(target, 4)).toBe(2);
        expect(target).toEqual(text("efcd"));
        expect(await file.read(target, 6)).toBe(0);
        expect(await file.read(target, 100)).toBe(0);
        await file.close();
      });

      test("a write past the end leaves zeros, truncate cuts and grows", async () => {
        await put("file", "ab");
        const file = await fs.open(`${root}/file`, "readWrite");
        await file.write(text("z"), 4);
        expect(await content("file")).toBe("ab\0\0z");
        await file.truncate(1);
        expect(await content("file")).toBe("a");
        await file.truncate(3);
        expect(await content("file")).toBe("a\0\0");
        expect((await file.stat()).size).toBe(3);
        await file.close();
      });

      test("a part of a buffer is written as that part", async () => {
        const file = await fs.open(`${root}/file`, "createExclusive");
        await file.write(text("0123456789").subarray(3, 6), 0);
        await file.close();
        expect(await content("file")).toBe("345");
      });

      test("goes on reaching its file after a rename and after the last name is gone", async () => {
        await put("file", "abc");
        const file = await fs.open(`${root}/file`, "readWrite");
        await fs.rename(`${root}/file`, `${root}/moved`);
        await file.write(text("X"), 0);
        expect(await content("moved")).toBe("Xbc");
        await fs.unlink(`${root}/moved`);
        const target = new Uint8Array(3);
        expect(await file.read(target, 0)).toBe(3);
        expect(target).toEqual(text("Xbc"));
        expect((await file.stat()).links).toBe(0);
        await file.close();
      });

      test("sync, and every call after close fails", async () => {
        const file = await fs.open(`${root}/file`, "readWrite");
        await file.write(text("abc"), 0);
        await file.sync();
        await file.close();
        expect(await codeOf(file.write(text("x"), 0))).toBe("FileSystemFailure transient");
        expect(await codeOf(file.sync())).toBe("FileSystemFailure transient");
        expect(await content("file")).toBe("abc");
      });
    });

    describe("whole files", () => {
      test("readFile takes up to its limit and not a byte more", async () => {
        await put("file", "abc");
        expect(await fs.readFile(`${root}/file`, 3)).toEqual(text("abc"));
        expect(await codeOf(fs.readFile(`${root}/file`, 2))).toBe("FileTooLarge invalid");
        await put("empty", "");
        expect((await fs.readFile(`${root}/empty`, 0)).length).toBe(0);
      });

      test("the bytes of readFile are the caller's own", async () => {
        await put("file", "abc");
        const bytes = await fs.readFile(`${root}/file`, 3);
        bytes[0] = 120;
        expect(await content("file")).toBe("abc");
      });

      test("writeFileAtomic creates and replaces, and leaves nothing beside it", async () => {
        await fs.writeFileAtomic(`${root}/file`, text("one"));
        expect(await content("file")).toBe("one");
        await fs.link(`${root}/file`, `${root}/other`);
        await fs.writeFileAtomic(`${root}/file`, text("twenty"), 0o600);
        expect(await content("file")).toBe("twenty");
        expect(await content("other")).toBe("one");
        expect((await fs.stat(`${root}/file`))?.permissions).toBe(0o600);
        expect(await names("")).toEqual(["file:file", "other:file"]);
      });

      test("permissions are exactly those asked for", async () => {
        const file = await fs.open(`${root}/file`, "createExclusive", 0o666);
        expect((await file.stat()).permissions).toBe(0o666);
        await file.close();
        const again = await fs.open(`${root}/file`, "readWrite", 0o600);
        expect((await again.stat()).permissions).toBe(0o666);
        await again.close();
      });
    });

    describe("names", () => {
      test("list sorts, names kinds, and sees only its own directory", async () => {
        await fs.makeDirectory(`${root}/b/c`);
        await put("a", "");
        await put("b/inner", "");
        await put("B", "");
        expect(await names("")).toEqual(["B:file", "a:file", "b:directory"]);
        expect(await codeOf(fs.list(`${root}/a`))).toBe("FileSystemFailure transient");
      });

      test("a link is the same file until its last name goes", async () => {
        await put("file", "abc");
        await fs.link(`${root}/file`, `${root}/linked`);
        const [one, two] = [await fs.stat(`${root}/file`), await fs.stat(`${root}/linked`)];
        expect([one?.inode, one?.device, one?.links]).toEqual([two?.inode, two?.device, 2]);
        await put("file", "changed");
        expect(await content("linked")).toBe("changed");
        await fs.unlink(`${root}/file`);
        expect(await content("linked")).toBe("changed");
        expect((await fs.stat(`${root}/linked`))?.links).toBe(1);
      });

      test("a link replaces nothing", async () => {
        await put("file", "abc");
        await put("taken", "def");
        expect(await codeOf(fs.link(`${root}/file`, `${root}/taken`))).toBe("FileExists conflict");
        expect(await content("taken")).toBe("def");
      });

      test("a rename replaces a file; between two links of one file it does nothing", async () => {
        await put("file", "abc");
        await put("taken", "def");
        await fs.rename(`${root}/file`, `${root}/taken`);
        expect(await names("")).toEqual(["taken:file"]);
        expect(await content("taken")).toBe("abc");
        await fs.link(`${root}/taken`, `${root}/linked`);
        await fs.rename(`${root}/linked`, `${root}/taken`);
        expect(await names("")).toEqual(["linked:file", "taken:file"]);
      });

      test("a rename moves a directory with what is in it, never onto a full one", async () => {
        await fs.makeDirectory(`${root}/from`);
        await put("from/file", "abc");
        await fs.makeDirectory(`${root}/full`);
        await put("full/file", "def");
        expect(await codeOf(fs.rename(`${root}/from`, `${root}/full`))).toBe("FileSystemFailure transient");
        await fs.rename(`${root}/from`, `${root}/to`);
        expect(await content("to/file")).toBe("abc");
        expect(await names("")).toEqual(["full:directory", "to:directory"]);
      });

      test("unlink takes a file only, removeTree everything", async () => {
        await fs.makeDirectory(`${root}/d/deep`);
        await put("d/deep/file", "abc");
        await put("file", "abc");
        expect(["FileSystemFailure transient", "FileDenied invalid"]).toContain(await codeOf(fs.unlink(`${root}/d`)));
        await fs.removeTree(`${root}/d`);
        await fs.removeTree(`${root}/file`);
        expect(await names("")).toEqual([]);
      });

      test("makeDirectory makes the parents, twice is no error, a file in the way is one", async () => {
        await fs.makeDirectory(`${root}/a/b/c`);
        await fs.makeDirectory(`${root}/a/b/c`);
        expect((await fs.stat(`${root}/a/b/c`))?.kind).toBe("directory");
        await put("file", "");
        expect(await codeOf(fs.makeDirectory(`${root}/file`))).toBe("FileExists conflict");
        await fs.syncDirectory(`${root}/a/b`);
      });
    });

    test("a change of size moves the time of modification on, or leaves it within one tick", async () => {
      await put("file", "abc");
      const before = await fs.stat(`${root}/file`);
      await put("file", "abcdef");
      const after = await fs.stat(`${root}/file`);
      expect(after?.inode).toBe(before?.inode);
      expect((after?.modifiedNs ?? 0n) >= (before?.modifiedNs ?? 0n)).toBe(true);
    });

    test("there is room for something", async () => {
      expect(await fs.freeBytes(root)).toBeGreaterThan(0);
    });

    test("a watch tells of creations, growth and removals, until it is closed", async () => {
      await fs.makeDirectory(`${root}/d`);
      const calls: true[] = [];
      const watch = fs.watch([`${root}/d`, `${root}/none`], () => calls.push(true));
      // Counted from before the change: on a busy machine the call may come while the change is still being made.
      const told = async (change: () => Promise<void>): Promise<boolean> => {
        const before = calls.length;
        await change();
        for (let round = 0; round < 100; round++) {
          await subject.settle();
          if (calls.length > before) return true;
        }
        return false;
      };
      expect(await told(() => put("d/file", "abc"))).toBe(true);
      await subject.settle();
      expect(await told(() => put("d/file", "abcdef"))).toBe(true);
      await subject.settle();
      expect(await told(() => fs.unlink(`${root}/d/file`))).toBe(true);
      watch.close();
      watch.close();
      const after = calls.length;
      await put("d/file", "abc");
      await subject.settle();
      expect(calls.length).toBe(after);
    });
  });
}
