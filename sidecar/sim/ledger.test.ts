import { describe, expect, test } from "@jest/globals";
import { sha256Hex } from "../src/base/sha256.js";
import { encodeEntry } from "../src/formats/entry-codec.js";
import { logKey, type EntryHeader, type Operation } from "../src/formats/entry.js";
import { inlineCompression } from "./compression.js";
import { bytesOf } from "./fold.js";
import { Ledger } from "./ledger.js";
import { ObjectStore, type StoreView } from "./object-store.js";
import { Trace } from "./trace.js";
import { Violation } from "./violation.js";

const source = (text: string) => ({ size: text.length, read: async () => Buffer.from(text) });

const cluster = "00112233445566778899aabbccddeeff";
const nonce = "0123456789abcdef0123456789abcdef";

class Bench {
  readonly violations: string[] = [];
  readonly store: ObjectStore = new ObjectStore((change) => this.ledger.changed(change));
  readonly ledger: Ledger = new Ledger({
    store: this.store,
    trace: new Trace(() => 0),
    report: (error) => this.violations.push(error instanceof Violation ? error.invariant : String(error)),
    nowMs: () => this.nowMs,
    graceMs: 1000,
  });
  nowMs = 0;
  readonly view: StoreView = this.store.as("x");
  #chain = "";

  async put(header: Partial<EntryHeader>, operations: readonly Operation[] = []): Promise<void> {
    const slot = header.slot ?? this.ledger.lastSlot + 1;
    const full: EntryHeader = {
      version: 1,
      cluster,
      slot,
      epoch: 1,
      kind: slot === 0 ? "claim" : "wal",
      previous: this.#chain,
      writer: { member: "x", nonce },
      wallTimeMs: 1,
      more: false,
      sequences: [],
      ...header,
    };
    const { bytes } = await encodeEntry({ header: full, operations }, inlineCompression);
    await this.view.putIfAbsent(logKey(slot), bytes);
    await new Promise((resolve) => setImmediate(resolve));
    if (this.ledger.lastSlot === slot) this.#chain = sha256Hex(bytes);
  }

  text(file: string): string {
    const found = this.ledger.filesAt(this.ledger.lastSlot).get(file);
    return found === undefined ? "(none)" : Buffer.from(bytesOf(found)).toString();
  }
}

function append(file: string, offset: number, text: string): Operation {
  return { type: "append", file, offset, bytes: Buffer.from(text) };
}

describe("the ledger", () => {
  test("folds entries; a group takes effect with its last, or never if a claim comes first", async () => {
    const bench = new Bench();
    await bench.put({});
    await bench.put({}, [append("db/000001.log", 0, "ab")]);
    await bench.put({ more: true }, [append("db/000001.log", 2, "cd")]);
    expect(bench.text("db/000001.log")).toBe("ab");
    await bench.put({}, [append("db/000001.log", 4, "ef")]);
    expect(bench.text("db/000001.log")).toBe("abcdef");
    await bench.put({ more: true }, [append("db/000001.log", 6, "gh")]);
    await bench.put({ kind: "claim", epoch: 2 });
    await bench.put({ epoch: 2 }, [append("db/000001.log", 6, "GH")]);
    expect(bench.text("db/000001.log")).toBe("abcdefGH");
    expect(bench.violations).toEqual([]);
  });

  test.each<[string, string, (bench: Bench) => Promise<void>]>([
    ["a hole", "OneChain", (bench) => bench.put({ slot: 2 })],
    ["another predecessor", "OneChain", (bench) => bench.put({ previous: "0".repeat(64) })],
    ["an epoch without a claim", "OneChain", (bench) => bench.put({ epoch: 2 })],
    ["an epoch claimed twice", "OneChain", (bench) => bench.put({ kind: "claim", epoch: 1 })],
    ["another writer", "OneChain", (bench) => bench.put({ writer: { member: "y", nonce: "f".repeat(32) } })],
    ["another cluster", "OneChain", (bench) => bench.put({ cluster: "f".repeat(32) })],
    ["a hole in a file", "ImageIsAFold", (bench) => bench.put({}, [append("db/000001.log", 5, "x")])],
    [
      "a table that is not in the store",
      "ImageIsAFold",
      (bench) =>
        bench.put({}, [
          {
            type: "table",
            file: "db/000002.sst",
            permissions: 0o644,
            size: 3,
            sha256: "a".repeat(64),
            key: "tables/1/db/2",
          },
        ]),
    ],
    [
      "a deletion that no trim names",
      "OnlyTheDoomedGo",
      async (bench) => {
        await bench.view.put("tables/1/db/2", { size: 1, read: async () => Buffer.from("x") });
        await bench.view.delete("tables/1/db/2");
      },
    ],
    [
      "a deleted answer to the newest handover",
      "OnlyTheDoomedGo",
      async (bench) => {
        await bench.view.put(`standbys/${"7".padStart(20, "0")}/b`, source(""));
        await bench.view.delete(`standbys/${"7".padStart(20, "0")}/b`);
      },
    ],
    ["a deleted claim", "ClaimsStay", (bench) => bench.view.delete(logKey(0))],
    [
      "a replaced object",
      "ObjectsNeverChange",
      async (bench) => {
        await bench.view.put("tables/1/db/2", source("one"));
        await bench.view.put("tables/1/db/2", source("two"));
      },
    ],
  ])("finds %s", async (_name, invariant, act) => {
    const bench = new Bench();
    await bench.put({});
    await act(bench);
    await new Promise((resolve) => setImmediate(resolve));
    expect(bench.violations).toEqual([invariant]);
  });

  test("what a trim dooms may go, but never a claim, nor be used again", async () => {
    const bench = new Bench();
    const key = "tables/1/db/2";
    const table: Operation = {
      type: "table",
      file: "db/000002.sst",
      permissions: 0o644,
      size: 3,
      sha256: "a".repeat(64),
      key,
    };
    const trim: Operation = { type: "trim", fromSlot: 0, throughSlot: 2, keys: [key], executedThrough: -1 };
    await bench.put({});
    await bench.view.put(key, { size: 3, read: async () => Buffer.from("abc") });
    await bench.put({}, [table]);
    await bench.put({ kind: "trim" }, [trim]);
    expect(bench.violations).toEqual(["TheDoomedStay"]);
    bench.violations.length = 0;
    await bench.put({ slot: 2 }, []);
    await bench.view.delete(logKey(0));
    await new Promise((resolve) => setImmediate(resolve));
    expect(bench.violations).toEqual(["ClaimsStay"]);
  });

  test("what a trim dooms may not go before its grace is over", async () => {
    const bench = new Bench();
    const keys = ["tables/1/db/2", "tables/1/db/3"];
    await bench.put({});
    for (const key of keys) await bench.view.put(key, { size: 1, read: async () => Buffer.from("x") });
    bench.nowMs = 500;
    await bench.put({ kind: "trim" }, [{ type: "trim", fromSlot: 0, throughSlot: -1, keys, executedThrough: -1 }]);
    bench.nowMs = 1400;
    await bench.view.delete("tables/1/db/2");
    await new Promise((resolve) => setImmediate(resolve));
    expect(bench.violations).toEqual(["TheDoomedStay"]);
    bench.nowMs = 1500;
    await bench.view.delete("tables/1/db/3");
    await new Promise((resolve) => setImmediate(resolve));
    expect(bench.violations).toHaveLength(1);
  });
});
