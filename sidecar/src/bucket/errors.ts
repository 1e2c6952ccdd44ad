import { MetaMasterError } from "../base/errors.js";

export function objectTooLarge(url: string, key: string, size: number, maxBytes: number): MetaMasterError {
  return new MetaMasterError(
    "ObjectTooLarge",
    "corrupt",
    `The object ${key} in ${url} has ${size} bytes or more; at most ${maxBytes} can be right.`,
    {
      hint: "Something else wrote it, or it was damaged: look at it before going on.",
      details: { key, size, maxBytes },
    },
  );
}

export function bucketClosed(url: string): MetaMasterError {
  return new MetaMasterError("BucketClosed", "invalid", `The bucket ${url} was closed.`, {
    hint: "This is a defect of MetaMaster if it didn't just stop: report it.",
  });
}

export function keysNest(url: string, key: string, cause?: unknown): MetaMasterError {
  return new MetaMasterError(
    "BucketKeyInvalid",
    "invalid",
    `The key ${key} can't be created in ${url}: an object is a folder of it, or it is a folder of objects.`,
    { cause, hint: "Give MetaMaster a prefix of its own in the bucket.", details: { key } },
  );
}
