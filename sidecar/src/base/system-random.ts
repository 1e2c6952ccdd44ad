import { randomBytes } from "node:crypto";
import type { Random } from "./random.js";

const MANTISSA_VALUES = 2 ** 53;

/** Randomness of the operating system: names that must never collide are made from it. */
export class SystemRandom implements Random {
  float(): number {
    return Number(randomBytes(8).readBigUInt64LE() >> 11n) / MANTISSA_VALUES;
  }

  bytes(count: number): Uint8Array {
    // A copy of its own: small buffers of node:crypto share a pool.
    return new Uint8Array(randomBytes(count));
  }
}
