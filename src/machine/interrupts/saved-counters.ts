/**
 * The counters of a partition's functions in a snapshot: as those of its vCPUs and its network, they go on where it goes on.
 * Rates begin anew. What waits in relays is delivered before (fabric.ts, `settle`), levels are told again after.
 */
import { AssertionError } from '../../base/assert.ts';
import { array, type Layout, type Saved, struct, structs } from '../../base/struct.ts';
import type { Words } from '../../base/words.ts';
import { RECORD_COUNTER_WORDS, type RequesterId } from '../../devices/index.ts';
import { type InterruptService, ROW_COUNTER_WORDS, SERVICE_COUNTER_WORDS } from '../../hypervisor/index.ts';

const functionCounters = struct('functionCounters', {
  /** As the machine numbers it. */
  requester: 'u32',
  /** By its record: interrupts, merged, overflows, garbage. */
  asked: array('u32', RECORD_COUNTER_WORDS),
  /** By the service: delivered, dropped, polls, deferrals, latencies. */
  served: array('u32', ROW_COUNTER_WORDS),
});

function fields(functions: number) {
  return {
    /** Of the machine: polls, polls avoided, messages, empty ones. */
    totals: array('u32', SERVICE_COUNTER_WORDS),
    functions: structs(functionCounters, functions),
  } as const;
}

export function countersLayout(functions: number): Layout<ReturnType<typeof fields>> {
  return struct('interruptCounters', fields(functions));
}

/** Nobody interrupts. `requesters` are attached. */
export function saveCounters(words: Words, service: InterruptService, requesters: readonly RequesterId[]): Saved {
  const read = (at: number, count: number): number[] =>
    Array.from({ length: count }, (_, i) => words.load(at + i) >>> 0);
  return {
    totals: read(service.countersAt, SERVICE_COUNTER_WORDS),
    functions: requesters.map((requester) => {
      const { asked, served } = placesOf(service, requester);
      return { requester, asked: read(asked, RECORD_COUNTER_WORDS), served: read(served, ROW_COUNTER_WORDS) };
    }),
  };
}

/** `saved` fits the layout; requesters that are not attached are left out. */
export function restoreCounters(
  words: Words,
  service: InterruptService,
  requesters: readonly RequesterId[],
  saved: Saved,
): void {
  const write = (at: number, values: unknown): void => {
    for (const [i, value] of (values as readonly number[]).entries()) words.store(at + i, value);
  };
  write(service.countersAt, saved['totals']);
  for (const one of saved['functions'] as readonly Saved[]) {
    const requester = one['requester'] as number;
    if (!requesters.includes(requester)) continue;
    const { asked, served } = placesOf(service, requester);
    write(asked, one['asked']);
    write(served, one['served']);
  }
}

/** Indexes of the first words of a function's counters. */
function placesOf(
  service: InterruptService,
  requester: RequesterId,
): { readonly asked: number; readonly served: number } {
  for (const { port, first } of service.placed) {
    const record = port.records.rowOf(requester);
    if (record === undefined) continue;
    return { asked: port.records.countersAt(record), served: service.table.index(first + record, 'delivered') };
  }
  throw new AssertionError(`requester ${requester} is attached`);
}
