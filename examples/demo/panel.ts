import type { Seen } from "./member.js";

const FRAME_MS = 150;

export interface PanelRow {
  readonly name: string;
  readonly alive: boolean;
  readonly seen: Seen | undefined;
}

export interface PanelState {
  readonly rows: readonly PanelRow[];
  readonly acknowledged: number;
  readonly perSecond: number;
}

const paint = (code: number, text: string): string => (process.stdout.isTTY ? `\u001b[${code}m${text}\u001b[0m` : text);
export const bold = (text: string): string => paint(1, text);
export const green = (text: string): string => paint(32, text);
export const red = (text: string): string => paint(31, text);
const dim = (text: string): string => paint(2, text);

function roleText(row: PanelRow): string {
  if (!row.alive) return red("down".padEnd(10));
  const role = (row.seen?.role ?? "starting").padEnd(10);
  return row.seen?.role === "Primary" ? green(role) : role;
}

function lines(state: PanelState): string[] {
  const members = state.rows.map((row) => {
    const { seen } = row;
    const place = seen === undefined ? "" : `epoch ${seen.epoch}  slot ${String(seen.slot).padStart(6)}`;
    const lag =
      seen?.role === "Primary" ? `  lag ${(seen.lagBytes / 1024).toFixed(1)} KiB, ${seen.lagSeconds.toFixed(2)} s` : "";
    return `  ${row.name.padEnd(9)} ${roleText(row)} ${place}${lag}`;
  });
  return [...members, dim(`  rows acknowledged ${state.acknowledged}  (${Math.round(state.perSecond)}/s)`)];
}

/** Steps as lines that stay, with a live block of members below them on a terminal; without a terminal a line whenever the primary changes. */
export class Panel {
  readonly #state: () => PanelState;
  readonly #startMs = performance.now();
  #timer: NodeJS.Timeout | undefined;
  #drawn = 0;
  #primary = "";

  constructor(state: () => PanelState) {
    this.#state = state;
  }

  start(): void {
    this.#timer = setInterval(() => this.#frame(), FRAME_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#frame();
    this.#drawn = 0;
  }

  say(text: string): void {
    this.#erase();
    const seconds = ((performance.now() - this.#startMs) / 1000).toFixed(1).padStart(5);
    process.stdout.write(`${dim(`${seconds}s`)} ${text}\n`);
    if (process.stdout.isTTY) this.#frame();
  }

  #erase(): void {
    if (this.#drawn > 0) process.stdout.write(`\u001b[${this.#drawn}A\u001b[J`);
    this.#drawn = 0;
  }

  #frame(): void {
    const state = this.#state();
    if (process.stdout.isTTY) {
      this.#erase();
      const block = lines(state);
      process.stdout.write(`${block.join("\n")}\n`);
      this.#drawn = block.length;
      return;
    }
    const primary = state.rows.find((row) => row.alive && row.seen?.role === "Primary");
    const now = primary === undefined ? "" : `${primary.name} (epoch ${primary.seen?.epoch})`;
    if (now !== "" && now !== this.#primary) {
      this.#primary = now;
      this.say(`primary is ${now}; ${state.acknowledged} rows acknowledged`);
    }
  }
}
