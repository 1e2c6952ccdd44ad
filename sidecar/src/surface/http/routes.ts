import type { IncomingMessage } from "node:http";
import { MetaMasterError } from "../../base/errors.js";
import type { RoleState } from "../../member/roles.js";
import { readJson, refuseUnknown } from "./body.js";
import { requestInvalid } from "./problem.js";
import type { ServedMember } from "./served-member.js";
import { shortTime } from "./times.js";

export interface Answer {
  readonly status: number;
  readonly contentType: string;
  readonly text: string;
}

interface RouteCall {
  readonly member: ServedMember;
  readonly request: IncomingMessage;
  readonly query: URLSearchParams;
  /** Runs `work` with a signal that aborts when the caller has gone, the server closes, or `seconds` are over. */
  readonly within: <T>(seconds: number, work: (signal: AbortSignal) => Promise<T>) => Promise<T>;
}

export interface Route {
  readonly method: "GET" | "POST";
  /** True: taken from this machine only. */
  readonly changes: boolean;
  /** May wait for long without being counted as busy. */
  readonly waits: boolean;
  /** Where too many wait already it is answered at once: whoever is in the network can make them that many. */
  readonly orAtOnce?: boolean;
  /** Parameters of the query; absent: any are taken, since probes and scrapers add their own. */
  readonly parameters?: readonly string[];
  readonly handle: (call: RouteCall) => Answer | Promise<Answer>;
}

const TIMEOUT = ["timeoutSeconds"];
const WAIT_SECONDS_MAX = 600;
const BARRIER_SECONDS = 30;
const GATE_SECONDS = 25;
const CHECKPOINT_SECONDS = 600;
const SWITCHOVER_SECONDS = 300;

export const routes: Readonly<Record<string, Route>> = {
  "/v1/barrier": { method: "POST", changes: true, waits: false, parameters: TIMEOUT, handle: barrier },
  "/v1/checkpoint": { method: "POST", changes: true, waits: false, parameters: TIMEOUT, handle: checkpoint },
  "/v1/gate": { method: "GET", changes: false, waits: true, orAtOnce: true, parameters: ["waitSeconds"], handle: gate },
  "/v1/resume": { method: "POST", changes: true, waits: false, parameters: [], handle: resume },
  "/v1/role": { method: "GET", changes: false, waits: true, parameters: ["version", "waitSeconds"], handle: role },
  "/v1/status": { method: "GET", changes: false, waits: false, handle: ({ member }) => json(200, member.status()) },
  "/v1/switchover": { method: "POST", changes: true, waits: false, parameters: TIMEOUT, handle: switchover },
  "/healthz": {
    method: "GET",
    changes: false,
    waits: false,
    handle: healthz,
  },
  "/livez": { method: "GET", changes: false, waits: false, handle: () => json(200, { status: "ok" }) },
  "/metrics": { method: "GET", changes: false, waits: false, handle: metrics },
  "/readyz": { method: "GET", changes: false, waits: false, handle: ready },
};

/** A misspelt limit must not be an absent one: nothing is begun with what isn't known. */
export function checkQuery({ parameters }: Route, query: URLSearchParams): void {
  if (parameters !== undefined) refuseUnknown("parameter", [...query.keys()], parameters);
}

export function json(status: number, body: unknown): Answer {
  return { status, contentType: "application/json", text: `${JSON.stringify(body, shortTime)}\n` };
}

/** Durable, or the reason why not; never anything in between. */
async function barrier({ member, query, within }: RouteCall): Promise<Answer> {
  const seconds = secondsOf(query, "timeoutSeconds", BARRIER_SECONDS);
  const { position, waitedMs } = await within(seconds, (signal) => member.barrier(signal));
  return json(200, { slot: position.slot, chain: position.chain, waitedMs });
}

async function checkpoint({ member, query, within }: RouteCall): Promise<Answer> {
  const position = await within(secondsOf(query, "timeoutSeconds", CHECKPOINT_SECONDS), (signal) =>
    member.checkpoint(signal),
  );
  return json(200, { slot: position.slot, chain: position.chain });
}

