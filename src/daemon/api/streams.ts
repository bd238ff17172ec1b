/** Answers that go on: streams that are pulled, so that who does not read holds up nobody but himself. */

/** A sign of life, by which proxies and clients know that an idle stream is well. */
const ALIVE_MS = 15_000;
const encoder = new TextEncoder();

/** Bytes as they are pulled. When the reader leaves, so does the source. */
export function keptStream(source: AsyncIterable<Uint8Array>): ReadableStream<Uint8Array> {
  const iterator = source[Symbol.asyncIterator]();
  return new ReadableStream<Uint8Array>(
    {
      pull: async (controller) => {
        const { done, value } = await iterator.next();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      cancel: async () => void (await iterator.return?.()),
    },
    { highWaterMark: 1 },
  );
}

/** Server-sent events: `id` where the event was kept, `data` as JSON; comments while nothing happens. */
export function eventStream(source: AsyncIterable<{ readonly id: number }>): ReadableStream<Uint8Array> {
  const iterator = source[Symbol.asyncIterator]();
  let next: ReturnType<typeof iterator.next> | undefined;
  let timer: NodeJS.Timeout | undefined;
  return new ReadableStream<Uint8Array>(
    {
      // Headers go out with the first bytes.
      start: (controller) => controller.enqueue(encoder.encode(': events\n\n')),
      pull: async (controller) => {
        next ??= iterator.next();
        const idle = new Promise<undefined>((resolve) => {
          timer = setTimeout(() => resolve(undefined), ALIVE_MS);
          timer.unref();
        });
        const result = await Promise.race([next, idle]).finally(() => clearTimeout(timer));
        if (result === undefined) {
          controller.enqueue(encoder.encode(': alive\n\n'));
          return;
        }
        next = undefined;
        if (result.done) controller.close();
        else {
          const { id } = result.value;
          controller.enqueue(
            encoder.encode(`${id === 0 ? '' : `id: ${id}\n`}data: ${JSON.stringify(result.value)}\n\n`),
          );
        }
      },
      cancel: async () => {
        clearTimeout(timer);
        await iterator.return?.();
      },
    },
    { highWaterMark: 1 },
  );
}
