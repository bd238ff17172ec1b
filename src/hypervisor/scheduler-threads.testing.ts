/**
 * Processors on threads of the host, around the real scheduler and real sleep: vCPUs pass tokens to each other and wake
 * whom they gave one. A worker when it is started as one.
 */
import { isMainThread, workerData } from 'node:worker_threads';
import { Random } from '../engine/random.testing.ts';
import { Scheduler } from './scheduler.ts';
import { NOBODY, type SchedulerShape } from './scheduler-block.ts';

/** After so many hops all end. */
export const HOPS = 20_000;
const TOKENS = 7;
const AT = { hops: 0, timeouts: 1, mail: 16 } as const;

/** A vCPU's words: tokens that it has, and whether it was woken. */
function wordsOf(buffer: SharedArrayBuffer, at: number) {
  return new Int32Array(buffer, at, 1024);
}

export function prepare(buffer: SharedArrayBuffer, at: number, size: SchedulerShape) {
  const words = wordsOf(buffer, at);
  const scheduler = new Scheduler(buffer, 0, size);
  scheduler.start();
  for (let share = 0; share < size.shares; share++) scheduler.addShare(share, { weight: 512 * (share + 1) });
  for (let vcpu = 0; vcpu < size.vcpus; vcpu++) {
    if (vcpu < TOKENS) words[AT.mail + vcpu * 2] = 1;
    scheduler.add(vcpu, vcpu % size.shares, vcpu % size.processors);
  }
  return {
    made: TOKENS,
    hops: () => words[AT.hops] ?? 0,
    timeouts: () => words[AT.timeouts] ?? 0,
    tokens: () => Array.from({ length: size.vcpus }, (_, i) => words[AT.mail + i * 2] ?? 0).reduce((a, b) => a + b),
  };
}

function run(buffer: SharedArrayBuffer, at: number, size: SchedulerShape, processor: number): void {
  const words = wordsOf(buffer, at);
  const scheduler = new Scheduler(buffer, 0, size);
  const random = new Random(processor + 1);
  const now = (): number => performance.timeOrigin + performance.now();
  let vcpu = scheduler.next(processor, now());
  for (;;) {
    if (Atomics.load(words, AT.hops) >= HOPS) break;
    if (vcpu === NOBODY) {
      const before = performance.now();
      scheduler.sleep(processor, now);
      if (performance.now() - before > 900 && Atomics.load(words, AT.hops) < HOPS) Atomics.add(words, AT.timeouts, 1);
      vcpu = scheduler.next(processor, now());
      continue;
    }
    const mail = AT.mail + vcpu * 2;
    Atomics.store(words, mail + 1, 0);
    if (Atomics.load(words, mail) > 0) {
      Atomics.sub(words, mail, 1);
      const target = random.below(size.vcpus);
      Atomics.add(words, AT.mail + target * 2, 1);
      Atomics.store(words, AT.mail + target * 2 + 1, 1);
      Atomics.add(words, AT.hops, 1);
      scheduler.wake(target);
      if (scheduler.mustLook(processor, now())) vcpu = scheduler.next(processor, now());
    } else {
      const sleeper = {
        get isAwake() {
          return Atomics.load(words, mail + 1) !== 0;
        },
      };
      vcpu = scheduler.block(processor, now(), Number.POSITIVE_INFINITY, sleeper);
    }
  }
  scheduler.ringAll();
}

if (!isMainThread && workerData?.size !== undefined) {
  const { buffer, wordsAt, size, processor } = workerData as {
    buffer: SharedArrayBuffer;
    wordsAt: number;
    size: SchedulerShape;
    processor: number;
  };
  run(buffer, wordsAt, size, processor);
}
