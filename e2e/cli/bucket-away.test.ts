import { mkdtempSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, jest, test } from "@jest/globals";
import { whyMissing, type ServerName } from "../servers/catalog.js";
import { FaultProxy } from "../servers/fault-proxy.js";
import { StoreServer } from "../servers/server.js";
import { newBucket } from "../servers/stores.js";
import { keys, put, tryPut } from "./key-value.js";
import { MemberProcess, until, type MemberOptions } from "./member-process.js";

jest.setTimeout(300_000);

/** A put that isn't acknowledged waits for as long as the bucket is away. */
const PUT_MS_MAX = 200_000;
/** More than a memtable of 64 MiB: the master lets a WAL go that the bucket has nothing of. */
const ROWS = 80;
const BIG = "0123456789".repeat(100_000);

/** A bucket that can be taken away. */
interface Away {
  readonly options: Partial<MemberOptions>;
  readonly away: () => Promise<void>;
  readonly back: () => Promise<void>;
  /** What `status` says of it meanwhile. */
  readonly said: RegExp;
  readonly close: () => Promise<void>;
}

function folder(root: string): Away {
  const bucket = join(root, "bucket");
  return {
    options: { bucket },
    away: async () => renameSync(bucket, `${bucket}.away`),
    back: async () => renameSync(`${bucket}.away`, bucket),
    said: /^trouble +slot \d+ is not durable yet: The bucket folder \S+ does not exist\. Is its file system mounted\?/m,
    close: async () => undefined,
  };
}

async function server(name: ServerName): Promise<Away> {
  const running = await StoreServer.start(name);
  const proxy = await FaultProxy.start(running.port);
  const { url } = await newBucket(running);
  return {
    options: { store: { url, endpoint: proxy.endpoint } },
    away: () => proxy.set({ kind: "reset" }),
    back: () => proxy.set({ kind: "none" }),
    said: new RegExp(`^trouble +slot \\d+ is not durable yet: .*${url.split("/")[2]}`, "m"),
    close: async () => {
      await proxy.stop();
      await running.stop();
    },
  };
}

let root: string;
let members: MemberProcess[];

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "metamaster-e2e-away-"));
  members = [];
});

afterEach(async () => {
  for (const member of members) await member.end();
  rmSync(root, { recursive: true, force: true });
});

function start(name: string, more: Partial<MemberOptions>): MemberProcess {
  const member = new MemberProcess({ name, root, ...more });
  members.push(member);
  member.startKeyValueMaster();
  return member;
}

async function says(member: MemberProcess, what: RegExp): Promise<void> {
  await until(
    `${member.name}'s status says ${String(what)}`,
    async () => (what.test((await member.cli("status")).out) ? true : undefined),
    () => member.said,
  );
}

/** What the primary of a later epoch than `epoch` holds. */
async function laterKeys(epoch: number): Promise<readonly string[]> {
  const [, leader] = await until(
    `somebody is primary after epoch ${epoch}`,
    async () => {
      for (const member of members) {
        const status = await member.status();
        const now = Number(status?.["epoch"]);
        if (status?.["role"] === "Primary" && now > epoch && member.said.includes(`, epoch ${now}\n`)) {
          return [now, member] as const;
        }
      }
      return undefined;
    },
    () => members.map(({ said }) => said).join("\n"),
  );
  return await keys(await leader.masterUrl());
}

