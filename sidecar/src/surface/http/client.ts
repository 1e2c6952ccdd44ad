import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { messageOf, MetaMasterError, type ErrorKind } from "../../base/errors.js";
import { EVERYWHERE, formatAddress, type Address } from "../config/address.js";
import { isPlainObject } from "../config/document.js";

/** Where `run` says on which port it listens. */
export function httpFile(dataDirectory: string): string {
  return join(dataDirectory, ".metamaster", "http.json");
}

/** Base URL of the local member: what its `run` wrote down, else the configured address. */
export async function memberUrl(dataDirectory: string, configured: Address): Promise<string> {
  try {
    const value: unknown = JSON.parse(await readFile(httpFile(dataDirectory), "utf8"));
    if (isPlainObject(value) && typeof value["url"] === "string" && URL.canParse(value["url"])) return value["url"];
  } catch {
    // Not there: it isn't running, or runs elsewhere. The configured address is as good a guess as any.
  }
  if (configured.port !== 0) return `http://${formatAddress(loopbackFor(configured))}`;
  throw new MetaMasterError("MemberUnreachable", "transient", `No member runs on ${dataDirectory}.`, {
    hint: "Start it with `metamaster run`, with this configuration.",
    details: { path: httpFile(dataDirectory) },
  });
}

/** A server on all addresses is called by loopback. */
export function loopbackFor({ host, port }: Address): Address {
  if (host === "0.0.0.0" || host === EVERYWHERE) return { host: "127.0.0.1", port };
  return host === "::" ? { host: "::1", port } : { host, port };
}

/** Calls the local member's HTTP. */
export class MemberClient {
  readonly #url: string;

  constructor(url: string) {
    this.#url = url;
  }

  async get(path: string, seconds: number): Promise<Record<string, unknown>> {
    return await this.#call(path, { method: "GET" }, seconds);
  }

  async post(path: string, body: object, seconds: number): Promise<Record<string, unknown>> {
    const init = { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
    return await this.#call(path, init, seconds);
  }

  async #call(path: string, init: RequestInit, seconds: number): Promise<Record<string, unknown>> {
    let status: number;
    let text: string;
    try {
      const answer = await fetch(new URL(path, this.#url), { ...init, signal: AbortSignal.timeout(seconds * 1000) });
      status = answer.status;
      text = await answer.text();
    } catch (error) {
      throw this.#unreachable(error);
    }
    const value = parse(text);
    if (value === undefined) throw this.#unreachable(new Error(`its answer (HTTP ${status}) is not a member's`));
    if (status < 200 || status > 299) throw fromProblem(value, status);
    return value;
  }

  #unreachable(error: unknown): MetaMasterError {
    // What fetch throws says only that it failed; why is in its cause.
    const cause = typeof error === "object" && error !== null && "cause" in error ? error.cause : error;
    return new MetaMasterError(
      "MemberUnreachable",
      "transient",
      `The member at ${this.#url} does not answer: ${messageOf(cause)}.`,
      {
        cause: error,
        hint: "Is `metamaster run` running with this configuration, and is `http.address` the same?",
        details: { url: this.#url },
      },
    );
  }
}

function parse(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isPlainObject(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

const kinds: readonly string[] = ["transient", "conflict", "fenced", "corrupt", "invalid"] satisfies ErrorKind[];

function isErrorKind(text: unknown): text is ErrorKind {
  return typeof text === "string" && kinds.includes(text);
}

/** The member's error as if it had been thrown here. */
function fromProblem(body: Record<string, unknown>, status: number): MetaMasterError {
  const { code, kind, message, hint } = body;
  return new MetaMasterError(
    typeof code === "string" ? code : "Unexpected",
    isErrorKind(kind) ? kind : "invalid",
    typeof message === "string" ? message : `the member answered with HTTP ${status}`,
    typeof hint === "string" ? { hint } : {},
  );
}
