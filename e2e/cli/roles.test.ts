import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, jest, test } from "@jest/globals";
import { whyMissing } from "../servers/catalog.js";
import { FaultProxy, type Fault } from "../servers/fault-proxy.js";
import { StoreServer } from "../servers/server.js";
import { newBucket } from "../servers/stores.js";
import { keys, put } from "./key-value.js";
import { MemberProcess, until, type MemberOptions } from "./member-process.js";

jest.setTimeout(180_000);

const BIG = "0123456789".repeat(50_000);
/** Ignores what it is asked. */
const STUBBORN = ["/bin/sh", "-c", "trap '' TERM; echo stubborn $$; while :; do sleep 0.05; done"];

const missing = whyMissing("versitygw");

(missing === undefined ? describe : describe.skip)(`signals in a cluster that has rows ${missing ?? ""}`, () => {
  let server: StoreServer;
  let proxy: FaultProxy;
  let url: string;
  let root: string;
  let members: MemberProcess[];

  beforeAll(async () => {
    server = await StoreServer.start("versitygw");
  }, 60_000);
  afterAll(() => server?.stop(), 60_000);

  beforeEach(async () => {
    root = mkdtempSync(join(tmpdir(), "metamaster-e2e-roles-"));
    members = [];
    proxy = await FaultProxy.start(server.port);
    ({ url } = await newBucket(server));
  });

  afterEach(async () => {
    for (const member of members) await member.end();
    await proxy.stop();
    rmSync(root, { recursive: true, force: true });
  });

  /** `faulty`: it reaches the bucket through the proxy, the others go straight there. */
  function make(name: string, path: "straight" | "faulty", more: Partial<MemberOptions> = {}): MemberProcess {
    const endpoint = path === "faulty" ? proxy.endpoint : server.endpoint;
    const member = new MemberProcess({ name, root, store: { url, endpoint }, ...more });
    members.push(member);
    return member;
  }

  async function leader(name = "alpha", rows = 3, value = "v"): Promise<MemberProcess> {
    const member = make(name, "straight");
    member.startKeyValueMaster();
    await member.untilRole("Primary");
    const master = await member.masterUrl();
    for (let row = 0; row < rows; row++) await put(master, `row${row}`, value);
    return member;
  }

  /** Brings the member into a role, and keeps it there by a fault of its bucket. */
  type Hold = () => Promise<{
    readonly member: MemberProcess;
    readonly rows: number;
    readonly codes: readonly number[];
  }>;

  async function starting(): ReturnType<Hold> {
    await (await leader()).stop();
    await proxy.set({ kind: "stall" });
    const member = make("beta", "faulty");
    member.startKeyValueMaster();
    await says(member, /answers on http/);
    return { member, rows: 3, codes: [0] };
  }

  async function syncing(): ReturnType<Hold> {
    const alpha = await leader("alpha", 20, BIG);
    expect(await alpha.cli("checkpoint")).toMatchObject({ code: 0 });
    const fault: Fault = { kind: "slow", bytesPerSecond: 20_000 };
    const member = make("beta", "faulty");
    member.startKeyValueMaster();
    await proxy.set(fault);
    await member.untilRole("Syncing");
    return { member, rows: 20, codes: [0] };
  }

  async function standby(): ReturnType<Hold> {
    await leader();
    const member = make("beta", "faulty");
    member.startKeyValueMaster();
    await member.untilRole("Standby");
    return { member, rows: 3, codes: [0] };
  }

  async function promoting(): ReturnType<Hold> {
    const alpha = await leader();
    const member = make("beta", "faulty");
    member.startKeyValueMaster();
    await member.untilRole("Standby");
    // Before, it would not stand.
    await says(member, /keeps its promises/);
    await proxy.set({ kind: "stallPuts" });
    await alpha.end();
    await says(member, /Standby -> Promoting/);
    return { member, rows: 3, codes: [0] };
  }

  async function primary(): ReturnType<Hold> {
    return { member: await leader("beta"), rows: 3, codes: [0] };
  }

  /** The bucket is away for longer than its lease: the master was ended, and nothing can be written down of it. */
  async function fenced(): ReturnType<Hold> {
    const member = make("beta", "faulty");
    member.startKeyValueMaster();
    await member.untilRole("Primary");
    const master = await member.masterUrl();
    for (let row = 0; row < 3; row++) await put(master, `row${row}`, "v");
    await proxy.set({ kind: "reset" });
    await says(member, /Primary -> Fencing/);
    // 8: it was still in the middle of it; what the bucket lacks is shipped at the next start.
    return { member, rows: 3, codes: [0, 8] };
  }

  const roles: readonly (readonly [string, Hold])[] = [
    ["still waiting for its bucket", starting],
    ["Syncing", syncing],
    ["Standby", standby],
    ["Promoting", promoting],
    ["Primary", primary],
    ["Fencing", fenced],
  ];

  /** Everybody else is gone: what this member has now is what the cluster has. */
  async function leadsWith(member: MemberProcess, rows: number): Promise<void> {
    await proxy.set({ kind: "none" });
    for (const other of members) if (other !== member) await other.end();
    member.startKeyValueMaster();
    await member.untilRole("Primary");
    const { epoch } = (await member.status()) ?? {};
    await says(member, new RegExp(`kv-master listens on \\S+, .*epoch ${String(epoch)}`));
    expect(await keys(await member.masterUrl())).toHaveLength(rows);
    await put(await member.masterUrl(), "later", "on");
  }

  test.each(roles)("SIGTERM while %s: it ends in order, and the next start goes on with every row", async (_, hold) => {
    const { member, rows, codes } = await hold();
    const ended = await member.stop();
    expect(ended?.signal).toBeNull();
    expect(codes).toContain(ended?.code);
    expect(member.said).not.toMatch(/\n {4}at |unhandled|Unexpected/i);
    await leadsWith(member, rows);
  });

  test.each(roles)("SIGKILL while %s: the next start goes on with every row", async (_, hold) => {
    const { member, rows } = await hold();
    await member.end();
    await leadsWith(member, rows);
  });

  test("SIGKILL while a master that won't end is being stopped: the watchdog ends it, and the next start goes on", async () => {
    const member = make("beta", "straight", { more: "stop:\n  grace: 10m\n" });
    member.start(...STUBBORN);
    await says(member, /^stubborn \d+$/m);
    const pid = Number(/^stubborn (\d+)$/m.exec(member.said)?.[1]);
    member.signal("SIGTERM");
    await says(member, /stopping: the master ends/);
    await member.end();
    await until("the watchdog ended the master", async () => (runs(pid) ? undefined : true));
    await leadsWith(member, 0);
  });

  test("two members of one name on two directories: one halts and says why, and goes on once it has a name of its own", async () => {
    const alpha = await leader();
    const twin = make("alpha2", "straight");
    const config = readFileSync(twin.config, "utf8");
    writeFileSync(twin.config, config.replace("member: alpha2", "member: alpha"));
    twin.startKeyValueMaster();
    await twin.untilRole("Halted");
    expect(await twin.cli("status")).toMatchObject({
      code: 3,
      out: expect.stringMatching(/DuplicateIdentity[^]*Give each member its own name/),
    });
    await put(await alpha.masterUrl(), "meanwhile", "1");
    await twin.end();
    writeFileSync(twin.config, config);
    twin.startKeyValueMaster();
    await twin.untilRole("Halted");
    expect(await twin.cli("resume", "--reason", "DuplicateIdentity")).toMatchObject({ code: 0 });
    await twin.untilRole("Standby");
    expect(await keys(await alpha.masterUrl())).toHaveLength(4);
  });

  test("a copied data directory under the same name: one of the two halts, and nothing acknowledged is lost", async () => {
    const alpha = await leader();
    await alpha.stop();
    const copy = make("copy", "straight");
    rmSync(copy.data, { recursive: true, force: true });
    cpSync(alpha.data, copy.data, { recursive: true });
    writeFileSync(copy.config, readFileSync(copy.config, "utf8").replace("member: copy", "member: alpha"));
    alpha.startKeyValueMaster();
    await alpha.untilRole("Primary");
    await put(await alpha.masterUrl(), "after", "1");
    copy.startKeyValueMaster();
    await until(
      "one of the two has halted",
      async () =>
        (await copy.status())?.["role"] === "Halted" || (await alpha.status())?.["role"] === "Halted"
          ? true
          : undefined,
      () => `${alpha.said}\n${copy.said}`,
    );
    for (const member of [alpha, copy]) await member.end();
    const fresh = make("fresh", "straight");
    fresh.startKeyValueMaster();
    await fresh.untilRole("Primary");
    expect(await keys(await fresh.masterUrl())).toEqual(expect.arrayContaining(["row0", "row1", "row2", "after"]));
  });
});

async function says(member: MemberProcess, what: RegExp): Promise<void> {
  await until(
    `${member.name} says ${String(what)}`,
    async () => (what.test(member.said) ? true : undefined),
    () => member.said,
  );
}

/** Not a zombie that nobody has reaped yet. */
function runs(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, "latin1"));
  } catch {
    return false;
  }
}
