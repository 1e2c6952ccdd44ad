import { expect, test } from "@jest/globals";
import { ReadAhead, type Scratch } from "./read-ahead.js";

const content = Uint8Array.from({ length: 10 }, (_, i) => i);
const scratch = (): Scratch => [new Uint8Array(4), new Uint8Array(4)];

/** Every read is noted, and ends when it is told to. */
class File {
  readonly reads: number[] = [];
  readonly #waiting: (() => void)[] = [];
  fail: Error | undefined;
  under = 0;

  readonly readAt = async (target: Uint8Array, offset: number): Promise<void> => {
    this.reads.push(offset);
    this.under++;
    expect(this.under).toBe(1);
    await new Promise<void>((resolve) => this.#waiting.push(resolve));
    this.under--;
    if (this.fail !== undefined) throw this.fail;
    target.set(content.subarray(offset, offset + target.length));
  };

  async during<T>(work: Promise<T>): Promise<T> {
    await Promise.resolve();
    for (const end of this.#waiting.splice(0)) end();
    return await work;
  }
}

test("reads the next step while the caller has this one, and one at a time", async () => {
  const file = new File();
  const steps = new ReadAhead(scratch(), 10, file.readAt);
  expect([...(await file.during(steps.at(0)))]).toEqual([0, 1, 2, 3]);
  expect(file.reads).toEqual([0, 4]);
  expect([...(await file.during(steps.at(4)))]).toEqual([4, 5, 6, 7]);
  expect(file.reads).toEqual([0, 4, 8]);
  expect([...(await file.during(steps.at(8)))]).toEqual([8, 9]);
  expect(await steps.at(10)).toHaveLength(0);
  expect(file.reads).toEqual([0, 4, 8]);
});

test("a caller that goes back gets the bytes of where he is", async () => {
  const file = new File();
  const steps = new ReadAhead(scratch(), 10, file.readAt);
  await file.during(steps.at(0));
  const back = steps.at(2);
  await file.during(Promise.resolve());
  expect([...(await file.during(back))]).toEqual([2, 3, 4, 5]);
});

test("an error of a step is its caller's; at the end nothing is being read", async () => {
  const file = new File();
  const steps = new ReadAhead(scratch(), 10, file.readAt);
  await file.during(steps.at(0));
  file.fail = new Error("bad sector");
  await expect(file.during(steps.at(4))).rejects.toThrow("bad sector");
  file.fail = undefined;
  await file.during(steps.at(0));
  const end = steps.end();
  expect(file.under).toBe(1);
  await file.during(end);
  expect(file.under).toBe(0);
});