async function switchover({ member, request, query, within }: RouteCall): Promise<Answer> {
  const { to, maxLagBytes } = await readJson(request, ["to", "maxLagBytes"]);
  if (to !== undefined && typeof to !== "string") throw requestInvalid("`to` must be a member's name");
  if (maxLagBytes !== undefined && (typeof maxLagBytes !== "number" || !(maxLagBytes >= 0))) {
    throw requestInvalid("`maxLagBytes` must be a number of bytes");
  }
  const seconds = secondsOf(query, "timeoutSeconds", SWITCHOVER_SECONDS);
  return json(200, await within(seconds, (signal) => member.switchover({ to, maxLagBytes }, signal)));
}

async function resume({ member, request }: RouteCall): Promise<Answer> {
  const { reason } = await readJson(request, ["reason"]);
  if (typeof reason !== "string") throw requestInvalid("`reason` must name the halt's reason, as the status does");
  member.resume(reason);
  return json(200, { resumed: reason });
}

/** With `version` a long poll: answers as soon as there is a newer one, or after `waitSeconds` with what there is. */
async function role({ member, query, within }: RouteCall): Promise<Answer> {
  const text = query.get("version");
  if (text === null) return json(200, roleBody(member, member.role));
  if (!/^\d{1,15}$/.test(text)) throw requestInvalid("`version` must be the number of an earlier answer");
  const version = Number(text);
  // The member has restarted: its versions begin anew.
  if (version > member.role.version) return json(200, roleBody(member, member.role));
  try {
    const state = await within(secondsOf(query, "waitSeconds", BARRIER_SECONDS), (signal) =>
      member.roleAfter(version, signal),
    );
    return json(200, roleBody(member, state));
  } catch (error) {
    if (error instanceof MetaMasterError && error.code === "DeadlineExceeded")
      return json(200, roleBody(member, member.role));
    throw error;
  }
}

function roleBody(member: ServedMember, state: RoleState): object {
  return {
    member: member.name,
    role: state.role,
    version: state.version,
    writable: state.writable,
    epoch: state.epoch ?? member.primary?.epoch ?? 0,
    primary: member.primary?.member,
    reason: state.reason,
    since: new Date(state.sinceWallMs).toISOString(),
  };
}

/** Waits for the gate: the kubelet's start-up probe learns of a promotion at once, and asks seldom. */
async function gate({ member, query, within }: RouteCall): Promise<Answer> {
  const { gate: held } = member;
  if (held === undefined) {
    throw new MetaMasterError("HttpNotFound", "invalid", "There is no gate: the master is a child of this member.", {
      hint: "A gate is for a master in a container of its own, beside `metamaster sidecar`.",
    });
  }
  try {
    await within(secondsOf(query, "waitSeconds", GATE_SECONDS), (signal) => held.opened(signal));
  } catch (error) {
    if (!(error instanceof MetaMasterError && error.code === "DeadlineExceeded")) throw error;
  }
  const { role: name, reason } = member.role;
  return json(held.isOpen ? 200 : 503, { open: held.isOpen, role: name, reason });
}

/** Always 200 while the process serves: a member that is halted waits for a person, and a restart would bring nothing. */
function healthz({ member }: RouteCall): Answer {
  const { role: name, reason } = member.role;
  return json(200, { status: "ok", role: name, ...(name === "Halted" ? { halted: reason } : {}) });
}

/** Ready: a standby that follows, or a primary whose master may write. */
function ready({ member }: RouteCall): Answer {
  const { role: name, writable, reason } = member.role;
  const isReady = name === "Standby" || (name === "Primary" && writable);
  return json(isReady ? 200 : 503, { ready: isReady, role: name, reason });
}

async function metrics({ member }: RouteCall): Promise<Answer> {
  const { contentType, text } = await member.metrics();
  return { status: 200, contentType, text };
}

function secondsOf(query: URLSearchParams, name: string, standard: number): number {
  const text = query.get(name);
  if (text === null) return standard;
  const seconds = Number(text);
  if (text === "" || !(seconds >= 0) || seconds > WAIT_SECONDS_MAX) {
    throw requestInvalid(`\`${name}\` must be a number of seconds, 0 to ${WAIT_SECONDS_MAX}`);
  }
  return seconds;
}
