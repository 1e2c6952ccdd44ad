import { expect, test } from "@jest/globals";
import { once } from "node:events";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { heedLines } from "./heed-lines.js";

test("a connection that is reset by the other end closes, and throws nothing", async () => {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    const accepted = once(server, "connection");
    const other = connect((server.address() as AddressInfo).port, "127.0.0.1");
    const [socket] = (await accepted) as [Socket];
    const lines: string[] = [];
    heedLines(socket, (line) => lines.push(line));
    const closed = new Promise<boolean>((resolve) => socket.once("close", resolve));
    other.write("ok\nhalf of ");
    await once(socket, "data");
    other.resetAndDestroy();
    expect(await closed).toBe(true);
    expect(lines).toEqual(["ok"]);
  } finally {
    server.close();
  }
});