function holds(open: () => Promise<Away>): void {
  test("Hold, for longer than the spool lasts: nothing is acknowledged meanwhile; a checkpoint heals it, and all is on the next primary", async () => {
    const bucket = await open();
    const more = "wal:\n  maxSpool: 16MiB\n";
    // Long enough that a machine which is busy with all these bytes isn't taken for a frozen sidecar.
    const options = { ...bucket.options, more, onBucketLoss: "Hold", lease: "6s" } as const;
    try {
      const alpha = start("alpha", options);
      await alpha.untilRole("Primary");
      const url = await alpha.masterUrl();
      await put(url, "before", "1");
      await bucket.away();
      const names = Array.from({ length: ROWS }, (_, row) => `row${String(row).padStart(3, "0")}`);
      let answered = 0;
      const puts = names.map(async (name) => {
        const status = await tryPut(url, name, BIG, PUT_MS_MAX);
        answered += 1;
        return status;
      });
      await says(alpha, bucket.said);
      await until(
        "the spool is full",
        async () => (/the spool is full, \d+ WALs not yet shipped were let go/.test(alpha.said) ? true : undefined),
        () => alpha.said,
      );
      expect(alpha.said).toContain("The master is left running (election.onBucketLoss: Hold)");
      expect((await alpha.status())?.["role"]).toBe("Primary");
      expect(answered).toBe(0);
      await bucket.back();
      // What could not be proven in time was refused: it is asked again.
      const statuses = await Promise.all(puts);
      for (const [row, name] of names.entries()) if (statuses[row] !== 200) await put(url, name, BIG);
      await until(
        "the checkpoint and its snapshot are made",
        async () => (/"reason":"Gap".*"msg":"A checkpoint is durable/.test(alpha.said) ? true : undefined),
        () => alpha.said,
      );
      expect(alpha.said).not.toContain("the master failed");
      await until("the trouble is over", async () =>
        (await alpha.status())?.["trouble"] === undefined ? true : undefined,
      );
      const beta = start("beta", options);
      await beta.untilRole("Standby");
      await alpha.end();
      expect(await laterKeys(1)).toEqual(["before", ...names]);
      expect(await beta.cli("verify", "--deep")).toMatchObject({ code: 0 });
    } finally {
      for (const member of members) await member.end();
      await bucket.close();
    }
  });
}

function takesSides(open: () => Promise<Away>, onBucketLoss: "Fence" | "Hold"): void {
  test(`${onBucketLoss}, with a standby: whoever leads afterwards holds every acknowledged row`, async () => {
    const bucket = await open();
    const options = { ...bucket.options, onBucketLoss };
    try {
      const alpha = start("alpha", options);
      await alpha.untilRole("Primary");
      const beta = start("beta", options);
      await beta.untilRole("Standby");
      const url = await alpha.masterUrl();
      await put(url, "before", "1");
      await bucket.away();
      const meanwhile = tryPut(url, "meanwhile", "1", PUT_MS_MAX);
      if (onBucketLoss === "Fence") {
        await until(
          "the master is ended",
          async () => (alpha.said.includes("leadership could not be renewed in time") ? true : undefined),
          () => alpha.said,
        );
        expect(await meanwhile).not.toBe(200);
        await says(alpha, /^role +Syncing since .*leadership could not be renewed in time \(.+\)$/m);
        expect((await alpha.cli("status")).out).not.toMatch(/^position/m);
        expect((await alpha.status())?.["masterRunning"]).toBe(false);
      } else {
        await until(
          "it is held",
          async () => (alpha.said.includes("The master is left running") ? true : undefined),
          () => alpha.said,
        );
      }
      await says(beta, /^trouble +\S/m);
      expect((await beta.status())?.["role"]).toBe("Standby");
      await bucket.back();
      const sure = (await meanwhile) === 200 ? ["before", "meanwhile"] : ["before"];
      if (onBucketLoss === "Hold") await alpha.end();
      expect(await laterKeys(1)).toEqual(expect.arrayContaining(sure));
    } finally {
      for (const member of members) await member.end();
      await bucket.close();
    }
  });
}

describe("a folder that is away", () => {
  holds(async () => folder(root));
  takesSides(async () => folder(root), "Fence");
  takesSides(async () => folder(root), "Hold");
});

for (const name of ["versitygw", "fake-gcs-server"] as const) {
  describe(`${name} that is away`, () => {
    const missing = whyMissing(name);
    if (missing !== undefined) {
      test.skip(`skipped: ${missing}`, () => undefined);
      return;
    }
    holds(() => server(name));
    takesSides(() => server(name), "Fence");
  });
}
