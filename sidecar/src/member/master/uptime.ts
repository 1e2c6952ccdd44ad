import { readFileSync } from "node:fs";

/** Hundredths of a second since the boot: a clock that processes of one machine share. Containers may show an uptime of their own. */
export function uptimeHundredths(): number {
  const [whole = "0", hundredths = "00"] = readFileSync("/proc/uptime", "latin1").split(" ", 1)[0]?.split(".") ?? [];
  return Number(whole) * 100 + Number(hundredths);
}
