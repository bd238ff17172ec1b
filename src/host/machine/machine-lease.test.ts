/** Deadlines, in virtual time: what may be, when, and what becomes of what came too late. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { leasedDisk } from './leased-disk.ts';
import { type Lease, MachineLease } from './machine-lease.ts';

const given: Lease = { incarnation: 3, generation: 7, deadlineMs: 1000 };

/** A clock that is set by hand; timers come when they are told to, so that time can pass without one. */
class Time {
  nowMs = 0;
  #timers: { readonly atMs: number; readonly act: () => void }[] = [];

  readonly ports = {
    clock: () => ({ nowMs: () => this.nowMs }),
    after: (delayMs: number, act: () => void): (() => void) => {
      const timer = { atMs: this.nowMs + delayMs, act };
      this.#timers.push(timer);
      return () => {
        this.#timers = this.#timers.filter((one) => one !== timer);
      };
    },
  };

  /** What is due by now comes. */
  settle(): void {
    for (let due = this.#due(); due !== undefined; due = this.#due()) {
      this.#timers = this.#timers.filter((one) => one !== due);
      due.act();
    }
  }

  #due(): { readonly atMs: number; readonly act: () => void } | undefined {
    return this.#timers.find(({ atMs }) => atMs <= this.nowMs);
  }
}

function leased(lease: Lease | undefined, time = new Time()) {
  const seen: string[] = [];
  const own = new MachineLease(time.ports, lease);
  own.attach({
    tell: (deadlineMs) => seen.push(`until ${deadlineMs}`),
    stop: () => seen.push('stopped'),
    goOn: () => seen.push('on'),
  });
  return { time, seen, lease: own };
}

describe('a machine with a deadline', () => {
  test('is stopped at it by a timer, though nobody asks, and goes on when a later one comes', () => {
    const { time, seen, lease } = leased(given);
    time.nowMs = 999;
    time.settle();
    assert.deepEqual(seen, ['until 1000']);
    time.nowMs = 1000;
    time.settle();
    assert.deepEqual(seen, ['until 1000', 'stopped']);
    assert.deepEqual(lease.report(), { ...given, isExpired: true });
    assert.equal(lease.extend({ incarnation: 3, deadlineMs: 2000 }), 2000);
    assert.deepEqual(seen, ['until 1000', 'stopped', 'until 2000', 'on']);
    assert.deepEqual(lease.report(), { ...given, deadlineMs: 2000, isExpired: false });
    time.nowMs = 2000;
    time.settle();
    assert.equal(seen.at(-1), 'stopped');
  });

  test('may do nothing from the deadline on, though no timer came', () => {
    const { time, seen, lease } = leased(given);
    time.nowMs = 999.9;
    assert.equal(lease.mayAct, true);
    time.nowMs = 1000;
    assert.equal(lease.mayAct, false);
    assert.deepEqual(seen, ['until 1000', 'stopped']);
  });

  test('begins stopped where the deadline has passed, before anything was asked', () => {
    const time = new Time();
    time.nowMs = 1001;
    const { seen } = leased(given, time);
    assert.deepEqual(seen, ['until 1000', 'stopped']);
  });

  test('takes later deadlines only, and of its own incarnation', () => {
    const { lease, time, seen } = leased(given);
    assert.equal(lease.extend({ incarnation: 3, deadlineMs: 900 }), 1000);
    assert.throws(() => lease.extend({ incarnation: 4, deadlineMs: 9000 }), { code: 'lease-incarnation' });
    assert.throws(() => leased(undefined).lease.extend({ incarnation: 3, deadlineMs: 9000 }), { code: 'no-lease' });
    time.nowMs = 5000;
    time.settle();
    // Later than the one in force, and past all the same.
    assert.equal(lease.extend({ incarnation: 3, deadlineMs: 4000 }), 4000);
    assert.equal(seen.at(-1), 'until 4000');
    assert.equal(lease.mayAct, false);
  });

  test('says what came too late when there is a later deadline, in its order, and never if it ends first', () => {
    const { lease, time } = leased(given);
    const said: number[] = [];
    const say = (word: number): void => lease.send(() => said.push(word));
    say(1);
    time.nowMs = 1000;
    say(2);
    say(3);
    assert.deepEqual(said, [1]);
    lease.extend({ incarnation: 3, deadlineMs: 2000 });
    say(4);
    assert.deepEqual(said, [1, 2, 3, 4]);
    time.nowMs = 2000;
    say(5);
    lease.end();
    say(6);
    lease.extend({ incarnation: 3, deadlineMs: 3000 });
    assert.deepEqual(said, [1, 2, 3, 4]);
  });

  test('that runs over while what waited leaves keeps the rest', () => {
    const { lease, time } = leased(given);
    const said: number[] = [];
    time.nowMs = 1000;
    lease.send(() => {
      said.push(1);
      time.nowMs = 2000;
    });
    lease.send(() => said.push(2));
    lease.extend({ incarnation: 3, deadlineMs: 2000 });
    assert.deepEqual(said, [1]);
    assert.equal(lease.mayAct, false);
  });

  test('that stood by has its deadline from when it begins', () => {
    const { lease, seen, time } = leased(undefined);
    time.nowMs = 5000;
    assert.equal(lease.mayAct, true);
    assert.equal(lease.report(), undefined);
    lease.begin({ ...given, deadlineMs: 6000 });
    time.nowMs = 6000;
    time.settle();
    assert.deepEqual(seen, ['until 6000', 'stopped']);
  });

  test('is not made of numbers that make no sense', () => {
    for (const wrong of [{ incarnation: -1 }, { generation: 0.5 }, { deadlineMs: 0 }, { deadlineMs: Number.NaN }])
      assert.throws(() => leased({ ...given, ...wrong }), { code: 'bad-lease' });
  });
});

test('a disk is changed before the deadline, or behind a later one; read whenever', async () => {
  const { lease, time } = leased(given);
  const done: string[] = [];
  const disk = leasedDisk(
    {
      ...{ sizeBytes: 1024, readOnly: false },
      read: () => void done.push('read'),
      write: (offset) => void done.push(`write ${offset}`),
      flush: () => void done.push('flush'),
      discard: (offset) => void done.push(`discard ${offset}`),
      writeZeroes: (offset) => void done.push(`zeroes ${offset}`),
    },
    lease,
  );
  assert.equal(disk.write(0, []), undefined);
  time.nowMs = 1000;
  const waiting = [disk.write(512, []), disk.flush(), disk.discard?.(0, 512), disk.writeZeroes?.(512, 512)];
  disk.read(0, []);
  await Promise.resolve();
  assert.deepEqual(done, ['write 0', 'read']);
  lease.extend({ incarnation: 3, deadlineMs: 2000 });
  await Promise.all(waiting);
  assert.deepEqual(done, ['write 0', 'read', 'write 512', 'flush', 'discard 0', 'zeroes 512']);
  time.nowMs = 2000;
  const never = Promise.resolve(disk.write(0, []));
  lease.end();
  await assert.rejects(never, { code: 'lease-expired' });
  assert.equal(done.length, 6);
});
