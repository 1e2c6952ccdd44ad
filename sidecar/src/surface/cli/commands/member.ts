import { MetaMasterError } from "../../../base/errors.js";
import { memberUrl, MemberClient } from "../../http/client.js";
import type { CommandContext } from "../context.js";
import { exitCodes } from "../exit-codes.js";
import { statusText } from "../status-text.js";

/** Commands that talk to the local member's HTTP. */

const STATUS_SECONDS = 10;
/** Beyond what the member is given, for the way there and back. */
const GRACE_SECONDS = 10;

async function client(context: CommandContext): Promise<MemberClient> {
  const { config } = await context.config();
  return new MemberClient(await memberUrl(config.dataDirectory, config.http.address));
}

export async function statusCommand(context: CommandContext): Promise<number> {
  const status = await (await client(context)).get("/v1/status", STATUS_SECONDS);
  context.console.result(status, () => statusText(status));
  return status["role"] === "Halted" ? exitCodes.halted.code : exitCodes.ok.code;
}

export async function checkpointCommand(
  context: CommandContext,
  options: { readonly timeout: number },
): Promise<number> {
  const path = `/v1/checkpoint?timeoutSeconds=${options.timeout}`;
  const done = await (await client(context)).post(path, {}, options.timeout + GRACE_SECONDS);
  context.console.result(done, () => `checkpoint durable at slot ${String(done["slot"])}`);
  return exitCodes.ok.code;
}

export interface SwitchoverOptions {
  readonly to?: string;
  readonly maxLag?: number;
  readonly timeout: number;
}

export async function switchoverCommand(context: CommandContext, options: SwitchoverOptions): Promise<number> {
  const { to, maxLag, timeout } = options;
  const request = { ...(to === undefined ? {} : { to }), ...(maxLag === undefined ? {} : { maxLagBytes: maxLag }) };
  const done = await (
    await client(context)
  ).post(`/v1/switchover?timeoutSeconds=${timeout}`, request, timeout + GRACE_SECONDS);
  context.console.result(done, () => switchoverText(done));
  if (to !== undefined && done["primary"] !== to) {
    throw new MetaMasterError("SwitchoverFailed", "transient", `${String(done["primary"])} took over, not ${to}.`, {
      hint: `Is ${to} running and a standby that follows? See its own \`metamaster status\`.`,
    });
  }
  return exitCodes.ok.code;
}

function switchoverText(done: Record<string, unknown>): string {
  const ms = (name: string): string => `${Math.round(Number(done[name]))} ms`;
  return [
    `${String(done["primary"])} is primary in epoch ${String(done["epoch"])}`,
    `  prepare ${ms("prepareMs")}, stop ${ms("stopMs")}, ship ${ms("shipMs")}, claim ${ms("claimMs")}`,
  ].join("\n");
}

export async function resumeCommand(context: CommandContext, options: { readonly reason: string }): Promise<number> {
  const done = await (await client(context)).post("/v1/resume", { reason: options.reason }, STATUS_SECONDS);
  context.console.result(done, () => `resumed after ${options.reason}; \`metamaster status\` shows how it goes on`);
  return exitCodes.ok.code;
}
