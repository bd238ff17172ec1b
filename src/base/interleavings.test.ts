import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Interleavings } from './interleavings.testing.ts';

test('two that add with a load and a store lose one, and it is found; with an atomic add they do not', () => {
  for (const [isAtomic, isFound] of [
    [false, true],
    [true, false],
  ]) {
    const words = new Interleavings(64);
    words.name(3, 'count');
    const run = (): void => {
      if (isAtomic) words.add(3, 1);
      else words.store(3, words.load(3) + 1);
    };
    const programs = ['a', 'b'].map((name) => ({ name, run }));
    const wrong = (): string | undefined => (words.load(3) === 2 ? undefined : 'one is lost');
    const { failure, ends } = words.explore({ programs, wrong });
    assert.equal(failure !== undefined, isFound);
    if (isFound) assert.equal(failure?.steps.filter((step) => step.endsWith('load count')).length, 2);
    else assert.equal(ends, 1);
    assert.equal(words.load(3), 0, 'memory is as it was');
  }
});

test('each order of steps is tried', () => {
  const words = new Interleavings(64);
  const orders = new Set<string>();
  const program = (name: string, digit: number) => ({
    name,
    run: () => {
      // The digits, in the order in which the threads came.
      for (let i = 0; i < 2; i++) {
        for (;;) {
          const before = words.load(0);
          if (words.compareExchange(0, before, before * 10 + digit) === before) break;
        }
      }
    },
  });
  const wrong = (): undefined => {
    orders.add(String(words.load(0)));
    return undefined;
  };
  words.explore({ programs: [program('a', 1), program('b', 2)], wrong });
  assert.deepEqual([...orders].sort(), ['1122', '1212', '1221', '2112', '2121', '2211']);
});

test('a lock keeps others out, and words that it guards are no steps', () => {
  const words = new Interleavings(64);
  const lock = words.lock(0);
  const program = (holds: boolean) => ({
    name: holds ? 'holds' : 'does not',
    run: () => {
      if (holds) lock.acquire();
      words.store(1, words.load(1) + 1);
      if (holds) lock.release();
    },
  });
  const wrong = (): string | undefined => (words.load(1) === 2 ? undefined : 'lost');
  assert.equal(words.explore({ programs: [program(true), program(true)], wrong }).failure, undefined);
  words.quiet(1, 1, { kind: 'guarded', lock: 0 });
  assert.equal(words.explore({ programs: [program(true), program(true)], wrong }).failure, undefined);
  assert.match(String(words.explore({ programs: [program(true), program(false)], wrong }).failure?.what), /lock/);
});

test('threads that wait for each other are found', () => {
  const words = new Interleavings(64);
  const locks = [words.lock(0), words.lock(1)] as const;
  const run = (first: 0 | 1, second: 0 | 1) => () => {
    locks[first].acquire();
    locks[second].acquire();
    locks[second].release();
    locks[first].release();
  };
  const explore = (run2: () => void) => {
    const programs = [
      { name: 'a', run: run(0, 1) },
      { name: 'b', run: run2 },
    ];
    return words.explore({ programs, wrong: () => undefined }).failure?.what;
  };
  assert.equal(explore(run(0, 1)), undefined);
  assert.equal(explore(run(1, 0)), 'nobody can go on');
});

test('who may wait is no failure, and goes on when it can', () => {
  const words = new Interleavings(64);
  const waiting = (mayWait: boolean) => ({
    name: 'waits',
    mayWait,
    run: () => {
      words.waitFor(0, (value) => value === 2);
      words.store(1, 1);
    },
  });
  const adding = { name: 'adds', run: () => void words.add(0, 1) };
  const wrong = (): string | undefined => (words.load(1) === 1 ? 'it went on' : undefined);
  assert.equal(words.explore({ programs: [waiting(true), adding], wrong }).failure, undefined);
  assert.equal(words.explore({ programs: [waiting(false), adding], wrong }).failure?.what, 'nobody can go on');
  assert.equal(words.explore({ programs: [waiting(true), adding, adding], wrong }).failure?.what, 'it went on');
});
