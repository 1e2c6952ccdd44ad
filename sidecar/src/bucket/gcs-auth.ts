import { join } from "node:path";
import { WatchedFile } from "./credentials-directory.js";

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
  /** Folder with `credentials.json`, read anew when it changes; undefined: the SDK's own chain. */
  readonly credentialsDirectory: string | undefined;
}

/**
 * Credentials, universe domain and endpoint as @google-cloud/storage finds them. Its requests are not used: they can't be aborted, time-outs
 * don't cut a silent server, and a lost race comes in several shapes (docs/decisions). Loaded only here, so that other buckets don't pay.
 */
export async function openGcsAuth(settings: GcsAuthSettings, nowMs: () => number): Promise<GcsAuth> {
  const { endpoint, authenticateCustomEndpoint, credentialsDirectory } = settings;
  const { Storage } = await import("@google-cloud/storage");
  const open = (more: object): InstanceType<typeof Storage> =>
    new Storage({ ...(endpoint === undefined ? {} : { apiEndpoint: endpoint }), ...more });
  const storage = open({});
  const { apiEndpoint, customEndpoint } = storage;
  const anonymous = customEndpoint && !authenticateCustomEndpoint;
  const file = credentialsDirectory === undefined ? undefined : join(credentialsDirectory, "credentials.json");
  const watched =
    file === undefined ? undefined : new WatchedFile(file, nowMs, async () => open({ keyFilename: file }).authClient);
  return {
    endpoint: apiEndpoint.replace(/\/+$/, ""),
    headers: async () => {
      if (anonymous) return {};
      const client = watched === undefined ? storage.authClient : await watched.value();
      const headers = await client.getRequestHeaders(apiEndpoint);
      return Object.fromEntries(headers.entries());
    },
  };
}
