import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect } from "@jest/globals";
import type { MemberProcess } from "../cli/member-process.js";

const run = promisify(execFile);

export interface Heard {
  /** The last row that a master of this member acknowledged. */
  readonly acknowledged: number;
  /** The last row that each of them found when it opened. */
  readonly opens: readonly number[];
}

/** What the test masters of a member have printed so far. */
export function heard(member: MemberProcess): Heard {
  const { said } = member;
  return {
    acknowledged: Number([...said.matchAll(/^ack (\d+) /gm)].at(-1)?.[1] ?? 0),
    opens: [...said.matchAll(/^open (\d+)$/gm)].map(([, row]) => Number(row)),
  };
}

/** The rows that a directory holds; fails if the test master finds anything wrong with them. `args`: its command, the directory, flags. */
export async function verifiedRows(program: string, args: readonly string[]): Promise<number> {
  const { stdout } = await run(program, args).catch((error: unknown) => {
    throw new Error(`${args.join(" ")}: ${JSON.stringify(error)}`);
  });
  const report = JSON.parse(stdout) as { rows: number; problems: unknown[] };
  expect(report.problems).toEqual([]);
  return report.rows;
}
