import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { Writer } from "../../examples/demo/writer.js";
import { BenchMember, metamaster, residentBytes, sleep, until } from "./bench-member.js";
import { median, memoryRow, type Row } from "./rows.js";

const LEASE_MS = 3000;

async function primaryOf(
  members: readonly BenchMember[],
  epoch: number,
): Promise<{ readonly member: BenchMember; readonly epoch: number }> {
  return until("a primary", async () => {
    for (const member of members) {
      const status = await member.status();
      if (status?.role === "Primary" && status.epoch > epoch) return { member, epoch: status.epoch };
    }
    return undefined;
  });
}

/** The longest time in which the client got no answer. */
async function pause(writer: Writer, event: () => Promise<unknown>): Promise<number> {
  writer.takeGapMs();
  await event();
  const wanted = writer.acknowledged.size + 200;
  await until("the client goes on", () => (writer.acknowledged.size >= wanted ? true : undefined));
  return writer.takeGapMs();
}

const seconds = (times: readonly number[]): string => times.map((ms) => (ms / 1000).toFixed(2)).join(", ");

export async function failover(root: string, rounds: number): Promise<Row[]> {
  const bucket = join(root, "failover-bucket");
  mkdirSync(bucket, { recursive: true });
  const members: BenchMember[] = [];
  const more = ["election:", `  lease: ${LEASE_MS}ms`];
  for (const name of ["alpha", "beta", "gamma"])
    members.push(await BenchMember.create(name, root, { url: `file://${bucket}` }, more));
  const writer = new Writer(() => members.map(({ masterUrl }) => masterUrl));
  const [kills, switches, memory]: [number[], number[], number[]] = [[], [], []];
  try {
    for (const member of members) member.startKeyValueMaster();
    let { member: primary, epoch } = await primaryOf(members, 0);
    writer.start();
    for (let round = 0; round < rounds; round++) {
      await Promise.all(members.filter((member) => member !== primary).map((member) => member.role("Standby")));
      await sleep(3000);
      for (const member of members) memory.push(residentBytes((await member.status())?.pid ?? 0));
      const old = primary;
      kills.push(
        await pause(writer, async () => {
          await old.kill();
          ({ member: primary, epoch } = await primaryOf(
            members.filter((member) => member !== old),
            epoch,
          ));
        }),
      );
      old.startKeyValueMaster();
      await old.role("Standby");
      await sleep(2000);
      const from = primary;
      switches.push(
        await pause(writer, async () => {
          await metamaster(["switchover", "--config", from.config, "--to", old.name], from.directory);
          ({ member: primary, epoch } = await primaryOf(members, epoch));
        }),
      );
    }
  } finally {
    await writer.stop();
    await Promise.all(members.map((member) => member.stop()));
  }
  const [killed, switched] = [median(kills), median(switches)];
  return [
    {
      what: "kill of the primary to the first write on another, lease 3 s",
      against: "lease",
      measured: `${(killed / 1000).toFixed(2)} s (${seconds(kills)})`,
      bound: "<= lease + 1 s",
      holds: killed <= LEASE_MS + 1000,
      figures: { kills },
    },
    {
      what: "planned switchover: last write on the old to first on the new",
      against: "-",
      measured: `${(switched / 1000).toFixed(2)} s (${seconds(switches)})`,
      bound: "<= 1 s",
      holds: switched <= 1000,
      figures: { switches },
    },
    memoryRow("three members under small writes", memory),
  ];
}
