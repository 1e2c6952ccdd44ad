import type { Bucket, CallOptions } from "../src/bucket/bucket.js";

/** `target` with some of its members replaced; all others are the target's own. */
export function overriding<T extends object>(target: T, changes: Partial<T>): T {
  return new Proxy(target, {
    get: (_, name) => {
      if (name in changes) return Reflect.get(changes, name);
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? (value as (...given: unknown[]) => unknown).bind(target) : value;
    },
  });
}

/** Replaces a method of a class; returns what puts the old one back. */
export function patched<T extends object, K extends keyof T>(
  prototype: T,
  name: K,
  make: (old: T[K]) => T[K],
): () => void {
  const old = prototype[name];
  prototype[name] = make(old);
  return () => {
    prototype[name] = old;
  };
}

/** The same for a getter. */
export function patchedGetter<T extends object, K extends keyof T & string>(
  prototype: T,
  name: K,
  get: (self: T) => T[K],
): () => void {
  const old = Object.getOwnPropertyDescriptor(prototype, name);
  if (old === undefined) throw new Error(`there is no ${name} to patch`);
  Object.defineProperty(prototype, name, {
    configurable: true,
    get(this: T) {
      return get(this);
    },
  });
  return () => Object.defineProperty(prototype, name, old);
}

type PutIfAbsent = (key: string, body: Uint8Array, call: CallOptions) => Promise<"created" | "exists">;

export function withPutIfAbsent(bucket: Bucket, putIfAbsent: PutIfAbsent): Bucket {
  return overriding(bucket, { putIfAbsent });
}
