import {
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, jest, test } from "@jest/globals";
import { serverNames, whyMissing } from "../servers/catalog.js";
import { accessKey, secretKey, StoreServer } from "../servers/server.js";
import { newBucket } from "../servers/stores.js";
import { TlsProxy } from "../servers/tls-proxy.js";
import { keys, put, untilSame } from "./key-value.js";
import { MemberProcess, until, type MemberOptions } from "./member-process.js";

jest.setTimeout(120_000);

/** What an SDK is given beside the key; harmless to a store that doesn't know it, but nobody's to read. */
const OTHER_SECRETS = ["a-secret-of-nobody", "geheim"];

let root: string;
let members: MemberProcess[];
/** All that any process said. */
let said: string[];

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "metamaster-e2e-stores-"));
  members = [];
  said = [];
});

afterEach(async () => {
  for (const member of members) await member.end();
  const all = [...said, ...members.map((member) => logOf(member))].join("\n");
  rmSync(root, { recursive: true, force: true });
  for (const secret of [secretKey, ...OTHER_SECRETS]) expect(all).not.toContain(secret);
  expect(all).not.toMatch(/Signature=|AWS4-HMAC|X-Amz-Signature/);
});

function logOf({ log, directory }: MemberProcess): string {
  return readdirSync(directory).includes("log") ? readFileSync(log, "utf8") : "";
}

function make(name: string, options: Partial<MemberOptions>): MemberProcess {
  const member = new MemberProcess({ name, root, ...options });
  members.push(member);
  return member;
}

async function cli(member: MemberProcess, ...args: string[]): Promise<{ readonly code: number | null; all: string }> {
  const { code, out, err } = await member.cli(...args);
  const all = `${out}\n${err}`;
  said.push(all);
  return { code, all };
}

/** The command's end, and that its words name what is wrong and what to do. */
async function refused(member: MemberProcess, code: number, what: RegExp, remedy: RegExp): Promise<void> {
  for (const args of [["probe"], ["log", "list"], ["restore", "--to", join(root, "to")], ["run", "--", "true"]]) {
    const result = await cli(member, ...args);
    expect([args, result.code, result.all]).toEqual([args, code, expect.stringMatching(what)]);
    expect(result.all).toMatch(remedy);
    expect(result.all).not.toMatch(/\n {4}at |node:internal/);
  }
}

