import { expect, test } from "@jest/globals";
import { crc32c, maskCrc } from "./crc32c.js";
import { Seeded } from "./testing/seeded.js";

test("agrees with the vectors of RFC 3720 B.4 and of RocksDB's crc32c_test.cc", () => {
  expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
  expect(crc32c(new Uint8Array(32).fill(0xff))).toBe(0x62a8ab43);
  expect(crc32c(Uint8Array.from({ length: 32 }, (_, index) => index))).toBe(0x46dd794e);
  expect(crc32c(Buffer.from("123456789"))).toBe(0xe3069283);
  expect(maskCrc(0)).toBe(0xa282ead8);
});

test("gives the same natively and in JavaScript, at every length around the switch and at any offset", () => {
  const bytes = new Seeded(1).bytes(4096);
  const bitwise = (start: number, end: number): number => {
    let crc = 0xffffffff;
    for (let at = start; at < end; at++) {
      crc ^= bytes[at]!;
      for (let bit = 0; bit < 8; bit++) crc = (crc & 1) === 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
    }
    return ~crc >>> 0;
  };
  const random = new Seeded(2);
  for (const length of [0, 1, 7, 8, 9, 63, 598, 599, 600, 601, 2000]) {
    const start = random.below(2000);
    expect([length, crc32c(bytes, start, start + length)]).toEqual([length, bitwise(start, start + length)]);
  }
});
