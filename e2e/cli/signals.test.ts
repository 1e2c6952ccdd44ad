import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, jest, test } from "@jest/globals";
import { keys, put } from "./key-value.js";
import { MemberProcess, until, type MemberOptions } from "./member-process.js";

// The other roles: roles.test.ts.
jest.setTimeout(180_000);

let root: string;
let members: MemberProcess[];

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "metamaster-e2e-signals-"));
  members = [];
});

afterEach(async () => {
  for (const member of members) await member.end();
  rmSync(root, { recursive: true, force: true });
});

function make(name: string, more: Partial<MemberOptions> = {}): MemberProcess {
  const member = new MemberProcess({ name, root, ...more });
  members.push(member);
  return member;
}

/** Nothing listens there: port 1 is nobody's. */
const NOBODY = "127.0.0.1:1";

interface Case {
  /** Starts it, and resolves once it is in the role. */
  readonly enter: (member: MemberProcess) => Promise<void>;
  /** Takes away what keeps it in the role. */
  readonly mend: (member: MemberProcess) => Promise<void>;
  readonly options?: () => Partial<MemberOptions>;
}

const cases: Readonly<Record<string, Case>> = {
  "Promoting, the master open but not well": {
    options: () => ({ more: `health:\n  tcp: ${NOBODY}\n` }),
    enter: async (member) => {
      member.startKeyValueMaster();
      await until(
        "its master is open but not well",
        async () => (member.said.includes("kv-master listens") ? true : undefined),
        () => member.said,
      );
      await member.untilRole("Promoting");
    },
    mend: async (member) => {
      const config = readFileSync(member.config, "utf8");
      writeFileSync(member.config, config.replace(/^health:\n.*\n/m, ""));
    },
  },
  Halted: {
    enter: async (member) => {
      mkdirSync(member.database, { recursive: true });
      writeFileSync(join(member.database, "CURRENT"), "MANIFEST-000001\n");
      writeFileSync(join(member.database, "MANIFEST-000001"), "");
      member.startKeyValueMaster();
      await member.untilRole("Halted");
    },
    mend: async (member) => rmSync(member.database, { recursive: true }),
  },
};

describe.each(Object.entries(cases))("%s", (_name, { enter, mend, options = () => ({}) }) => {
  test.each(["SIGTERM", "SIGKILL"] as const)(
    "%s, then started again: it serves, and nothing is left of the first run",
    async (signal) => {
      const member = make("alpha", options());
      await enter(member);
      member.signal(signal);
      const ended = await member.ended;
      expect(ended).toEqual(signal === "SIGTERM" ? { code: 0, signal: null } : { code: null, signal });
      expect(await member.cli("status")).toMatchObject({ code: 7 });
      await mend(member);
      const listened = member.said.split("kv-master listens").length;
      member.startKeyValueMaster();
      await member.untilRole("Primary");
      await until(
        "its master serves",
        async () => (member.said.split("kv-master listens").length > listened ? true : undefined),
        () => member.said,
      );
      await put(await member.masterUrl(), "key", "value");
      expect(await keys(await member.masterUrl())).toEqual(["key"]);
    },
  );
});
