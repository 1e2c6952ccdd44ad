import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

const FOLDER = ".cache/e2e-times";

/** Printed, and kept as JSON for the table at the end of `make e2e` (times.ts) and for whoever compares runs. */
export async function keepFigures(scenario: string, figures: object): Promise<void> {
  console.log(JSON.stringify({ scenario, ...figures }));
  await mkdir(FOLDER, { recursive: true });
  await writeFile(fileOf(scenario), `${JSON.stringify({ scenario, ...figures }, undefined, 2)}\n`);
}

/** Undefined: that scenario has not come so far. */
export async function readFigures(scenario: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(fileOf(scenario), "utf8"));
  } catch (error) {
    if (error instanceof Error && Reflect.get(error, "code") === "ENOENT") return undefined;
    throw error;
  }
}

function fileOf(scenario: string): string {
  return join(FOLDER, `${scenario.replaceAll(/[^a-z0-9]+/gi, "-")}.json`);
}
