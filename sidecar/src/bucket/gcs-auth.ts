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
}

/**
 * Credentials, universe domain and endpoint as @google-cloud/storage finds them. Its requests are not used: they can't be aborted, time-outs
 * don't cut a silent server, and a lost race comes in several shapes (docs/decisions). Loaded only here, so that other buckets don't pay.
 */
export async function openGcsAuth({ endpoint, authenticateCustomEndpoint }: GcsAuthSettings): Promise<GcsAuth> {
  const { Storage } = await import("@google-cloud/storage");
  const storage = new Storage(endpoint === undefined ? {} : { apiEndpoint: endpoint });
  const { apiEndpoint, customEndpoint, authClient } = storage;
  const anonymous = customEndpoint && !authenticateCustomEndpoint;
  return {
    endpoint: apiEndpoint.replace(/\/+$/, ""),
    headers: async () => {
      if (anonymous) return {};
      const headers = await authClient.getRequestHeaders(apiEndpoint);
      return Object.fromEntries(headers.entries());
    },
  };
}
