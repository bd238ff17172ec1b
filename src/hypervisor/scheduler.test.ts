import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import { Random } from '../engine/random.testing.ts';
import { SimulatedProcessors } from './scheduler.testing.ts';
import { NOBODY, SCHEDULE, schedulerLayout } from './scheduler-block.ts';

const shape = (processors: number, vcpus: number, shares = vcpus) => ({ processors, vcpus, shares });

/** Within `percent` of what is expected. */
function near(actual: number, expected: number, percent: number, what: string): void {
  assert.ok(Math.abs(actual - expected) <= (expected * percent) / 100, `${what}: ${actual}, expected ${expected}`);
}

/** The share of the time that each weight is due, for vCPUs that never sleep. */
function weigh(processors: number, weights: readonly number[], vcpusEach: number, ms: number): SimulatedProcessors {
  const random = new Random(7);
  const all = new SimulatedProcessors(shape(processors, weights.length * vcpusEach), () => random.word() / 2 ** 32);
  weights.forEach((weight, share) => {
    all.addShare(share, { weight });
    for (let i = 0; i < vcpusEach; i++) all.add(share * vcpusEach + i, { share });
  });
  all.run(ms);
  return all;
}

test('time follows weights, on one processor and on several', () => {
  for (const [processors, vcpusEach] of [
    [1, 1],
    [1, 4],
    [2, 2],
    [4, 4],
    [3, 8],
  ] as const) {
    const weights = [512, 1024, 2048];
    const all = weigh(processors, weights, vcpusEach, 5000);
    weights.forEach((weight, share) => {
      near(all.shareMs(share), (5000 * processors * weight) / 3584, 5, `${processors} processors, share ${share}`);
    });
  }
});

test('the vCPUs of a share use the same', () => {
  const all = weigh(2, [1024, 3072], 5, 4000);
  for (let vcpu = 0; vcpu < 10; vcpu++) near(all.usedMs(vcpu), vcpu < 5 ? 400 : 1200, 5, `vCPU ${vcpu}`);
});

test('how often a processor turns from one share to another is counted', () => {
  const one = weigh(1, [1024, 1024], 2, 4000);
  // Turns of 4 ms, which shares take one after the other.
  for (const share of [0, 1]) near(one.scheduler.shares.switches(share), 500, 10, `share ${share}`);
  const apart = weigh(1, [1024], 3, 1000);
  assert.equal(apart.scheduler.shares.switches(0), 0, 'among its own vCPUs nothing is counted');
});

test('extreme weights starve nobody', () => {
  const all = weigh(1, [2, 262_144], 1, 200_000);
  assert.ok(all.usedMs(0) > 0);
  assert.ok(all.usedMs(0) < 10);
});

test('two hundred vCPUs share one, two, four processors evenly', () => {
  for (const processors of [1, 2, 4]) {
    const all = weigh(processors, new Array<number>(200).fill(1024), 1, 8000);
    for (let vcpu = 0; vcpu < 200; vcpu++) near(all.usedMs(vcpu), 40 * processors, 12, `${processors}: vCPU ${vcpu}`);
  }
});

test('a cap holds, whoever else runs, and takes nothing from others', () => {
  for (const others of [0, 3]) {
    const all = new SimulatedProcessors(shape(2, 8));
    all.addShare(0, { cap: 0.3 });
    all.add(0, { share: 0 });
    all.addShare(1, { cap: 1.5 });
    all.add(1, { share: 1 });
    all.add(2, { share: 1 });
    all.addShare(2);
    for (let i = 0; i < others; i++) all.add(3 + i, { share: 2 });
    all.run(10_000);
    near(all.shareMs(0), 3000, 2, `0.3 with ${others} others`);
    if (others === 0) near(all.shareMs(1), 15_000, 2, 'alone, 1.5');
    else assert.ok(all.shareMs(1) <= 15_100);
    if (others > 0) near(all.shareMs(0) + all.shareMs(1) + all.shareMs(2), 20_000, 1, 'all of the time is used');
  }
});

test('what was overdrawn in a period is missing in the next', () => {
  const all = new SimulatedProcessors(shape(4, 4));
  all.addShare(0, { cap: 0.05 });
  for (let vcpu = 0; vcpu < 4; vcpu++) all.add(vcpu, { share: 0 });
  all.run(20_000);
  near(all.shareMs(0), 1000, 3, 'one twentieth, by four at a time');
});

