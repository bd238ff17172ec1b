/**
 * Work that waits for the host now and then, or never: a generator of the promises that it waits for. What needs no waiting
 * is done when `run` returns, without a turn of the event loop.
 */
export type Operation<T> = Generator<Promise<unknown>, T, unknown>;

/** The result, at once or promised. Throws, or rejects, what the operation throws. */
export function run<T>(operation: Operation<T>): T | Promise<T> {
  const step = operation.next();
  return step.done === true ? step.value : goOn(operation, step.value);
}

async function goOn<T>(operation: Operation<T>, first: Promise<unknown>): Promise<T> {
  for (let awaited = first; ; ) {
    const settled = await awaited.then(
      (value) => ({ value }),
      (error: unknown) => ({ error }),
    );
    const step = 'error' in settled ? operation.throw(settled.error) : operation.next(settled.value);
    if (step.done === true) return step.value;
    awaited = step.value;
  }
}

/** In an operation: the promise's value. */
export function* waitFor<T>(promise: Promise<T>): Operation<T> {
  return (yield promise) as T;
}
