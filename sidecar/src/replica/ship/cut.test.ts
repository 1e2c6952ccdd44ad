import { describe, expect, test } from "@jest/globals";
import { JumpingClock } from "../../bucket/testing/test-clock.js";
import type { CompanionListing } from "./companions.js";
import { takeCut, type CutDatabase, type ManifestMark, type WalMarks } from "./cut.js";

const signal = new AbortController().signal;

/** Notes when it is looked at, and lets the master do something at each look. */
class Database implements CutDatabase {
  readonly #name: string;
  readonly #looks: string[];
  manifest: ManifestMark = { name: "MANIFEST-000001", size: 10, inode: 1n };
  onWals: () => void = () => undefined;

  constructor(name: string, looks: string[]) {
    this.#name = name;
    this.#looks = looks;
  }

  async manifestMark(): Promise<ManifestMark> {
    this.#looks.push(`${this.#name}:manifest`);
    return this.manifest;
  }

  async walMarks(): Promise<WalMarks> {
    this.#looks.push(`${this.#name}:wals`);
    this.onWals();
    return [];
  }
}

function listing(size: number): CompanionListing {
  const stat = { size, modifiedNs: 1n, inode: 1n, device: 1n, links: 1, permissions: 0o644, kind: "file" as const };
  return [{ path: "kv", local: "/kv", stat }];
}

describe("a cut", () => {
  test("measures MANIFESTs, the WALs from the last database to the first, and MANIFESTs again", async () => {
    const looks: string[] = [];
    const databases = [new Database("a", looks), new Database("b", looks)];
    await takeCut({ companions: async () => [], databases }, new JumpingClock(), signal);
    expect(looks).toEqual(["a:manifest", "b:manifest", "b:wals", "a:wals", "a:manifest", "b:manifest"]);
  });

  test.each<[string, (database: Database) => void]>([
    ["grows", (database) => (database.manifest = { ...database.manifest, size: 11 })],
    ["rolls over", (database) => (database.manifest = { ...database.manifest, name: "MANIFEST-000009" })],
    ["is replaced", (database) => (database.manifest = { ...database.manifest, inode: 2n })],
  ])("is taken again if a MANIFEST %s while WALs are measured", async (_, change) => {
    const looks: string[] = [];
    const database = new Database("a", looks);
    let first = true;
    database.onWals = () => {
      if (first) change(database);
      first = false;
    };
    const cut = await takeCut({ companions: async () => [], databases: [database] }, new JumpingClock(), signal);
    expect(looks.filter((look) => look === "a:wals")).toHaveLength(2);
    expect(cut.databases[0]?.manifest).toEqual(database.manifest);
  });

  test("is taken again if a companion changes while WALs are measured", async () => {
    const listings = [listing(1), listing(2), listing(2), listing(2)];
    const cut = await takeCut(
      { companions: async () => listings.shift() ?? [], databases: [] },
      new JumpingClock(),
      signal,
    );
    expect(cut.companions[0]?.stat.size).toBe(2);
    expect(listings).toHaveLength(0);
  });

  test("gives up, with a reason, what never comes to rest", async () => {
    const database = new Database("a", []);
    database.onWals = () => (database.manifest = { ...database.manifest, size: database.manifest.size + 1 });
    await expect(
      takeCut({ companions: async () => [], databases: [database] }, new JumpingClock(), signal),
    ).rejects.toMatchObject({ code: "CutUnsettled", kind: "transient" });
  });
});
