import { createServer, request as httpRequest, type Server } from "node:http";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, jest, test } from "@jest/globals";
import { MetaMasterError } from "../../sidecar/src/base/errors.js";
import type { Bucket } from "../../sidecar/src/bucket/bucket.js";
import { whyMissing, type ServerName } from "../servers/catalog.js";
import { SecretFolder } from "../servers/secret-folder.js";
import { accessKey, secretKey, StoreServer } from "../servers/server.js";
import { newBucket, open } from "../servers/stores.js";

jest.setTimeout(60_000);

const text = (value: string): Uint8Array => new TextEncoder().encode(value);
const endings: (() => Promise<unknown>)[] = [];

afterEach(async () => {
  for (const end of endings.splice(0).toReversed()) await end();
});

function secretFolder(): SecretFolder {
  const folder = new SecretFolder();
  endings.push(async () => folder.remove());
  return folder;
}

async function refusal(work: Promise<unknown>): Promise<MetaMasterError> {
  const error: unknown = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (error instanceof MetaMasterError) return error;
  throw new Error(`no error of ours: ${String(error)}`);
}

const s3Stores: readonly ServerName[] = ["versitygw", "minio"];

describe.each(s3Stores)("%s", (name) => {
  const missing = whyMissing(name);
  if (missing !== undefined) {
    test.skip(`skipped: ${missing}`, () => undefined);
    return;
  }

  async function opened(folder: SecretFolder): Promise<Bucket> {
    const server = await StoreServer.start(name);
    endings.push(() => server.stop());
    const bucket = await open({ ...(await newBucket(server)), credentialsDirectory: folder.path });
    endings.push(() => bucket.close());
    return bucket;
  }

  test("wrong ones are refused with the folder's name; the right ones count from the next call on, and wrong ones again", async () => {
    const folder = secretFolder();
    folder.setKeys(accessKey, "not the secret");
    const bucket = await opened(folder);
    const error = await refusal(bucket.putIfAbsent("a", text("1"), {}));
    expect([error.code, error.kind]).toEqual(["BucketAccessDenied", "invalid"]);
    expect(error.hint).toContain(folder.path);
    folder.setKeys(accessKey, secretKey);
    // Read again because the store said no, not because time passed.
    expect(await bucket.putIfAbsent("a", text("1"), {})).toBe("created");
    expect(await bucket.get("a", { maxBytes: 9 })).toEqual(Buffer.from("1"));
    folder.setKeys("nobody", secretKey);
    for (;;) {
      const denied = await bucket.head("a", {}).then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      if (denied !== undefined) {
        expect(denied).toMatchObject({ code: "BucketAccessDenied" });
        break;
      }
    }
  });

  test("missing ones are named", async () => {
    const folder = secretFolder();
    folder.set({ AWS_ACCESS_KEY_ID: accessKey });
    const bucket = await opened(folder);
    const error = await refusal(bucket.head("a", {}));
    expect(error.code).toBe("BucketAccessDenied");
    expect(error.message).toContain(`The file AWS_SECRET_ACCESS_KEY in ${folder.path} is missing`);
    folder.setKeys(accessKey, secretKey);
    expect(await bucket.head("a", {})).toBeUndefined();
  });
});

/** Passes on to the store what bears the token that is valid now; answers the rest as GCS does. */
async function guarded(store: StoreServer, isValid: (token: string) => boolean): Promise<string> {
  const server = createServer((incoming, answer) => {
    const token = /^Bearer (.+)$/.exec(incoming.headers.authorization ?? "")?.[1] ?? "";
    if (!isValid(token)) {
      incoming.resume();
      answer.writeHead(401, { "content-type": "application/json" });
      answer.end(
        JSON.stringify({ error: { code: 401, message: "Invalid Credentials", errors: [{ reason: "authError" }] } }),
      );
      return;
    }
    const options = {
      host: store.host,
      port: store.port,
      path: incoming.url,
      method: incoming.method,
      headers: incoming.headers,
    };
    const outgoing = httpRequest(options, (response) => {
      answer.writeHead(response.statusCode ?? 500, response.headers);
      response.pipe(answer);
    });
    incoming.pipe(outgoing);
  });
  return await listening(server);
}

/** Google's exchange of a workload's own token for one of its. */
async function exchange(): Promise<string> {
  return await listening(
    createServer((incoming, answer) => {
      const chunks: Buffer[] = [];
      incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
      incoming.on("end", () => {
        const subject = new URLSearchParams(Buffer.concat(chunks).toString()).get("subject_token") ?? "";
        answer.writeHead(200, { "content-type": "application/json" });
        answer.end(JSON.stringify({ access_token: `for-${subject}`, token_type: "Bearer", expires_in: 3600 }));
      });
    }),
  );
}

async function listening(server: Server): Promise<string> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  endings.push(async () => {
    server.closeAllConnections();
    server.close();
  });
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("it does not listen");
  return `http://127.0.0.1:${address.port}`;
}

describe("fake-gcs-server behind a check of tokens", () => {
  const missing = whyMissing("fake-gcs-server");
  if (missing !== undefined) {
    test.skip(`skipped: ${missing}`, () => undefined);
    return;
  }

  test("a credentials.json is used, and replaced without a restart as soon as the store refuses the old one", async () => {
    const store = await StoreServer.start("fake-gcs-server");
    endings.push(() => store.stop());
    let valid = "for-first";
    const endpoint = await guarded(store, (token) => token === valid);
    const tokenUrl = await exchange();
    const folder = secretFolder();
    const account = (subject: string): Readonly<Record<string, string>> => {
      const file = join(folder.path, `subject-${subject}`);
      writeFileSync(file, subject);
      const credentials = {
        type: "external_account",
        audience: "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q",
        subject_token_type: "urn:ietf:params:oauth:token-type:jwt",
        token_url: tokenUrl,
        credential_source: { file },
      };
      return { "credentials.json": JSON.stringify(credentials) };
    };
    folder.set({ "credentials.json": "{" });
    const config = await newBucket(store);
    const bucket = await open({
      ...config,
      endpoint,
      authenticateCustomEndpoint: true,
      credentialsDirectory: folder.path,
    });
    endings.push(() => bucket.close());
    const broken = await refusal(bucket.head("a", {}));
    expect([broken.code, broken.message]).toEqual([
      "BucketAccessDenied",
      expect.stringContaining("credentials.json is no JSON"),
    ]);
    folder.set(account("first"));
    expect(await bucket.putIfAbsent("a", text("1"), {})).toBe("created");
    valid = "for-second";
    const refused = await refusal(bucket.head("a", {}));
    expect([refused.code, refused.hint]).toEqual(["BucketAccessDenied", expect.stringContaining(folder.path)]);
    folder.set(account("second"));
    expect(await bucket.head("a", {})).toBe(1);
  });
});
