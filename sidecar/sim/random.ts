import type { Random } from "../src/base/random.js";

/** FNV-1a, 32 bits, over UTF-16 units: names of streams to numbers. */
function hashOf(text: string, start: number): number {
  let hash = start >>> 0;
  for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193) >>> 0;
  return hash;
}

/**
 * Seeded and split by name: what one stream draws never changes what another does, so that a fault added to the schedule does not
 * shift the dice of everything else. sfc32 (Chris Doty-Humphrey, PractRand; public domain description).
 */
export class SeededRandom implements Random {
  readonly #seed: number;
  readonly #name: string;
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  constructor(seed: number, name: string) {
    this.#seed = seed;
    this.#name = name;
    this.#a = hashOf(name, 0x811c9dc5);
    this.#b = seed >>> 0;
    this.#c = hashOf(name, Math.floor(seed / 0x1_0000_0000) ^ 0x9e3779b9);
    for (let round = 0; round < 12; round++) this.#next();
  }

  /** A stream of its own for `name`, the same one each time it is asked for. */
  stream(name: string): SeededRandom {
    return new SeededRandom(this.#seed, `${this.#name}/${name}`);
  }

  float(): number {
    return this.#next() / 0x1_0000_0000;
  }

  bytes(count: number): Uint8Array {
    const bytes = new Uint8Array(count);
    for (let index = 0; index < count; index++) bytes[index] = this.#next() & 0xff;
    return bytes;
  }

  hex(count: number): string {
    return Buffer.from(this.bytes(count)).toString("hex");
  }

  chance(probability: number): boolean {
    return this.float() < probability;
  }

  /** Whole number in [low, high]. */
  between(low: number, high: number): number {
    return low + Math.floor(this.float() * (high - low + 1));
  }

  pick<T>(items: readonly T[]): T {
    const item = items[Math.floor(this.float() * items.length)];
    if (item === undefined) throw new Error("nothing to pick from");
    return item;
  }

  /** One of the keys, by weight. */
  weighted<K extends string>(weights: Readonly<Record<K, number>>): K {
    const names: K[] = [];
    let sum = 0;
    for (const name in weights) {
      names.push(name);
      sum += weights[name];
    }
    let rest = this.float() * sum;
    return names.find((name) => (rest -= weights[name]) < 0) ?? this.pick(names);
  }

  #next(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + sum;
    return sum >>> 0;
  }
}
