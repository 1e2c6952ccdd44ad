import { fileURLToPath } from "node:url";
import type { Clock } from "../base/clock.js";
import { MetaMasterError } from "../base/errors.js";
import type { Random } from "../base/random.js";
import type { Bucket } from "./bucket.js";
import { CaFile, withCaOf } from "./ca-file.js";
import { CredentialsDirectory, withCredentialsOf } from "./credentials-directory.js";
import { GCS_CREDENTIAL_FILES, S3_CREDENTIAL_FILES, s3CredentialsOf } from "./credential-files.js";
import { parseBucketUrl, shownUrl } from "./bucket-url.js";
import { FileBucket } from "./file-bucket.js";
import { normalizePrefix } from "./keys.js";
import type { RetryComponents } from "./retry.js";
import { transferDefaults } from "./transfer.js";

/** Where the bucket is and how to talk to it. Credentials are never here: they come from the SDK's own default chain, or from a folder's files. */
export interface BucketConfig {
  /** `s3://bucket/prefix`, `gs://bucket/prefix` or `file:///absolute/folder`. */
  readonly url: string;
  /** Added after the url's own. */
  readonly prefix?: string | undefined;
  readonly region?: string | undefined;
  /** `http(s)://host:port` of a store that isn't the cloud's own. */
  readonly endpoint?: string | undefined;
  /** S3: `endpoint/bucket/key` in place of `bucket.endpoint/key`. Default: true if there is an endpoint. */
  readonly forcePathStyle?: boolean | undefined;
  /** Folder of files with the credentials, in place of the SDK's chain: credential-files.ts; read again when they change. */
  readonly credentialsDirectory?: string | undefined;
  /** PEM file of the CA that signed the store's certificate; read again when it changes (ca-file.ts). */
  readonly caFile?: string | undefined;
  /** S3: whether the SDK adds its own checksums to requests; some stores refuse them. Default `WHEN_REQUIRED`. */
  readonly checksums?: "WHEN_REQUIRED" | "WHEN_SUPPORTED" | undefined;
  /** GCS: send credentials to a custom endpoint, too. Default false (emulators take none). */
  readonly authenticateCustomEndpoint?: boolean | undefined;
  /** Connections at a time. Default 64. */
  readonly maxSockets?: number | undefined;
  /** Objects above this size go in parts of it. Default 8 MiB. */
  readonly partBytes?: number | undefined;
  /** Parts in flight and in memory at a time. Default 4. */
  readonly parallelParts?: number | undefined;
  /** Default deadline of a small call, milliseconds. Default 30,000. */
  readonly callMs?: number | undefined;
  /** Bodies slower than this are given up, bytes a second. Default 262,144. */
  readonly minBytesPerSecond?: number | undefined;
}

export interface OpenComponents {
  readonly clock: Clock;
  readonly random: Random;
  /** Told when a part of a large put is tried again. Whole calls are repeated by `retrying`, not here. */
  readonly onRetry: RetryComponents["onRetry"];
}

const temporaryMaxAgeMs = 3_600_000;
const partAlign = 256 * 1024;

/** The bucket of a url; it makes one try a call. Nothing is sent to the store before the first call. */
export async function openBucket(config: BucketConfig, components: OpenComponents): Promise<Bucket> {
  const url = parseBucketUrl(config.url);
  if (url.protocol === "file:") return openFile(config, url, components);
  return url.protocol === "s3:" ? openS3(config, url, components) : openGcs(config, url, components);
}

async function openFile(config: BucketConfig, url: URL, components: OpenComponents): Promise<Bucket> {
  const root = fileURLToPath(url).replace(/(?<=.)\/+$/, "");
  const prefix = normalizePrefix(config.prefix ?? "");
  return FileBucket.open({ root, prefix, temporaryMaxAgeMs, ...transferOf(config) }, components);
}

