import { rm, writeFile } from "node:fs/promises";
import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { EMPTY_IMAGE } from "../formats/image.js";
import type { ModelDatabase } from "./ship/testing/model-database.js";
import { loseWal } from "./testing/lost-wal.js";
import { rowCount, World, type Member } from "./testing/world.js";

let world: World;
let member: Member;
let database: ModelDatabase;
beforeEach(async () => {
  world = await World.open();
  ({ member, database } = await withData("a", "Adopt"));
});
afterEach(() => world.close());

const code = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => "none",
    (error: unknown) => (error instanceof Error && "code" in error ? String(error.code) : String(error)),
  );

/** Ten rows that no sidecar has ever seen. */
async function withData(
  name: string,
  bootstrap: "New" | "Adopt",
): Promise<{ member: Member; database: ModelDatabase }> {
  const made = world.member(name, { settings: { bootstrap } });
  const data = await made.create();
  await data.put(10);
  return { member: made, database: data };
}

/** The claim is won, and the process dies before it has written anything down. */
async function claimAndDie(): Promise<void> {
  expect(await member.reconcile()).toEqual({ state: "Adoptable", image: EMPTY_IMAGE });
  await member.claim(EMPTY_IMAGE.position, 1);
  await member.restart();
}

/** After a first claim that came to nothing: another, which the disk knows of. */
async function claimAndWriteDown(): Promise<void> {
  const found = await member.reconcile();
  if (found.state !== "Adoptable") throw new Error(found.state);
  const { position } = await member.claim(found.image.position, 2);
  await member.replica.sealAhead(found.image, position, 2);
}

describe("an adoption that was interrupted", () => {
  test("right after its claim goes on, and nothing is moved", async () => {
    await claimAndDie();
    expect(await member.reconcile()).toMatchObject({
      state: "Adoptable",
      image: { epoch: 1, claims: [0], position: { slot: 0 } },
    });
    await member.lead();
    expect(rowCount(await world.files())).toBe(10n);
  });

  test("after it was written down, but before its checkpoint, goes on", async () => {
    await claimAndDie();
    await claimAndWriteDown();
    await member.restart();
    expect(await member.reconcile()).toMatchObject({ state: "Ahead", image: { epoch: 2 } });
    await member.lead();
    expect(rowCount(await world.files())).toBe(10n);
  });

  test("is nobody else's to go on with: databases of another member are left alone until there is something to compare them with", async () => {
    const adopting = await withData("b", "Adopt");
    const plain = await withData("c", "New");
    await writeFile(`${plain.member.directory}/db/IDENTITY`, "another");
    await claimAndDie();
    for (const other of [adopting.member, plain.member]) {
      expect(await code(other.reconcile())).toBe("NotInHistory");
      expect(rowCount(await other.disk())).toBe(10n);
    }
    await member.lead();
    expect(await code(plain.member.reconcile())).toBe("ForeignDatabase");
    expect(rowCount(await plain.member.disk())).toBe(10n);
    // The same database by its IDENTITY.
    expect(await adopting.member.reconcile()).toMatchObject({ state: "Following", how: "Repaired" });
  });

  test("is not undone by a claim of somebody who began with nothing", async () => {
    await claimAndDie();
    await claimAndWriteDown();
    const empty = world.member("e");
    await empty.lead();
    await member.restart();
    expect(await code(member.reconcile())).toBe("NotInHistory");
    expect(rowCount(await member.disk())).toBe(10n);
    // What that one then makes is another database: whose it is, is not ours to say.
    await empty.create();
    await writeFile(`${empty.directory}/db/IDENTITY`, "another");
    await empty.checkpoint();
    expect(await code(member.reconcile())).toBe("ForeignDatabase");
    expect(rowCount(await member.disk())).toBe(10n);
  });

  test("ends where another member adopts the same database: what only this disk has is kept aside", async () => {
    const other = await withData("b", "Adopt");
    await claimAndDie();
    await claimAndWriteDown();
    await database.put(4);
    const image = { ...EMPTY_IMAGE, position: (await world.entries()).at(-1)!.position, epoch: 2, claims: [0, 1] };
    const { position } = await other.member.claim(image.position, 3);
    await other.member.replica.sealAhead(image, position, 3);
    await member.restart();
    expect(await code(member.reconcile())).toBe("NotInHistory");
    expect(rowCount(await member.disk())).toBe(14n);
    await other.member.restart();
    await other.member.lead();
    const reconciled = await member.reconcile();
    expect(reconciled).toMatchObject({
      state: "Following",
      how: "Rewound",
      quarantine: { databases: [{ records: 4 }] },
    });
    expect(rowCount(await member.disk())).toBe(10n);
  });

  test("by a power failure that took a WAL is not repaired from a bucket that has nothing", async () => {
    const { position } = await member.claim(EMPTY_IMAGE.position, 1);
    await member.replica.sealAhead(EMPTY_IMAGE, position, 1);
    await loseWal(member, database);
    expect(await code(member.reconcile())).toBe("AdoptionDamaged");
    expect(await member.fs.stat(`${member.directory}/.metamaster/quarantine`)).toBeUndefined();
    // The last WAL is still there, with its rows.
    expect((await member.fs.stat(database.walFile))?.size).toBeGreaterThan(0);
  });
});

test("a member of a plain cluster whose state is lost before anything was shipped keeps what it has", async () => {
  const first = world.member("n");
  await first.lead();
  const data = await first.create();
  await data.put(3);
  await first.die();
  await rm(`${first.directory}/.metamaster`, { recursive: true });
  await first.restart();
  expect(await code(first.reconcile())).toBe("NotInHistory");
  expect(rowCount(await first.disk())).toBe(3n);
});
