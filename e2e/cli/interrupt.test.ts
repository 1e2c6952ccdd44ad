import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, jest, test } from "@jest/globals";
import { METAMASTER } from "./member-process.js";

jest.setTimeout(120_000);

test.each(["SIGTERM", "SIGINT"] as const)(
  "%s ends a command whose store is silent, and says how to go on",
  async (name) => {
    const root = mkdtempSync(join(tmpdir(), "metamaster-e2e-interrupt-"));
    const sockets: Socket[] = [];
    const asked = Promise.withResolvers<void>();
    // Takes everything and never answers.
    const store = createServer((socket) => {
      sockets.push(socket);
      socket.on("error", () => undefined);
      socket.once("data", () => asked.resolve());
    });
    try {
      await new Promise<void>((resolve) => store.listen(0, "127.0.0.1", resolve));
      const address = store.address();
      if (address === null || typeof address === "string") throw new Error("it does not listen");
      const lines = [
        "cluster: test",
        "member: alpha",
        "dataDirectory: data",
        "bucket:",
        "  url: s3://nowhere/prefix",
        `  endpoint: http://127.0.0.1:${address.port}`,
        "databases:",
        "  - name: meta",
        "    path: meta",
      ];
      writeFileSync(join(root, "metamaster.yaml"), lines.join("\n"));
      const args = ["restore", "--config", join(root, "metamaster.yaml"), "--to", join(root, "restored")];
      const child = spawn(process.execPath, [METAMASTER, ...args], {
        stdio: ["ignore", "ignore", "pipe"],
        env: { ...process.env, AWS_ACCESS_KEY_ID: "a", AWS_SECRET_ACCESS_KEY: "b", AWS_EC2_METADATA_DISABLED: "true" },
      });
      let said = "";
      child.stderr.on("data", (chunk: Buffer) => (said += chunk.toString()));
      const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
      await asked.promise;
      child.kill(name);
      expect(await ended).toBe(130);
      expect(said).toContain(`Interrupted by ${name}`);
      expect(said).toContain("a restore goes on where it was");
      expect(said).not.toContain("defect");
    } finally {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => store.close(resolve));
      rmSync(root, { recursive: true, force: true });
    }
  },
);