test('pins are kept, and time on the processors left is shared', () => {
  const all = new SimulatedProcessors(shape(2, 8));
  all.addShare(0, { pins: 0b01 });
  all.addShare(1, { pins: 0b10 });
  all.addShare(2);
  for (const [vcpu, share] of [0, 0, 1, 2].entries()) all.add(vcpu, { share });
  const seen = [new Set<number>(), new Set<number>(), new Set<number>()];
  all.run(3000, () => {
    all.block.current.forEach((vcpu, processor) => {
      if (vcpu !== NOBODY) seen[all.block.shareOf[vcpu] ?? 0]?.add(processor);
    });
  });
  assert.deepEqual([...(seen[0] ?? [])], [0]);
  assert.deepEqual([...(seen[1] ?? [])], [1]);
  for (let share = 0; share < 3; share++) assert.ok(all.shareMs(share) > 900, `share ${share}: ${all.shareMs(share)}`);
});

test('a pinned vCPU that waits sends away who could run elsewhere', () => {
  const all = new SimulatedProcessors(shape(2, 4));
  all.addShare(0);
  all.addShare(1, { pins: 0b01 });
  all.add(0, { share: 0 });
  all.run(10);
  all.add(1, { share: 1 });
  all.run(1);
  assert.equal(all.scheduler.look(1).processor, 0);
  assert.equal(all.scheduler.look(0).processor, 1);
});

test('pins, weights and caps change while vCPUs run', () => {
  const all = new SimulatedProcessors(shape(2, 4));
  all.addShare(0, { pins: 0b01 });
  all.addShare(1, { pins: 0b01 });
  all.add(0, { share: 0 });
  all.add(1, { share: 1 });
  all.run(1000);
  near(all.usedMs(0), 500, 5, 'alike');
  all.scheduler.changeShare(0, { pins: 0b01, weight: 3072 });
  all.run(1000);
  near(all.usedMs(0), 1250, 5, 'three times the weight');
  all.scheduler.changeShare(1, { pins: 0b10 });
  all.run(1000);
  near(all.usedMs(0), 2250, 5, 'a processor for itself');
  all.scheduler.changeShare(0, { cap: 0.1 });
  all.run(1000);
  near(all.usedMs(0), 2350, 5, 'a cap');
});

test('who wakes starts soon, and gets no more than its share', () => {
  const random = new Random(3);
  const all = new SimulatedProcessors(shape(1, 9), () => random.word() / 2 ** 32);
  for (let share = 0; share < 9; share++) all.addShare(share);
  for (let vcpu = 0; vcpu < 8; vcpu++) all.add(vcpu, { share: vcpu });
  all.add(8, { share: 8, runMs: () => 0.2, sleepMs: () => 10 });
  all.run(2000);
  all.latencies.length = 0;
  all.run(5000);
  // Of eight others each would run for a quantum first.
  const sorted = all.latencies.filter((ms) => ms > 0).sort((a, b) => a - b);
  assert.ok((sorted[Math.floor(sorted.length * 0.5)] ?? 99) < 40, 'of all');
  const own = all.usedMs(8);
  assert.ok(own > (7000 / 12) * 0.2, `it runs nearly as often as it wakes: ${own} ms`);
  // One that sleeps just long enough to be placed anew, again and again.
  const greedy = new SimulatedProcessors(shape(1, 3));
  for (let share = 0; share < 2; share++) greedy.addShare(share);
  greedy.add(0, { share: 0 });
  greedy.add(1, { share: 1, runMs: () => 3, sleepMs: () => 0.1 });
  greedy.run(10_000);
  assert.ok(greedy.usedMs(1) < 5200, `no more than half: ${greedy.usedMs(1)}`);
});

test('a claim that could not be used is not made good: who comes later is not starved', () => {
  // Share 0 may use one of two processors however large its weight: the others pass it by.
  const all = new SimulatedProcessors(shape(2, 8));
  all.addShare(0, { weight: 8192 });
  for (let share = 1; share < 5; share++) all.addShare(share);
  all.add(0, { share: 0 });
  all.add(1, { share: 1 });
  all.add(2, { share: 2 });
  all.run(20_000);
  near(all.usedMs(0), 20_000, 1, 'all of one processor');
  near(all.usedMs(1), 10_000, 5, 'half of the other');
  const before = [1, 2].map((vcpu) => all.usedMs(vcpu));
  all.add(3, { share: 3 });
  all.run(300);
  for (const [i, vcpu] of [1, 2, 3].entries())
    near(all.usedMs(vcpu) - (before[i] ?? 0), 100, 15, `vCPU ${vcpu} after another came`);
});