describe.each(serverNames)("%s, by the command line", (name) => {
  const missing = whyMissing(name);
  if (missing !== undefined) {
    test.skip(`skipped: ${missing}`, () => undefined);
    return;
  }

  let server: StoreServer;
  beforeAll(async () => {
    server = await StoreServer.start(name);
  }, 60_000);
  afterAll(() => server?.stop(), 60_000);

  const store = async (): Promise<{ url: string; endpoint: string }> => {
    const { url } = await newBucket(server);
    return { url, endpoint: server.endpoint };
  };

  test("probe, a failover, a return, restore, verify", async () => {
    const options = { store: await store(), more: "log:\n  level: Debug\n" };
    const [alpha, beta] = [make("alpha", options), make("beta", options)];
    expect(await cli(alpha, "probe")).toMatchObject({ code: 0, all: expect.stringContaining("is safe to use") });
    alpha.startKeyValueMaster();
    await alpha.untilRole("Primary");
    for (let i = 0; i < 10; i++) await put(await alpha.masterUrl(), `key${i}`, `value${i}`);
    beta.startKeyValueMaster();
    await beta.untilRole("Standby");
    expect(await cli(alpha, "checkpoint")).toMatchObject({ code: 0 });
    await put(await alpha.masterUrl(), "last", "before the kill");
    await alpha.end();
    await beta.untilRole("Primary");
    await put(await beta.masterUrl(), "next", "after it");
    alpha.startKeyValueMaster();
    await alpha.untilRole("Standby");
    await untilSame(alpha, beta);
    expect(await keys(await beta.masterUrl())).toHaveLength(12);

    expect(await cli(beta, "verify", "--deep")).toMatchObject({ code: 0, all: expect.stringContaining("whole: ") });
    expect(await cli(beta, "log", "list")).toMatchObject({ code: 0, all: expect.stringMatching(/claim +beta/) });
    for (const args of [["status"], ["config", "explain"], ["snapshot", "list"]]) {
      expect(await cli(beta, ...args)).toMatchObject({ code: 0 });
    }
    const target = join(root, "restored");
    expect(await cli(beta, "restore", "--to", target)).toMatchObject({ code: 0 });
    const gamma = make("gamma", { bucket: join(root, "another"), more: "bootstrap: Adopt\n" });
    cpSync(target, gamma.data, { recursive: true });
    gamma.startKeyValueMaster();
    await gamma.untilRole("Primary");
    expect(await keys(await gamma.masterUrl())).toHaveLength(12);
  });

  test("a bucket that isn't there, and an endpoint that can't be one, are named", async () => {
    const { url, endpoint } = await store();
    const absent = make("absent", { store: { url: url.replace("//mm-", "//no-"), endpoint } });
    await refused(absent, 4, /NoSuchBucket|404/, /what to do: Create the bucket, or correct its name/);
    const secret = make("secret", { store: { url, endpoint: endpoint.replace("//", "//somebody:geheim@") } });
    await refused(secret, 2, /endpoint .*can't be used/, /without credentials/);
    expect((await cli(secret, "config", "explain")).all).toContain("***@");
  });

  test("nobody at the endpoint: it is said again and again, and goes on once there is somebody", async () => {
    const { url } = await store();
    const early = make("early", { store: { url, endpoint: server.endpoint } });
    await server.kill();
    early.startKeyValueMaster();
    await until(
      "it says that nobody answers",
      async () => (/ECONNREFUSED.* Trying again/.test(early.said) ? true : undefined),
      () => early.said,
    );
    await server.restart();
    await early.untilRole("Primary");
    await put(await early.masterUrl(), "key", "value");
  });

  if (name === "fake-gcs-server") return;

  test.each([
    ["a wrong secret", { AWS_SECRET_ACCESS_KEY: OTHER_SECRETS[0] }, /403/, /Check the credentials/],
    ["a key that nobody has", { AWS_ACCESS_KEY_ID: "nobodyatall" }, /403/, /Check the credentials/],
    [
      "no credentials at all",
      { AWS_ACCESS_KEY_ID: undefined, AWS_SECRET_ACCESS_KEY: undefined },
      /Could not load credentials/,
      /the files of `bucket.credentialsDirectory`, or where the store.s own SDK finds them/,
    ],
  ])("%s", async (_what, environment, what, remedy) => {
    await refused(make("alpha", { store: await store(), environment }), 4, what, remedy);
  });

  test("credentials in files: without them it says which; changed, they are read anew while it runs", async () => {
    const credentialsDirectory = join(root, "credentials");
    const environment = {
      AWS_ACCESS_KEY_ID: undefined,
      AWS_SECRET_ACCESS_KEY: undefined,
      METAMASTER_BUCKET_CREDENTIALS_DIRECTORY: credentialsDirectory,
    };
    // Not fenced meanwhile.
    const member = make("alpha", { store: await store(), environment, lease: "60s" });
    const without = await cli(member, "probe");
    expect(without).toMatchObject({ code: 4, all: expect.stringMatching(/AWS_ACCESS_KEY_ID in \S+ is missing/) });
    expect(without.all).toContain(`Credentials are taken from ${credentialsDirectory}`);
    mkdirSync(credentialsDirectory);
    writeFileSync(join(credentialsDirectory, "AWS_ACCESS_KEY_ID"), `${accessKey}\n`);
    writeFileSync(join(credentialsDirectory, "AWS_SECRET_ACCESS_KEY"), secretKey);
    member.startKeyValueMaster();
    await member.untilRole("Primary");
    const url = await member.masterUrl();
    await put(url, "a", "1");
    // As a kubelet does: the key's file changes with the secret's.
    writeFileSync(join(credentialsDirectory, "AWS_SECRET_ACCESS_KEY"), OTHER_SECRETS[0] ?? "");
    writeFileSync(join(credentialsDirectory, "AWS_ACCESS_KEY_ID"), accessKey);
    await until(
      "the store refuses them",
      async () => (JSON.stringify((await member.status())?.["trouble"] ?? "").includes("403") ? true : undefined),
      () => member.said,
    );
    writeFileSync(join(credentialsDirectory, "AWS_SECRET_ACCESS_KEY"), secretKey);
    writeFileSync(join(credentialsDirectory, "AWS_ACCESS_KEY_ID"), `${accessKey}\n`);
    await put(url, "b", "2");
  });

  test("over TLS: a certificate that nobody trusts is refused, with its CA's file it is not", async () => {
    const proxy = await TlsProxy.start(server.port, join(root, "tls"));
    try {
      const { url } = await store();
      const { endpoint, caFile } = proxy;
      const unknown = make("unknown", { store: { url, endpoint } });
      await refused(unknown, 4, /unable to verify the first certificate/, /caFile/);
      const trusting = make("trusting", { store: { url, endpoint, caFile }, onBucketLoss: "Hold" });
      expect(await cli(trusting, "probe")).toMatchObject({ code: 0 });
      trusting.startKeyValueMaster();
      await trusting.untilRole("Primary");
      const master = await trusting.masterUrl();
      await put(master, "key", "value");
      // The store gets a certificate of another authority; its CA arrives later, in the same file.
      const ca = await proxy.rotate(join(root, "tls2"));
      proxy.breakConnections();
      await until(
        "the store is not trusted",
        async () =>
          JSON.stringify((await trusting.status())?.["trouble"] ?? "").includes("CA is taken from") ? true : undefined,
        () => trusting.said,
      );
      copyFileSync(ca, caFile);
      await put(master, "key2", "value");
    } finally {
      for (const member of members) await member.end();
      await proxy.stop();
    }
  });
});
