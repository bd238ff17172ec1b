/**
 * Functions on threads of the host, around the real fabric: each thread drives functions of its own, as fast as it can, and
 * serves. A guest's handler, on whichever thread, takes the work of all functions that its interrupt may be of. A worker
 * when it is started as one.
 *
 *     function: work + 1, interrupt        handler: takes the work, done + work       at the end: done is what was sent
 */
import { isMainThread, Worker, workerData } from 'node:worker_threads';
import { Random } from '../../engine/random.testing.ts';
import { InterruptFabric, type InterruptFabricOptions } from './fabric.ts';

const FUNCTIONS = 16;
const PARTITIONS = 2;
const LINE = 32;
const MESSAGE = { address: 0x2800_0000, data: 5 } as const;
const TICKS_PER_MS = 10_000;
const UNLIMITED = { most: Number.POSITIVE_INFINITY, windowTicks: 1 };

export interface StressOptions {
  readonly relay: boolean;
  readonly threads: number;
  /** Of each thread. */
  readonly interrupts: number;
  /** In readings of the clock. Absent: nobody is held back. */
  readonly throttle?: InterruptFabricOptions['throttle'];
}

export interface StressResult {
  /** Functions with work that nobody did. */
  readonly lost: number;
  readonly sent: number;
  readonly done: number;
  /** Calls of handlers, and what the service says of them. */
  readonly handled: number;
  readonly delivered: number;
  readonly merged: number;
  readonly dropped: number;
  readonly deferrals: number;
  readonly polls: number;
  readonly pollsAvoided: number;
  /** Lines that are not as the functions have them. */
  readonly wrongLines: number;
  readonly ms: number;
}

interface Start {
  readonly buffer: SharedArrayBuffer;
  readonly options: StressOptions;
  readonly thread: number;
}

/** Words behind the fabric. */
const AT = {
  work: 0,
  done: 16,
  sent: 32,
  up: 48,
  lines: 64,
  handled: 72,
  alarm: 76,
  ready: 77,
  time: 78,
  END: 128,
} as const;

/** Functions by number: the first half interrupts by pins, a partition has every second. All share a line, or a message. */
const isPin = (number: number): boolean => number < FUNCTIONS / 2;
const partitionOf = (number: number): number => number % PARTITIONS;
/** Device number and function, alike in both partitions. */
const requesterOf = (number: number): number => 8 * (1 + Math.floor(number / PARTITIONS));

function fabricOf(buffer: SharedArrayBuffer, { relay, throttle }: StressOptions) {
  const options = { ports: 2, functions: 16, identifiers: 4, relay, throttle: throttle ?? UNLIMITED };
  const base = InterruptFabric.sizeBytes(options);
  const words = new Int32Array(buffer, base, AT.END);
  const handle = (partition: number, pins: boolean): void => {
    Atomics.add(words, AT.handled, 1);
    for (let number = 0; number < FUNCTIONS; number++) {
      if (partitionOf(number) !== partition || isPin(number) !== pins) continue;
      Atomics.add(words, AT.done + number, Atomics.exchange(words, AT.work + number, 0));
    }
  };
  const fabric = new InterruptFabric(buffer, 0, options, {
    // Where time decides what happens, it is how often somebody asked what time it is.
    ticks: () =>
      throttle === undefined
        ? (performance.timeOrigin + performance.now()) * TICKS_PER_MS
        : Atomics.add(words, AT.time, 1),
    lookAfter: () => Atomics.store(words, AT.alarm, 1),
    controllerOf: (partition) => ({
      line: () => ({
        set: (level) => {
          Atomics.store(words, AT.lines + partition, level ? 1 : 0);
          if (level) handle(partition, true);
        },
      }),
      send: () => {
        handle(partition, false);
        return true;
      },
    }),
  });
  return { fabric, words };
}

/** Drives the functions whose number is the thread's, modulo the threads. */
function drive({ buffer, options, thread }: Start): void {
  const { fabric, words } = fabricOf(buffer, options);
  const random = new Random(thread + 1);
  const own = Array.from({ length: FUNCTIONS }, (_, i) => i).filter((i) => i % options.threads === thread);
  // All begin at once.
  Atomics.add(words, AT.ready, 1);
  while (Atomics.load(words, AT.ready) < options.threads)
    Atomics.wait(words, AT.ready, Atomics.load(words, AT.ready), 1);
  for (let sent = 0; sent < options.interrupts; ) {
    const number = own[random.below(own.length)] ?? 0;
    const port = fabric.portOf(partitionOf(number));
    const requester = requesterOf(number);
    if (isPin(number) && Atomics.load(words, AT.up + number) === 1) {
      Atomics.store(words, AT.up + number, 0);
      port.send({ requester, kind: 'deassert', address: 0, data: 1 });
      continue;
    }
    Atomics.add(words, AT.work + number, 1);
    Atomics.add(words, AT.sent + number, 1);
    sent++;
    if (isPin(number)) {
      Atomics.store(words, AT.up + number, 1);
      port.send({ requester, kind: 'assert', address: 0, data: 1 });
    } else port.send({ requester, kind: 'message', ...MESSAGE });
    if (Atomics.exchange(words, AT.alarm, 0) === 1) fabric.service.look();
  }
}

/** Runs it, and counts. */
export async function stress(options: StressOptions): Promise<StressResult> {
  const size = InterruptFabric.sizeBytes({ ports: 2, functions: 16, identifiers: 4, relay: options.relay });
  const buffer = new SharedArrayBuffer(size + AT.END * 4);
  const { fabric, words } = fabricOf(buffer, options);
  for (let number = 0; number < FUNCTIONS; number++)
    fabric.add({ partition: partitionOf(number), requester: requesterOf(number), sources: [isPin(number) ? LINE : 0] });
  const before = performance.now();
  await Promise.all(
    Array.from({ length: options.threads }, (_, thread) => {
      const worker = new Worker(new URL(import.meta.url), { workerData: { buffer, options, thread } satisfies Start });
      return new Promise<void>((resolve, reject) => worker.once('exit', () => resolve()).once('error', reject));
    }),
  );
  const ms = performance.now() - before;
  fabric.settle();
  const sum = (at: number, count = FUNCTIONS): number => words.subarray(at, at + count).reduce((a, b) => a + b, 0);
  const { polls, pollsAvoided, requesters } = fabric.stats();
  const all = Object.values(requesters);
  const total = (name: 'delivered' | 'merged' | 'dropped' | 'deferrals'): number =>
    all.reduce((a, one) => a + one[name], 0);
  const isUp = (partition: number): boolean =>
    Array.from({ length: FUNCTIONS }, (_, i) => i).some((i) => partitionOf(i) === partition && words[AT.up + i] === 1);
  return {
    lost: Array.from(words.subarray(AT.work, AT.work + FUNCTIONS)).filter((work) => work !== 0).length,
    ...{ sent: sum(AT.sent), done: sum(AT.done), handled: sum(AT.handled, 1) },
    ...{ delivered: total('delivered'), merged: total('merged') },
    ...{ dropped: total('dropped'), deferrals: total('deferrals') },
    ...{ polls, pollsAvoided, ms },
    wrongLines: [0, 1].filter((partition) => (words[AT.lines + partition] === 1) !== isUp(partition)).length,
  };
}

if (!isMainThread && workerData?.buffer !== undefined) drive(workerData as Start);
