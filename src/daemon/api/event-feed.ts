/** Events for one who follows them: what was kept behind a number, then what happens. Bounded for each follower. */
import { HostError } from '../../base/errors.ts';
import type { Partitions } from '../partitions/index.ts';
import type { HostEvent } from '../schemas/partition.ts';
import type { Store } from '../store/index.ts';

/** Events that wait for a follower who does not read; behind them he is cut off, and may come back with a number. */
const MOST_WAITING = 2_000;
const MOST_REPLAYED = 10_000;
/** How often the events of paths are asked for, while somebody follows. */
const PATHS_EVERY_MS = 500;

export async function* eventsSince(
  store: Store,
  { since, partition }: { since?: number | undefined; partition?: string | undefined },
  signal: AbortSignal,
): AsyncGenerator<HostEvent> {
  const waiting: HostEvent[] = [];
  let wake = (): void => {};
  let isLost = false;
  const remove = store.onEvent((event) => {
    if (partition !== undefined && event.partition !== partition) return;
    if (waiting.length >= MOST_WAITING) isLost = true;
    else waiting.push(event);
    wake();
  });
  const onAbort = (): void => wake();
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    if (since !== undefined) yield* store.events({ since, partition, most: MOST_REPLAYED });
    while (!signal.aborted) {
      const event = waiting.shift();
      if (event !== undefined) yield event;
      else if (isLost) throw new HostError('too-slow', 'events are not read fast enough');
      else
        await new Promise<void>((resolve) => {
          wake = resolve;
          if (signal.aborted) resolve();
        });
    }
  } finally {
    remove();
    signal.removeEventListener('abort', onAbort);
  }
}

/** A partition's, and those of its paths, which its machine keeps. */
export async function* partitionEvents(
  partitions: Partitions,
  name: string,
  since: number | undefined,
  signal: AbortSignal,
): AsyncGenerator<HostEvent> {
  const ended = new AbortController();
  const stop = (): void => ended.abort();
  signal.addEventListener('abort', stop, { once: true });
  void tellOfPaths(partitions, name, ended.signal);
  try {
    yield* eventsSince(partitions.store, { since, partition: name }, signal);
  } finally {
    signal.removeEventListener('abort', stop);
    stop();
  }
}

const followers = new WeakMap<Partitions, Map<string, number>>();

/** Asked for once, however many follow. */
async function tellOfPaths(partitions: Partitions, name: string, signal: AbortSignal): Promise<void> {
  const counts = followers.get(partitions) ?? new Map<string, number>();
  followers.set(partitions, counts);
  const before = counts.get(name) ?? 0;
  counts.set(name, before + 1);
  signal.addEventListener('abort', () => counts.set(name, (counts.get(name) ?? 1) - 1), { once: true });
  if (before > 0) return;
  let since: number | undefined;
  while ((counts.get(name) ?? 0) > 0) {
    since = await askForPaths(partitions, name, since).catch(() => since); // it may not run, or have no network
    await new Promise((resolve) => setTimeout(resolve, PATHS_EVERY_MS).unref());
  }
  counts.delete(name);
}

/** Tells what happened behind that event; the first time, nothing: it is long ago. Returns the latest event's number. */
async function askForPaths(
  partitions: Partitions,
  name: string,
  since: number | undefined,
): Promise<number | undefined> {
  await using machine = await partitions.machines.reach(name);
  const events = await machine.netEvents(since ?? 0);
  if (since !== undefined)
    for (const event of events) {
      const at = new Date(event.wallMs).toISOString();
      partitions.store.tell({ id: 0, at, kind: 'path', partition: name, detail: { ...event } });
    }
  return events.at(-1)?.sequence ?? since ?? 0;
}
