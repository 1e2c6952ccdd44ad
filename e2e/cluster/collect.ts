import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** What could not be had while collecting. */
export class Problems {
  readonly lines: string[] = [];

  async note<T>(work: Promise<T>): Promise<T | undefined> {
    try {
      return await work;
    } catch (error) {
      this.lines.push(error instanceof Error ? error.message : String(error));
      return undefined;
    }
  }

  /** Nothing if there were none. */
  async write(folder: string): Promise<void> {
    if (this.lines.length === 0) return;
    await writeFile(join(folder, "problems.txt"), `${this.lines.join("\n\n")}\n`).catch((error: unknown) => {
      console.error(`${folder} can't be written: ${String(error)}; lost: ${this.lines.join("; ")}`);
    });
  }
}

/** Every object of every kind, secrets excepted, into `objects/<kind>.yaml`; events in order and pods at a glance. */
export async function collectObjects(
  kubectl: (args: readonly string[]) => Promise<string>,
  folder: string,
  problems: Problems,
): Promise<void> {
  const limit = "--request-timeout=20s";
  const texts: Readonly<Record<string, readonly string[]>> = {
    "events.txt": ["get", "events", "-A", "--sort-by=.lastTimestamp", "-o", "wide"],
    "pods.txt": ["get", "pods", "-A", "-o", "wide"],
    "nodes.txt": ["get", "nodes", "-o", "wide"],
  };
  const save = async (file: string, args: readonly string[]) => writeFile(join(folder, file), await kubectl(args));
  for (const [file, args] of Object.entries(texts)) await problems.note(save(file, [...args, limit]));
  const kinds = await problems.note(kubectl(["api-resources", "--verbs=list", "-o", "name", limit]));
  await problems.note(mkdir(join(folder, "objects"), { recursive: true }));
  for (const kind of (kinds ?? "").split("\n")) {
    if (kind === "" || kind === "secrets" || kind.startsWith("events")) continue;
    await problems.note(save(join("objects", `${kind}.yaml`), ["get", kind, "-A", "-o", "yaml", limit]));
  }
}
