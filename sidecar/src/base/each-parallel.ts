/** `work` for each of `items`, at most `parallel` at a time and in their order; the first failure ends the others and is thrown. */
export async function eachParallel<T>(
  items: Iterable<T>,
  parallel: number,
  signal: AbortSignal,
  work: (item: T, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const stop = new AbortController();
  const inner = AbortSignal.any([signal, stop.signal]);
  const iterator = items[Symbol.iterator]();
  const failures: unknown[] = [];
  const worker = async (): Promise<void> => {
    for (;;) {
      if (inner.aborted) return;
      const { done, value } = iterator.next();
      if (done === true) return;
      try {
        await work(value, inner);
      } catch (error) {
        failures.push(error);
        stop.abort(error);
      }
    }
  };
  await Promise.all(Array.from({ length: parallel }, worker));
  signal.throwIfAborted();
  if (failures.length > 0) throw failures[0];
}