test('shares on processors of their own gather no claims against one that may use both', () => {
  const all = new SimulatedProcessors(shape(2, 8));
  all.addShare(0, { pins: 0b01, weight: 64 });
  all.addShare(1, { pins: 0b10 });
  all.add(0, { share: 0 });
  all.add(1, { share: 1 });
  all.run(30_000);
  all.addShare(2);
  all.add(2, { share: 2 });
  all.run(3000);
  const [first = 0, second = 0, third = 0] = [0, 1, 2].map((vcpu) => all.usedMs(vcpu));
  near(first + second + third, 66_000, 1, 'nothing is lost');
  assert.ok(third > 1200, `who may use both: ${third}`);
  assert.ok(first > 30_000, `nobody starves: ${first}`);
  assert.ok(second > 30_900, `nobody starves: ${second}`);
});

test('idle processors sleep: one timer wakes one processor', () => {
  const all = new SimulatedProcessors(shape(4, 4));
  all.addShare(0);
  for (let vcpu = 0; vcpu < 4; vcpu++) all.add(vcpu, { share: 0, runMs: () => 0.01, sleepMs: () => 100 + vcpu });
  all.run(1000);
  const before = all.wakes;
  all.run(10_000);
  // Some 394 times a vCPU wakes; now and then its timer passes to another processor.
  assert.ok(all.wakes - before < 500, `${all.wakes - before} wakes`);
  const asleep = new SimulatedProcessors(shape(4, 4));
  asleep.addShare(0);
  for (let vcpu = 0; vcpu < 4; vcpu++) asleep.add(vcpu, { share: 0, runMs: () => 0.01 });
  asleep.run(100);
  const first = asleep.wakes;
  asleep.run(100_000);
  assert.equal(asleep.wakes, first);
});

test('whatever happens: nobody runs twice, nobody is lost, no processor idles while somebody waits', () => {
  for (let seed = 1; seed <= 30; seed++) {
    const random = new Random(seed);
    const between = (least: number, most: number): number => least + (most - least) * (random.word() / 2 ** 32);
    const processors = 1 + random.below(5);
    const shares = 1 + random.below(6);
    const vcpus = 4 + random.below(24);
    const all = new SimulatedProcessors(shape(processors, vcpus, shares), () => between(0, 1));
    const pick = () => ({
      weight: 2 + random.below(8192),
      ...(random.chance(0.3) ? { cap: between(0.05, 2) } : {}),
      ...(random.chance(0.3) ? { pins: 1 + random.below(2 ** processors - 1) } : {}),
    });
    for (let share = 0; share < shares; share++) all.addShare(share, pick());
    const living = new Set<number>();
    for (let turn = 0; turn < 150; turn++) {
      const vcpu = random.below(vcpus);
      if (all.scheduler.has(vcpu)) {
        if (random.chance(0.1) && living.delete(vcpu)) all.end(vcpu);
        else if (living.has(vcpu)) all.wake(vcpu);
      } else {
        living.add(vcpu);
        const kind = random.below(3);
        all.add(vcpu, {
          share: random.below(shares),
          ...(kind > 0 ? { runMs: () => between(0.001, 8) } : {}),
          ...(kind === 2 ? { sleepMs: () => between(0, 20) } : {}),
        });
      }
      all.run(between(0, 6));
    }
    for (const vcpu of living) all.end(vcpu);
    all.run(2000);
    for (let vcpu = 0; vcpu < vcpus; vcpu++)
      assert.equal(all.scheduler.look(vcpu).state, SCHEDULE.none, `seed ${seed}`);
  }
});

test('on threads of the host no wake-up is lost', async () => {
  const size = shape(3, 24, 4);
  const layout = schedulerLayout(size);
  const buffer = new SharedArrayBuffer(layout.sizeBytes + 4096);
  const file = new URL('./scheduler-threads.testing.ts', import.meta.url);
  const { prepare, HOPS } = (await import(file.href)) as typeof import('./scheduler-threads.testing.ts');
  const words = prepare(buffer, layout.sizeBytes, size);
  const workers = Array.from({ length: size.processors }, (_, processor) => {
    return new Worker(file, { workerData: { buffer, wordsAt: layout.sizeBytes, size, processor } });
  });
  await Promise.all(
    workers.map(
      (worker) => new Promise<void>((resolve, reject) => worker.once('exit', () => resolve()).once('error', reject)),
    ),
  );
  // Tokens went round HOPS times in all, and nobody had to sleep out the second that hides a lost word.
  assert.ok(words.hops() >= HOPS, `${words.hops()} hops`);
  assert.equal(words.timeouts(), 0);
  assert.equal(words.tokens(), words.made);
});
