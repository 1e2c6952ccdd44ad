/**
 * The main job, live: three members over a `file://` bucket, a client that writes without pause, the primary killed, brought back, a planned switchover, a
 * member added, everything read back, and a restore into a new directory. Ends with 0 only if nothing acknowledged is missing.
 */
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DemoMember, metamaster, type Seen } from "./member.js";
import { bold, green, Panel, red, type PanelRow } from "./panel.js";
import { freePort } from "./processes.js";
import { compare, Writer, type Comparison } from "./writer.js";

const KV_MASTER = new URL("../kv-master/src/main.js", import.meta.url).pathname;
const STEP_MS_MAX = 30_000;
const LOOK_MS = 50;

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

class Demo {
  readonly #root = mkdtempSync(join(tmpdir(), "metamaster-demo-"));
  readonly #members: DemoMember[] = [];
  readonly #down = new Set<DemoMember>();
  readonly #seen = new Map<DemoMember, Seen>();
  readonly #writer = new Writer(() => this.#members.map(({ masterUrl }) => masterUrl));
  readonly #panel = new Panel(() => ({
    rows: this.#rows(),
    acknowledged: this.#writer.acknowledged.size,
    perSecond: this.#perSecond,
  }));
  #perSecond = 0;
  #looking = true;

  async run(): Promise<boolean> {
    const looking = this.#look();
    this.#panel.start();
    try {
      return await this.#steps();
    } finally {
      this.#looking = false;
      await looking;
      await this.#writer.stop();
      await Promise.all(this.#members.map((member) => member.stop(10_000)));
      this.#panel.stop();
    }
  }

  cleanUp(keep: boolean): void {
    if (keep)
      process.stdout.write(`Everything is kept for a look in ${this.#root} (a member.log in each member's folder).\n`);
    else rmSync(this.#root, { recursive: true, force: true });
  }

  /** After an interrupt: nothing of ours stays behind. */
  async abort(): Promise<void> {
    await Promise.all(this.#members.map((member) => member.kill()));
  }

  async #steps(): Promise<boolean> {
    const { say } = { say: (text: string): void => this.#panel.say(text) };
    say(bold("Three members share an empty bucket; the first claim makes one of them primary."));
    mkdirSync(join(this.#root, "bucket"));
    for (const name of ["alpha", "beta", "gamma"]) await this.#add(name);
    const first = await this.#primary(0);
    await this.#until("two standbys follow", () => this.#count("Standby") === 2);
    say(
      `${first.name} is primary, two standbys follow. The client starts: ${bold("every row is acknowledged only after the barrier")}.`,
    );
    this.#writer.start();
    await sleep(4000);

    say(bold(`SIGKILL to ${first.name}: master and sidecar, as if the machine were gone.`));
    this.#writer.takeGapMs();
    const epoch = this.#seen.get(first)?.epoch ?? 0;
    this.#down.add(first);
    await first.kill();
    const second = await this.#primary(epoch);
    await this.#acknowledgedMore(100);
    const pause = this.#writer.takeGapMs();
    const split = (await second.seen())?.lastFailover;
    say(`${second.name} took over; the client went ${(pause / 1000).toFixed(2)} s without an answer and goes on.`);
    await sleep(2000);

    say(bold(`${first.name} comes back.`));
    first.start();
    this.#down.delete(first);
    await this.#until(`${first.name} follows`, () => this.#seen.get(first)?.role === "Standby");
    say(`${first.name} follows again; what it had beyond the log was put aside, the rest was reused.`);

    say(bold(`A planned switchover to ${first.name}.`));
    this.#writer.takeGapMs();
    const before = this.#seen.get(second)?.epoch ?? 0;
    await metamaster(["switchover", "--config", second.configFile, "--to", first.name]);
    await this.#primary(before);
    await this.#acknowledgedMore(100);
    say(
      `${first.name} is primary; the client went ${(this.#writer.takeGapMs() / 1000).toFixed(2)} s without an answer.`,
    );

    say(bold("A fourth member is added while writes run; it starts from the bucket."));
    const fourth = await this.#add("delta");
    await this.#until("delta follows", () => this.#seen.get(fourth)?.role === "Standby");
    say("delta follows.");
    await sleep(1500);
    return this.#verify(first, split);
  }

  async #verify(primary: DemoMember, split: Seen["lastFailover"]): Promise<boolean> {
    await this.#writer.stop();
    this.#panel.say(
      bold(`The client stops after ${this.#writer.acknowledged.size} acknowledged rows. Reading every one back.`),
    );
    const read = await compare(primary.masterUrl, this.#writer.acknowledged);
    const target = join(this.#root, "restored");
    await metamaster(["restore", "--config", primary.configFile, "--to", target]);
    const restored = await this.#openRestored(join(target, "meta"));
    this.#panel.stop();
    if (split !== undefined) this.#print("The failover's time, split", split);
    const good = [
      this.#judge(`${primary.name} (the primary)`, read),
      this.#judge("a directory restored from the bucket", restored),
    ];
    return good.every(Boolean);
  }

  #print(title: string, split: Readonly<Record<string, number | string>>): void {
    process.stdout.write(`\n${bold(title)}\n`);
    for (const [name, value] of Object.entries(split)) {
      if (typeof value === "number" && name.endsWith("Ms") && name !== "atWallMs")
        process.stdout.write(`  ${name.slice(0, -2).padEnd(12)} ${value.toFixed(0).padStart(6)} ms\n`);
    }
    process.stdout.write("\n");
  }

  #judge(where: string, { rows, missing, wrong }: Comparison): boolean {
    const good = missing.length === 0 && wrong.length === 0;
    const verdict = good
      ? green("nothing acknowledged is missing")
      : red(
          `${missing.length} acknowledged rows missing, ${wrong.length} wrong: ${[...missing.slice(0, 5), ...wrong.slice(0, 5)].join(", ")}`,
        );
    process.stdout.write(`${where}: ${rows} rows, ${verdict}\n`);
    return good;
  }

  /** Opens a restored directory with the example master alone, no sidecar, and compares. */
  async #openRestored(db: string): Promise<Comparison> {
    const port = await freePort();
    const environment = { ...process.env };
    delete environment["METAMASTER_URL"];
    const child = spawn(process.execPath, [KV_MASTER, "--db", db, "--port", String(port)], {
      stdio: "ignore",
      env: environment,
    });
    const ended = new Promise((resolve) => child.once("close", resolve));
    const url = `http://127.0.0.1:${port}`;
    try {
      await this.#until("the restored database opens", () =>
        fetch(`${url}/healthz`, { signal: AbortSignal.timeout(1000) }).then(
          ({ ok }) => ok,
          () => false,
        ),
      );
      return await compare(url, this.#writer.acknowledged);
    } finally {
      child.kill("SIGTERM");
      await ended;
    }
  }

  async #add(name: string): Promise<DemoMember> {
    const member = await DemoMember.create(name, this.#root);
    this.#members.push(member);
    member.start();
    return member;
  }

  /** The member that is primary in a later epoch than `epoch`. */
  async #primary(epoch: number): Promise<DemoMember> {
    const find = (): DemoMember | undefined =>
      this.#members.find((member) => {
        const seen = this.#seen.get(member);
        return !this.#down.has(member) && seen?.role === "Primary" && seen.epoch > epoch;
      });
    await this.#until("a member becomes primary", () => find() !== undefined);
    const found = find();
    if (found === undefined) throw new Error("the primary went away again");
    return found;
  }

  #count(role: string): number {
    return [...this.#seen.values()].filter((seen) => seen.role === role).length;
  }

  async #acknowledgedMore(rows: number): Promise<void> {
    const wanted = this.#writer.acknowledged.size + rows;
    await this.#until("the client goes on", () => this.#writer.acknowledged.size >= wanted);
  }

  async #until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
    const end = performance.now() + STEP_MS_MAX;
    while (!(await holds())) {
      if (performance.now() > end) throw new Error(`waited ${STEP_MS_MAX / 1000} s in vain until ${what}`);
      await sleep(LOOK_MS);
    }
  }

  #rows(): PanelRow[] {
    return this.#members.map((member) => ({
      name: member.name,
      alive: !this.#down.has(member),
      seen: this.#seen.get(member),
    }));
  }

  async #look(): Promise<void> {
    let last = { ms: performance.now(), rows: 0 };
    while (this.#looking) {
      for (const member of this.#members) {
        const seen = this.#down.has(member) ? undefined : await member.seen();
        if (seen === undefined) this.#seen.delete(member);
        else this.#seen.set(member, seen);
      }
      const now = { ms: performance.now(), rows: this.#writer.acknowledged.size };
      if (now.ms - last.ms >= 1000) {
        this.#perSecond = ((now.rows - last.rows) / (now.ms - last.ms)) * 1000;
        last = now;
      }
      await sleep(LOOK_MS);
    }
  }
}

const demo = new Demo();
let interrupted = false;
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    if (interrupted) return;
    interrupted = true;
    void demo.abort().then(() => {
      demo.cleanUp(false);
      process.exit(130);
    });
  });
}
try {
  const good = await demo.run();
  demo.cleanUp(!good);
  process.exitCode = good ? 0 : 1;
} catch (error) {
  process.stdout.write(`${red("The demo failed:")} ${error instanceof Error ? error.message : String(error)}\n`);
  demo.cleanUp(true);
  process.exitCode = 1;
}
