import { Agent as HttpsAgent } from "node:https";
import { Readable } from "node:stream";
import type { PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { http } from "../base/node-http.js";
import type { CaFile } from "./ca-file.js";
import type { S3Credentials } from "./credential-files.js";
import type { S3Api, S3Upload } from "./s3-api.js";

export interface S3SdkSettings {
  readonly bucket: string;
  /** Absent: AWS_REGION or the profile's; with an endpoint `us-east-1` does for most stores. */
  readonly region: string | undefined;
  readonly endpoint: string | undefined;
  readonly forcePathStyle: boolean;
  /** In place of the system's; undefined: the system's. */
  readonly ca: CaFile | undefined;
  /** `WHEN_SUPPORTED` adds the SDK's own checksums, which some stores refuse. */
  readonly checksums: "WHEN_REQUIRED" | "WHEN_SUPPORTED";
  readonly maxSockets: number;
  readonly connectMs: number;
  /** Asked before each request; undefined: the SDK's own chain. */
  readonly credentials: (() => Promise<S3Credentials>) | undefined;
}

const silent = (): void => undefined;
/** The SDK writes to the console unless it is given a logger; what it would say is in our errors. */
const noLog = { trace: silent, debug: silent, info: silent, warn: silent, error: silent };

type Sdk = typeof import("@aws-sdk/client-s3");

/** The AWS SDK behind S3Api; credentials by its own default chain or ours. Loaded only here, so that other buckets don't pay for it. */
export async function openS3Sdk(settings: S3SdkSettings): Promise<S3Api> {
  const sdk = await import("@aws-sdk/client-s3");
  const { region, endpoint, ca, maxSockets, credentials } = settings;
  const agent = { keepAlive: true, maxSockets, scheduling: "lifo" as const };
  const httpsAgent = new HttpsAgent(agent);
  // New connections take it; those that were kept are known by the CA that they were made with, and used no more.
  ca?.attach((pem) => {
    httpsAgent.options.ca = pem;
  });
  const client = new sdk.S3Client({
    ...(region === undefined ? {} : { region }),
    ...(endpoint === undefined ? {} : { endpoint }),
    // What has expired the SDK asks for again: our own answer is as fresh as it should be.
    ...(credentials === undefined
      ? {}
      : { credentials: async () => ({ ...(await credentials()), expiration: new Date(0) }) }),
    forcePathStyle: settings.forcePathStyle,
    requestChecksumCalculation: settings.checksums,
    responseChecksumValidation: "WHEN_REQUIRED",
    maxAttempts: 1,
    // Our bodies are small buffers; waiting for "100 Continue" costs a round trip and a new connection each.
    expectContinueHeader: false,
    logger: noLog,
    requestHandler: {
      httpAgent: new http.Agent(agent),
      httpsAgent,
      connectionTimeout: settings.connectMs,
      // Deadlines are ours, by abort; this one would only warn.
      requestTimeout: 0,
      logger: noLog,
    },
  });
  return new S3SdkApi(sdk, client, settings.bucket);
}

function hasHeaders(request: unknown): request is { readonly headers: Record<string, string> } {
  return typeof request === "object" && request !== null && "headers" in request;
}

/** The signature covers the body's sha256, which the SDK computes unless this header is there. */
function givePayloadHash(command: PutObjectCommand, sha256: string): void {
  command.middlewareStack.add(
    (next) => (args) => {
      if (hasHeaders(args.request)) args.request.headers["x-amz-content-sha256"] = sha256;
      return next(args);
    },
    { step: "build" },
  );
}

class S3SdkApi implements S3Api {
  readonly #sdk: Sdk;
  readonly #client: S3Client;
  readonly #bucket: string;

  constructor(sdk: Sdk, client: S3Client, bucket: string) {
    this.#sdk = sdk;
    this.#client = client;
    this.#bucket = bucket;
  }

  async putObject({ key, body, sha256, ifAbsent, signal }: Parameters<S3Api["putObject"]>[0]): Promise<void> {
    const command = new this.#sdk.PutObjectCommand({
      Bucket: this.#bucket,
      Key: key,
      Body: body,
      ContentLength: body.length,
      ContentType: "application/octet-stream",
      ...(ifAbsent ? { IfNoneMatch: "*" } : {}),
    });
    if (sha256 !== undefined) givePayloadHash(command, sha256);
    await this.#client.send(command, { abortSignal: signal });
  }

  async getObject({ key, range, signal }: Parameters<S3Api["getObject"]>[0]): ReturnType<S3Api["getObject"]> {
    const command = new this.#sdk.GetObjectCommand({
      Bucket: this.#bucket,
      Key: key,
      ...(range === undefined ? {} : { Range: range }),
    });
    const answer = await this.#client.send(command, { abortSignal: signal });
    const { ContentLength: length, ContentRange: contentRange } = answer;
    const body: unknown = answer.Body;
    if (!(body instanceof Readable)) throw new TypeError("The answer has no body that can be read.");
    const total = /\/(\d+)$/.exec(contentRange ?? "")?.[1];
    return { body, length, ranged: contentRange !== undefined, total: total === undefined ? undefined : Number(total) };
  }

  async headObject(key: string, signal: AbortSignal): Promise<number> {
    const command = new this.#sdk.HeadObjectCommand({ Bucket: this.#bucket, Key: key });
    const { ContentLength: size } = await this.#client.send(command, { abortSignal: signal });
    if (size === undefined) throw new TypeError("The answer does not say the object's size.");
    return size;
  }

  async listObjects(request: Parameters<S3Api["listObjects"]>[0]): ReturnType<S3Api["listObjects"]> {
    const { prefix, startAfter, limit, signal } = request;
    const command = new this.#sdk.ListObjectsV2Command({
      Bucket: this.#bucket,
      Prefix: prefix,
      MaxKeys: limit,
      ...(startAfter === undefined ? {} : { StartAfter: startAfter }),
    });
    const { Contents: contents = [], IsTruncated: more } = await this.#client.send(command, { abortSignal: signal });
    return { objects: contents.map(({ Key = "", Size = 0 }) => ({ key: Key, size: Size })), more: more === true };
  }

  async deleteObject(key: string, signal: AbortSignal): Promise<void> {
    const command = new this.#sdk.DeleteObjectCommand({ Bucket: this.#bucket, Key: key });
    await this.#client.send(command, { abortSignal: signal });
  }

  async createUpload(key: string, signal: AbortSignal): Promise<string> {
    const command = new this.#sdk.CreateMultipartUploadCommand({
      Bucket: this.#bucket,
      Key: key,
      ContentType: "application/octet-stream",
    });
    const { UploadId: id } = await this.#client.send(command, { abortSignal: signal });
    if (id === undefined) throw new TypeError("The answer has no id of the upload.");
    return id;
  }

  async uploadPart({ key, id }: S3Upload, part: number, body: Uint8Array, signal: AbortSignal): Promise<string> {
    const command = new this.#sdk.UploadPartCommand({
      Bucket: this.#bucket,
      Key: key,
      UploadId: id,
      PartNumber: part,
      Body: body,
      ContentLength: body.length,
    });
    const { ETag: etag } = await this.#client.send(command, { abortSignal: signal });
    if (etag === undefined) throw new TypeError("The answer has no etag of the part.");
    return etag;
  }

  async completeUpload({ key, id }: S3Upload, etags: readonly string[], signal: AbortSignal): Promise<void> {
    const command = new this.#sdk.CompleteMultipartUploadCommand({
      Bucket: this.#bucket,
      Key: key,
      UploadId: id,
      MultipartUpload: { Parts: etags.map((etag, i) => ({ ETag: etag, PartNumber: i + 1 })) },
    });
    await this.#client.send(command, { abortSignal: signal });
  }

  async abortUpload({ key, id }: S3Upload, signal: AbortSignal): Promise<void> {
    const command = new this.#sdk.AbortMultipartUploadCommand({ Bucket: this.#bucket, Key: key, UploadId: id });
    await this.#client.send(command, { abortSignal: signal });
  }

  close(): void {
    this.#client.destroy();
  }
}
