import { expect, test } from "@jest/globals";
import { MetaMasterError } from "../../base/errors.js";
import { adapt, pinoLogger } from "./logger.js";

function capture(): { logger: ReturnType<typeof adapt>; lines: Record<string, unknown>[] } {
  const lines: Record<string, unknown>[] = [];
  const logger = pinoLogger(
    { level: "Info", format: "Json", member: "alpha" },
    { write: (text: string) => void lines.push(JSON.parse(text) as Record<string, unknown>) },
  );
  return { logger: adapt(logger), lines };
}

test("a line has level, time, member, fields and a sentence; what is below the level is not there", () => {
  const { logger, lines } = capture();
  logger.debug({}, "too much");
  logger.info({ slot: 7, sequence: 12345678901234567890n }, "durable");
  expect(lines).toEqual([
    {
      level: "info",
      time: expect.stringMatching(/^\d{4}-.*Z$/),
      member: "alpha",
      slot: 7,
      sequence: "12345678901234567890",
      msg: "durable",
    },
  ]);
});

test("an error shows what helps and nothing that hangs on it", () => {
  const { logger, lines } = capture();
  const cause = Object.assign(new Error("denied, X-Amz-Signature=deadbeef&x"), {
    request: { headers: { authorization: "secret-header" } },
  });
  logger.warn(
    {
      err: new MetaMasterError("BucketAccessDenied", "invalid", "refused", {
        cause,
        hint: "check",
        details: { key: "log/1", size: 5n },
      }),
    },
    "no access",
  );
  logger.error({ err: cause }, "odd: Authorization: Bearer abcdef");
  expect(lines[0]).toMatchObject({
    err: {
      code: "BucketAccessDenied",
      kind: "invalid",
      message: "refused",
      hint: "check",
      details: { key: "log/1", size: "5" },
    },
  });
  expect(lines[1]).toMatchObject({ err: { message: expect.stringContaining("denied") } });
  const all = JSON.stringify(lines);
  for (const secret of ["deadbeef", "secret-header", "abcdef"]) expect(all).not.toContain(secret);
});
