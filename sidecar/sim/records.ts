import { hasCode } from "../src/base/errors.js";
import type { FileSystem } from "../src/base/file-system.js";
import type { FailoverRecord } from "../src/member/failover-record.js";
import type { Halt } from "../src/member/halts.js";
import type { MemberRecords } from "../src/member/records.js";

interface Content {
  readonly halt?: Halt | undefined;
  readonly runs?: readonly string[];
  readonly failovers?: readonly FailoverRecord[];
}

/** A member's records in one file of its simulated disk. */
export class FileRecords implements MemberRecords {
  readonly #fs: FileSystem;
  readonly #folder: string;

  constructor(fs: FileSystem, folder: string) {
    this.#fs = fs;
    this.#folder = folder;
  }

  async readHalt(): Promise<Halt | undefined> {
    return (await this.#read()).halt;
  }

  async writeHalt(halt: Halt): Promise<void> {
    await this.#write({ ...(await this.#read()), halt });
  }

  async clearHalt(): Promise<void> {
    await this.#write({ ...(await this.#read()), halt: undefined });
  }

  async beginRun(nonce: string): Promise<readonly string[]> {
    const content = await this.#read();
    const runs = content.runs ?? [];
    await this.#write({ ...content, runs: [nonce, ...runs].slice(0, 100) });
    return runs;
  }

  async readFailovers(): Promise<readonly FailoverRecord[]> {
    return (await this.#read()).failovers ?? [];
  }

  async writeFailovers(failovers: readonly FailoverRecord[]): Promise<void> {
    await this.#write({ ...(await this.#read()), failovers });
  }

  async #read(): Promise<Content> {
    try {
      return JSON.parse(
        Buffer.from(await this.#fs.readFile(`${this.#folder}/member.json`, 1 << 20)).toString(),
      ) as Content;
    } catch (error) {
      if (hasCode(error, "FileNotFound")) return {};
      throw error;
    }
  }

  async #write(content: Content): Promise<void> {
    await this.#fs.makeDirectory(this.#folder);
    await this.#fs.writeFileAtomic(`${this.#folder}/member.json`, Buffer.from(JSON.stringify(content)));
  }
}
