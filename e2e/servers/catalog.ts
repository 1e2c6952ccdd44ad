import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

export type ServerName = "minio" | "versitygw" | "fake-gcs-server";

interface Recipe {
  /** The Go package that is built. */
  readonly package: string;
  /** Its module's version; a binary of another one is built anew. */
  readonly version: string;
}

/** What the tests run against. MinIO is AGPL: a tool of the tests only, never shipped. */
export const catalog: Readonly<Record<ServerName, Recipe>> = {
  minio: { package: "github.com/minio/minio", version: "v0.0.0-20260212201848-7aac2a2c5b7c" },
  versitygw: { package: "github.com/versity/versitygw/cmd/versitygw", version: "v1.8.0" },
  "fake-gcs-server": { package: "github.com/fsouza/fake-gcs-server", version: "v1.56.1" },
};

export const serverNames: readonly ServerName[] = ["versitygw", "fake-gcs-server", "minio"];

/** Binaries outlive a checkout: they take minutes to build. */
export function cacheFolder(): string {
  return process.env["METAMASTER_CACHE"] ?? join(homedir(), ".cache", "metamaster-servers");
}

export function binaryPath(name: ServerName): string {
  return join(cacheFolder(), name);
}

/**
 * Undefined if the server can be started, else why not. Under CI a missing server is a failure, so this throws there: a suite that silently
 * skips its stores proves nothing.
 */
export function whyMissing(name: ServerName): string | undefined {
  if (existsSync(binaryPath(name))) return undefined;
  const why = `${name} is not at ${binaryPath(name)}: run "make test-tools" (it needs Go)`;
  if (process.env["CI"] === "true") throw new Error(`Under CI=true every store is required, but ${why}.`);
  return why;
}
