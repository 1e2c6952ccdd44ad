import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, jest, test } from "@jest/globals";
import { whyMissing } from "../servers/catalog.js";
import { SecretFolder } from "../servers/secret-folder.js";
import { accessKey, secretKey, StoreServer } from "../servers/server.js";
import { newBucket } from "../servers/stores.js";
import { keys, put, tryPut } from "./key-value.js";
import { MemberProcess, until } from "./member-process.js";

jest.setTimeout(180_000);

let root: string;
let member: MemberProcess | undefined;
let server: StoreServer | undefined;
let secret: SecretFolder;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "metamaster-e2e-credentials-"));
  secret = new SecretFolder();
});

afterEach(async () => {
  await member?.end();
  await server?.stop();
  secret.remove();
  rmSync(root, { recursive: true, force: true });
});

const missing = whyMissing("minio");
(missing === undefined ? test : test.skip)(
  "a member waits with wrong credentials, goes on with the right ones, and lives through a rotation that comes late",
  async () => {
    server = await StoreServer.start("minio");
    const { url } = await newBucket(server);
    const { path } = secret;
    secret.setKeys(accessKey, "wrong-secret");
    const alpha = new MemberProcess({
      name: "alpha",
      root,
      lease: "60s",
      store: { url, endpoint: server.endpoint },
      environment: {
        AWS_ACCESS_KEY_ID: undefined,
        AWS_SECRET_ACCESS_KEY: undefined,
        METAMASTER_BUCKET_CREDENTIALS_DIRECTORY: path,
      },
    });
    member = alpha;
    alpha.startKeyValueMaster();
    const trouble = async (): Promise<string | undefined> => {
      const said = (await alpha.status())?.["trouble"];
      return typeof said === "string" ? said : undefined;
    };
    expect(await until("its status says why it waits", trouble, () => alpha.said)).toContain(
      `Credentials are taken from ${path}, and read again without a restart`,
    );
    secret.setKeys(accessKey, secretKey);
    await alpha.untilRole("Primary");
    const master = await alpha.masterUrl();
    await put(master, "a", "1");
    const { pid } = alpha;
    secret.setKeys(accessKey, "revoked");
    await until("nothing is acknowledged any more", async () => {
      const status = await tryPut(master, "b", "1", 3000);
      return status === 200 ? undefined : true;
    });
    await until("its status names the trouble", trouble, () => alpha.said);
    secret.setKeys(accessKey, secretKey);
    await until("it is acknowledged again", async () =>
      (await tryPut(master, "c", "1", 10_000)) === 200 ? true : undefined,
    );
    expect(await keys(master)).toEqual(expect.arrayContaining(["a", "c"]));
    expect(alpha.pid).toBe(pid);
    expect((await alpha.status())?.["role"]).toBe("Primary");
    expect(alpha.said).not.toContain("wrong-secret");
    expect(alpha.said).not.toContain(secretKey);
  },
);