async function openS3(config: BucketConfig, url: URL, components: OpenComponents): Promise<Bucket> {
  const { bucket, prefix } = storePlace(config, url);
  const endpoint = checkedEndpoint(config);
  const [{ openS3Sdk }, { S3Bucket }] = await Promise.all([import("./s3-sdk.js"), import("./s3-bucket.js")]);
  const { maxSockets, ...parts } = partsOf(config, 5 << 20);
  const directory = directoryOf(config, S3_CREDENTIAL_FILES, components.clock);
  const ca = await caOf(config, components.clock);
  const api = await openS3Sdk({
    bucket,
    region: config.region ?? (endpoint === undefined ? undefined : (process.env["AWS_REGION"] ?? "us-east-1")),
    endpoint,
    forcePathStyle: config.forcePathStyle ?? endpoint !== undefined,
    ca,
    checksums: config.checksums ?? "WHEN_REQUIRED",
    maxSockets,
    connectMs: 10_000,
    credentials:
      directory === undefined ? undefined : async () => s3CredentialsOf(directory, await directory.current()),
  });
  const settings = { url: `s3://${bucket}/${prefix}`, prefix, ...transferOf(config), ...parts };
  return guarded(new S3Bucket(settings, components, api), ca, directory);
}

async function openGcs(config: BucketConfig, url: URL, components: OpenComponents): Promise<Bucket> {
  const { bucket, prefix } = storePlace(config, url);
  const endpoint = checkedEndpoint(config);
  const [{ openGcsAuth }, { GcsApi }, { GcsBucket }, { HttpTransport }] = await Promise.all([
    import("./gcs-auth.js"),
    import("./gcs-api.js"),
    import("./gcs-bucket.js"),
    import("../base/http-transport.js"),
  ]);
  const { maxSockets, ...parts } = partsOf(config, partAlign);
  const directory = directoryOf(config, GCS_CREDENTIAL_FILES, components.clock);
  const { authenticateCustomEndpoint = false } = config;
  const auth = await openGcsAuth({ endpoint, authenticateCustomEndpoint, directory });
  const ca = await caOf(config, components.clock);
  const transport = new HttpTransport({ ca: ca?.pem, maxSockets });
  ca?.attach((pem) => transport.trust(pem));
  const settings = { url: `gs://${bucket}/${prefix}`, prefix, ...transferOf(config), ...parts };
  return guarded(new GcsBucket(settings, components, new GcsApi(bucket, auth, transport)), ca, directory);
}

function directoryOf(
  { credentialsDirectory: path }: BucketConfig,
  names: readonly string[],
  clock: Clock,
): CredentialsDirectory | undefined {
  return path === undefined ? undefined : new CredentialsDirectory(path, names, clock);
}

function storePlace(config: BucketConfig, url: URL): { bucket: string; prefix: string } {
  const path = decodeURIComponent(url.pathname);
  return { bucket: url.hostname, prefix: normalizePrefix(`${path}/${config.prefix ?? ""}`.replaceAll(/\/+/g, "/")) };
}

function checkedEndpoint({ endpoint }: BucketConfig): string | undefined {
  if (endpoint === undefined) return undefined;
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  const web = url?.protocol === "http:" || url?.protocol === "https:";
  if (url === undefined || !web || url.username !== "" || url.password !== "" || url.search !== "") {
    throw new MetaMasterError(
      "BucketUrlInvalid",
      "invalid",
      `The endpoint ${JSON.stringify(shownUrl(endpoint))} can't be used.`,
      {
        hint: "Give http://host:port or https://host:port, without credentials.",
      },
    );
  }
  return endpoint.replace(/\/+$/, "");
}

async function caOf({ caFile }: BucketConfig, clock: Clock): Promise<CaFile | undefined> {
  return caFile === undefined ? undefined : await CaFile.open(caFile, clock);
}

function guarded(bucket: Bucket, ca: CaFile | undefined, directory: CredentialsDirectory | undefined): Bucket {
  const trusting = ca === undefined ? bucket : withCaOf(ca, bucket);
  return directory === undefined ? trusting : withCredentialsOf(directory, trusting);
}

function transferOf({ callMs, minBytesPerSecond }: BucketConfig): { callMs: number; minBytesPerSecond: number } {
  return {
    callMs: callMs ?? transferDefaults.callMs,
    minBytesPerSecond: minBytesPerSecond ?? transferDefaults.minBytesPerSecond,
  };
}

function partsOf(
  config: BucketConfig,
  leastBytes: number,
): { maxSockets: number; partBytes: number; parallelParts: number } {
  const { maxSockets = 64, partBytes = 8 << 20, parallelParts = 4 } = config;
  // GCS takes chunks in multiples of 256 KiB, S3 any size from 5 MiB.
  const aligned = Math.ceil(Math.max(partBytes, leastBytes) / partAlign) * partAlign;
  return { maxSockets: Math.max(1, maxSockets), partBytes: aligned, parallelParts: Math.max(1, parallelParts) };
}
