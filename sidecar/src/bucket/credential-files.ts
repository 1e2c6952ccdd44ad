import type { IdentityPoolClientOptions } from "google-auth-library";
import { NoCredentials, type CredentialFiles, type CredentialsDirectory } from "./credentials-directory.js";

/** Names of the files, as the stores' own tools name the variables or the file. */
export const S3_CREDENTIAL_FILES = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];
const GCS_FILE = "credentials.json";
export const GCS_CREDENTIAL_FILES = [GCS_FILE];

export interface S3Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}

export function s3CredentialsOf(directory: CredentialsDirectory, files: CredentialFiles): S3Credentials {
  const accessKeyId = directory.required(files, "AWS_ACCESS_KEY_ID");
  const secretAccessKey = directory.required(files, "AWS_SECRET_ACCESS_KEY");
  const sessionToken = files["AWS_SESSION_TOKEN"];
  return {
    accessKeyId,
    secretAccessKey,
    ...(sessionToken === undefined || sessionToken === "" ? {} : { sessionToken }),
  };
}

export type GcsCredentials = ServiceAccount | AuthorizedUser | ExternalAccount;

interface ServiceAccount {
  readonly type: "service_account";
  readonly client_email: string;
  readonly private_key: string;
  readonly private_key_id?: string;
}

interface AuthorizedUser {
  readonly type: "authorized_user";
  readonly client_id: string;
  readonly client_secret: string;
  readonly refresh_token: string;
}

/** Workload identity federation with a token from a file or an address. */
interface ExternalAccount extends IdentityPoolClientOptions {
  readonly type: "external_account";
}

const needed: Readonly<Record<GcsCredentials["type"], readonly string[]>> = {
  service_account: ["client_email", "private_key"],
  authorized_user: ["client_id", "client_secret", "refresh_token"],
  external_account: ["audience", "subject_token_type", "token_url"],
};

/** Whoever writes the file decides whom we trust: it is mounted by the pod's owner. Its contents are in no message. */
export function gcsCredentialsOf(directory: CredentialsDirectory, files: CredentialFiles): GcsCredentials {
  const path = `${directory.path}/${GCS_FILE}`;
  const value = parse(directory.required(files, GCS_FILE), path);
  const type: unknown = value["type"];
  if (!isType(type)) {
    throw new NoCredentials(`${path} has an unknown type; there are ${Object.keys(needed).join(", ")}.`);
  }
  const missing = needed[type].filter((name) => typeof value[name] !== "string" || value[name] === "");
  if (missing.length > 0) throw new NoCredentials(`${path} lacks ${missing.join(", ")}.`);
  if (type === "external_account" && !isObject(value["credential_source"])) {
    throw new NoCredentials(`${path} lacks credential_source.`);
  }
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- checked above; the rest is the SDK's to judge
  return value as unknown as GcsCredentials;
}

function parse(text: string, path: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // Node quotes the text, which is secret, in its message.
    throw new NoCredentials(`${path} is no JSON.`);
  }
  if (!isObject(value)) throw new NoCredentials(`${path} holds no JSON object.`);
  return value;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isType(type: unknown): type is GcsCredentials["type"] {
  return typeof type === "string" && Object.hasOwn(needed, type);
}
