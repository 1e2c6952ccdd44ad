/** How long calls may take; the same for all stores. */
export interface TransferSettings {
  /** For a call that moves few bytes, and for the first byte of any answer, milliseconds. */
  readonly callMs: number;
  /** Bodies slower than this are given up and tried again, bytes a second. */
  readonly minBytesPerSecond: number;
}

export const transferDefaults: TransferSettings = { callMs: 30_000, minBytesPerSecond: 256 * 1024 };

const dayMs = 86_400_000;

/** The default deadline of a call that moves `bytes`, milliseconds. */
export function transferMs({ callMs, minBytesPerSecond }: TransferSettings, bytes: number): number {
  return Math.min(dayMs, callMs + (bytes / minBytesPerSecond) * 1000);
}
