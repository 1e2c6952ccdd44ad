import type { AuthClient } from "google-auth-library";
import { gcsCredentialsOf, type GcsCredentials } from "./credential-files.js";
import type { CredentialFiles, CredentialsDirectory } from "./credentials-directory.js";

export interface GcsAuth {
  /** e.g. `https://storage.googleapis.com`, without a slash at its end. */
  readonly endpoint: string;
  /** Headers that authorize a request; cached and renewed by the SDK. */
  headers(): Promise<Readonly<Record<string, string>>>;
}

export interface GcsAuthSettings {
  /** A store that speaks GCS' JSON API; undefined: Google's (or STORAGE_EMULATOR_HOST, as the SDK has it). */
  readonly endpoint: string | undefined;
  /** Custom endpoints (emulators) are called without credentials, as the SDK does, unless this says otherwise. */
  readonly authenticateCustomEndpoint: boolean;
  /** In place of the credentials that the SDK finds. */
  readonly directory: CredentialsDirectory | undefined;
}

/**
 * Credentials, universe domain and endpoint as @google-cloud/storage finds them. Its requests are not used: they can't be aborted, time-outs
 * don't cut a silent server, and a lost race comes in several shapes (docs/decisions). Loaded only here, so that other buckets don't pay.
 */
export async function openGcsAuth(settings: GcsAuthSettings): Promise<GcsAuth> {
  const { endpoint, authenticateCustomEndpoint, directory } = settings;
  const { Storage } = await import("@google-cloud/storage");
  const storage = new Storage(endpoint === undefined ? {} : { apiEndpoint: endpoint });
  const { apiEndpoint, customEndpoint, authClient } = storage;
  const headersOf = directory === undefined ? undefined : await clientOf(directory);
  const anonymous = customEndpoint && !authenticateCustomEndpoint;
  return {
    endpoint: apiEndpoint.replace(/\/+$/, ""),
    headers: async () => {
      if (anonymous) return {};
      const headers = await (headersOf?.() ?? authClient.getRequestHeaders(apiEndpoint));
      return Object.fromEntries(headers.entries());
    },
  };
}

/** The scope of @google-cloud/storage for objects. */
const SCOPE = "https://www.googleapis.com/auth/devstorage.read_write";

/** A client for what the directory holds, made anew when that changes; its token is kept and renewed by the SDK. */
async function clientOf(directory: CredentialsDirectory): Promise<() => Promise<Headers>> {
  const { JWT, UserRefreshClient, IdentityPoolClient } = await import("google-auth-library");
  const make = (credentials: GcsCredentials): AuthClient => {
    if (credentials.type === "service_account") {
      const { client_email: email, private_key: key, private_key_id: keyId } = credentials;
      return new JWT({ email, key, ...(keyId === undefined ? {} : { keyId }), scopes: [SCOPE] });
    }
    if (credentials.type === "authorized_user") {
      const { client_id: clientId, client_secret: clientSecret, refresh_token: refreshToken } = credentials;
      return new UserRefreshClient({ clientId, clientSecret, refreshToken });
    }
    const client = new IdentityPoolClient(credentials);
    client.scopes = [SCOPE];
    return client;
  };
  let made: { readonly of: CredentialFiles; readonly client: AuthClient } | undefined;
  return async () => {
    const files = await directory.current();
    if (made?.of !== files) made = { of: files, client: make(gcsCredentialsOf(directory, files)) };
    return await made.client.getRequestHeaders();
  };
}
