import { randomBytes } from "node:crypto";
import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3";
import { SystemClock } from "../../sidecar/src/base/system-clock.js";
import { SystemRandom } from "../../sidecar/src/base/system-random.js";
import type { Bucket } from "../../sidecar/src/bucket/bucket.js";
import { openBucket, type BucketConfig, type OpenComponents } from "../../sidecar/src/bucket/open.js";
import { accessKey, secretKey, type StoreServer } from "./server.js";

export const realComponents: OpenComponents = {
  clock: new SystemClock(),
  random: new SystemRandom(),
  onRetry: () => undefined,
};

/** What the default chain of the SDK finds. */
const credentialsEnv = {
  AWS_ACCESS_KEY_ID: accessKey,
  AWS_SECRET_ACCESS_KEY: secretKey,
  AWS_EC2_METADATA_DISABLED: "true",
} as const;

export function useTestCredentials(): void {
  Object.assign(process.env, credentialsEnv);
}

/** A new bucket in the store; gives the config that opens it, with a prefix of its own. */
export async function newBucket(server: StoreServer): Promise<BucketConfig> {
  const name = `mm-${randomBytes(6).toString("hex")}`;
  const { endpoint } = server;
  if (server.name === "fake-gcs-server") {
    const answer = await fetch(`${endpoint}/storage/v1/b?project=test`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ name }),
    });
    if (!answer.ok) throw new Error(`no bucket ${name}: ${answer.status} ${await answer.text()}`);
    return { url: `gs://${name}/some/prefix`, endpoint };
  }
  useTestCredentials();
  const credentials = { accessKeyId: accessKey, secretAccessKey: secretKey };
  const client = new S3Client({ endpoint, region: "us-east-1", forcePathStyle: true, credentials });
  await client.send(new CreateBucketCommand({ Bucket: name }));
  client.destroy();
  return { url: `s3://${name}/some/prefix`, endpoint };
}

export async function open(config: BucketConfig): Promise<Bucket> {
  return openBucket(config, realComponents);
}
