import { isPlainObject } from "../config/document.js";
import { approximateDuration, approximateSize } from "../config/units.js";

type Fields = Record<string, unknown>;

/** `metamaster status` for people. The document comes from the member, perhaps of another version: nothing is taken for granted. */
export function statusText(status: Fields): string {
  const lines = [
    `member     ${word(status["member"])} of ${word(status["cluster"])} (${word(status["bucket"])})`,
    `role       ${word(status["role"])} since ${word(status["since"])}: ${word(status["reason"])}`,
    `primary    ${word(status["primary"])}, epoch ${word(status["epoch"])}`,
  ];
  const position = section(status["position"]);
  if (position !== undefined) lines.push(`position   slot ${word(position["slot"])}`);
  const ship = section(status["ship"]);
  if (ship !== undefined) lines.push(...shipLines(ship));
  lines.push(
    `master     ${status["masterRunning"] === true ? "runs" : "is not running"}, restarted ${word(status["masterRestarts"])} times`,
  );
  const failover = section(status["lastFailover"]);
  if (failover !== undefined) lines.push(failoverLine(failover));
  if (typeof status["trouble"] === "string") lines.push(`trouble    ${status["trouble"]}`);
  const halt = section(status["halt"]);
  if (halt !== undefined) {
    lines.push(
      `HALTED     ${word(halt["reason"])}: ${word(halt["message"])}`,
      `           ${word(halt["meaning"])}`,
      ...(typeof halt["hint"] === "string" ? [`           ${halt["hint"]}`] : []),
      `           what to do: ${word(halt["remedy"])}`,
    );
  }
  return lines.join("\n");
}

function shipLines(ship: Fields): string[] {
  const lag = `${approximateDuration(Number(ship["durableLagSeconds"] ?? 0))}, ${approximateSize(Number(ship["durableLagBytes"] ?? 0))} not durable yet`;
  const checkpoint = ship["lastCheckpointSlot"] === undefined ? "none" : `slot ${word(ship["lastCheckpointSlot"])}`;
  return [
    `lag        ${lag}; spool ${approximateSize(Number(ship["spoolBytes"] ?? 0))}`,
    `checkpoint ${checkpoint}; gaps healed: ${word(ship["gaps"])}`,
  ];
}

function failoverLine(failover: Fields): string {
  const parts = ["detect", "lease", "drain", "claim", "open", "firstWrite"].flatMap((part) => {
    const ms = failover[`${part}Ms`];
    return typeof ms === "number" ? [`${part} ${Math.round(ms)} ms`] : [];
  });
  return `${word(failover["kind"]).toLowerCase().padEnd(10)} became primary in epoch ${word(failover["epoch"])}: ${parts.join(", ")}`;
}

function section(value: unknown): Fields | undefined {
  return isPlainObject(value) ? value : undefined;
}

function word(value: unknown): string {
  if (typeof value === "string") return value;
  return typeof value === "number" || typeof value === "boolean" ? String(value) : "-";
}
