import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { Clock } from "../base/clock.js";
import { MetaMasterError, messageOf } from "../base/errors.js";
import type { Random } from "../base/random.js";
import type { Bucket } from "./bucket.js";
import { CredentialsDirectory, withCredentialsOf } from "./credentials-directory.js";
import { GCS_CREDENTIAL_FILES, S3_CREDENTIAL_FILES, s3CredentialsOf } from "./credential-files.js";
import { FileBucket } from "./file-bucket.js";
import { normalizePrefix } from "./keys.js";
import type { RetryComponents } from "./retry.js";
import { scrub } from "./store-errors.js";
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
  /** PEM file of the CA that signed the store's certificate. */
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
  const url = parseUrl(config.url);
  switch (url.protocol) {
    case "file:":
      return openFile(config, url, components);
    case "s3:":
      return openS3(config, url, components);
    case "gs:":
      return openGcs(config, url, components);
    default:
      throw badUrl(config.url, `its scheme ${url.protocol} is unknown`);
  }
}

async function openFile(config: BucketConfig, url: URL, components: OpenComponents): Promise<Bucket> {
  if (url.host !== "")
    throw badUrl(config.url, "a file url has three slashes (file:///folder); the part after two is a host");
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
  const api = await openS3Sdk({
    bucket,
    region: config.region ?? (endpoint === undefined ? undefined : (process.env["AWS_REGION"] ?? "us-east-1")),
    endpoint,
    forcePathStyle: config.forcePathStyle ?? endpoint !== undefined,
    ca: await readCa(config.caFile),
    checksums: config.checksums ?? "WHEN_REQUIRED",
    maxSockets,
    connectMs: 10_000,
    credentials:
      directory === undefined ? undefined : async () => s3CredentialsOf(directory, await directory.current()),
  });
  const settings = { url: `s3://${bucket}/${prefix}`, prefix, ...transferOf(config), ...parts };
  const opened = new S3Bucket(settings, components, api);
  return directory === undefined ? opened : withCredentialsOf(directory, opened);
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
  const transport = new HttpTransport({ ca: await readCa(config.caFile), maxSockets });
  const settings = { url: `gs://${bucket}/${prefix}`, prefix, ...transferOf(config), ...parts };
  const opened = new GcsBucket(settings, components, new GcsApi(bucket, auth, transport));
  return directory === undefined ? opened : withCredentialsOf(directory, opened);
}

function directoryOf(
  { credentialsDirectory: path }: BucketConfig,
  names: readonly string[],
  clock: Clock,
): CredentialsDirectory | undefined {
  return path === undefined ? undefined : new CredentialsDirectory(path, names, clock);
}

function parseUrl(text: string): URL {
  if (!URL.canParse(text)) throw badUrl(text, "it is no url");
  const url = new URL(text);
  if (url.username !== "" || url.password !== "") {
    throw badUrl(text, "it holds credentials; they would end up in logs. Give them in the way of the store's SDK");
  }
  if (url.search !== "" || url.hash !== "") throw badUrl(text, "it has a ? or a #; options have their own settings");
  return url;
}

/** Without what comes before an @ or after a ?: in a url that is wrong anyway, a password may stand anywhere there. */
function shown(text: string): string {
  return scrub(text.replace(/[?#].*$/s, "?***").replace(/^.*@/s, "***@"));
}

function badUrl(text: string, why: string): MetaMasterError {
  return new MetaMasterError(
    "BucketUrlInvalid",
    "invalid",
    `The bucket url ${JSON.stringify(shown(text))} can't be used: ${why}.`,
    {
      hint: "Give s3://bucket/prefix, gs://bucket/prefix or file:///absolute/folder.",
    },
  );
}

function storePlace(config: BucketConfig, url: URL): { bucket: string; prefix: string } {
  const bucket = url.hostname;
  if (url.port !== "") throw badUrl(config.url, "a bucket has no port; the store's address is the setting `endpoint`");
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{1,220}[A-Za-z0-9]$/.test(bucket)) {
    throw badUrl(config.url, bucket === "" ? "it names no bucket" : `${JSON.stringify(bucket)} is no name of a bucket`);
  }
  const path = decodeURIComponent(url.pathname);
  return { bucket, prefix: normalizePrefix(`${path}/${config.prefix ?? ""}`.replaceAll(/\/+/g, "/")) };
}

function checkedEndpoint({ endpoint }: BucketConfig): string | undefined {
  if (endpoint === undefined) return undefined;
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  const web = url?.protocol === "http:" || url?.protocol === "https:";
  if (url === undefined || !web || url.username !== "" || url.password !== "" || url.search !== "") {
    throw new MetaMasterError(
      "BucketUrlInvalid",
      "invalid",
      `The endpoint ${JSON.stringify(shown(endpoint))} can't be used.`,
      {
        hint: "Give http://host:port or https://host:port, without credentials.",
      },
    );
  }
  return endpoint.replace(/\/+$/, "");
}

async function readCa(path: string | undefined): Promise<string | undefined> {
  if (path === undefined) return undefined;
  try {
    const pem = await readFile(path, "utf8");
    if (pem.includes("-----BEGIN CERTIFICATE-----")) return pem;
  } catch (error) {
    throw badCa(path, messageOf(error), error);
  }
  throw badCa(path, "it holds no certificate in PEM form");
}

function badCa(path: string, why: string, cause?: unknown): MetaMasterError {
  return new MetaMasterError("BucketTlsInvalid", "invalid", `The CA file ${path} can't be used: ${why}.`, {
    cause,
    hint: "Give the PEM file of the CA that signed the store's certificate.",
    details: { path },
  });
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
