import { createInterface } from "node:readline";
import type { Duplex } from "node:stream";

/** Gives each line that comes, until the stream's end or error, of which its `close` tells: one who is killed in the middle of a word resets the connection, and readline throws what nobody listens for. */
export function heedLines(stream: Duplex, heed: (line: string) => void): void {
  stream.on("error", () => undefined);
  createInterface({ input: stream })
    .on("line", heed)
    .on("error", () => undefined);
}
