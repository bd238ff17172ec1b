import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { LeaseRecord } from '../model.ts';
import { DEFAULT_SETTINGS } from '../settings.ts';
import { EventQueue } from '../simulator/event-queue.ts';
import type { ClusterStore, CommitOutcome, Transaction } from '../store/cluster-store.ts';
import { MemoryState } from '../store/memory-state.ts';
import { decode, keyOf, LEASE, put } from '../store/records.ts';
import { HostLease } from './host-lease.ts';
import { LeaseObserver } from './lease-observer.ts';

const RECORD: LeaseRecord = { incarnation: 1, state: 'held', boot: 'b1', renewal: 0, durationMs: 2500 };

/** A holder over a store whose next commits do what `next` says. */
class Bench {
  readonly queue = new EventQueue();
  readonly state = new MemoryState();
  readonly next: ('ok' | 'lost' | 'answer-lost' | { readonly lateMs: number })[] = [];
  readonly deadlines: number[] = [];
  readonly ends: string[] = [];
  readonly lease: HostLease;
  isReadable = true;

  constructor() {
    this.state.commit({ compares: [], puts: [put(LEASE, 'a', RECORD)] });
    const { queue } = this;
    const timers = {
      after: (ms: number, run: () => void) => {
        const event = queue.after(ms, run);
        return {
          cancel: () => {
            event.run = undefined;
          },
        };
      },
    };
    const store: ClusterStore = {
      read: (query, deadlineMs, done) =>
        void (this.isReadable
          ? queue.after(10, () => done(this.state.read(query)))
          : queue.after(deadlineMs, () => done({ kind: 'failed', reason: '' }))),
      commit: (transaction, deadlineMs, done) => this.#commit(transaction, deadlineMs, done),
      watch: () => ({ cancel: () => undefined }),
    };
    const from = { record: RECORD, revision: this.state.revision, sentMs: 0 };
    this.lease = new HostLease(
      'a',
      from,
      DEFAULT_SETTINGS,
      { clock: { nowMs: () => queue.nowMs }, timers, store },
      {
        renewed: (deadlineMs) => this.deadlines.push(deadlineMs),
        lost: (end) => this.ends.push(end),
      },
    );
    this.lease.start();
  }

  change(to: Partial<LeaseRecord>): void {
    const value = decode(LEASE, this.state.get(keyOf(LEASE, 'a'))?.value) ?? RECORD;
    this.state.commit({ compares: [], puts: [put(LEASE, 'a', { ...value, ...to })] });
  }

  #commit(transaction: Transaction, deadlineMs: number, done: (outcome: CommitOutcome) => void): void {
    const how = this.next.shift() ?? 'ok';
    const unknown = (): void => void this.queue.after(deadlineMs, () => done({ kind: 'unknown', reason: '' }));
    const apply = (): CommitOutcome => {
      const revision = this.state.commit(transaction);
      return revision === undefined ? { kind: 'conflict' } : { kind: 'committed', revision };
    };
    if (how === 'ok')
      this.queue.after(20, () => {
        const outcome = apply();
        this.queue.after(30, () => done(outcome));
      });
    else {
      if (how === 'answer-lost') this.queue.after(20, apply);
      if (typeof how === 'object') this.queue.after(how.lateMs, apply);
      unknown();
    }
  }
}

describe('the holder of a lease', () => {
  test('may act from before it sent the last confirmed renewal, for the lease’s time', () => {
    const bench = new Bench();
    bench.queue.runUntil(49);
    assert.deepEqual(bench.deadlines, []);
    bench.queue.runUntil(51);
    assert.deepEqual(bench.deadlines, [2500], 'sent at 0, confirmed at 50');
    bench.queue.runUntil(560);
    assert.deepEqual(bench.deadlines, [2500, 3000]);
  });

  test('a renewal without an answer proves nothing', () => {
    const bench = new Bench();
    bench.next.push('lost', 'lost', 'lost', 'lost', 'lost', 'lost', 'lost');
    bench.isReadable = false;
    bench.queue.runUntil(2499);
    assert.ok(bench.lease.isHeld());
    bench.queue.runUntil(2501);
    assert.ok(!bench.lease.isHeld(), 'nobody has to tell it');
    assert.deepEqual(bench.deadlines, [2500]);
  });

  test('one that was committed and not answered counts from when it was sent, once it is read', () => {
    const bench = new Bench();
    bench.next.push('answer-lost');
    bench.queue.runUntil(1300);
    // Sent at 500, unknown at 1200, read at 1210.
    assert.equal(bench.deadlines[1], 3000);
    assert.deepEqual(bench.ends, []);
  });

  test('one that is committed late, after others, is refused', () => {
    const bench = new Bench();
    bench.next.push({ lateMs: 3000 });
    bench.queue.runUntil(10_000);
    assert.deepEqual(bench.ends, []);
    assert.ok(bench.lease.isHeld());
    assert.ok(bench.deadlines.every((ms, i) => i === 0 || ms > (bench.deadlines[i - 1] ?? 0)));
  });

  test('one that is committed late, before others, is taken for its own', () => {
    const bench = new Bench();
    bench.next.push({ lateMs: 720 });
    bench.queue.runUntil(5000);
    assert.deepEqual(bench.ends, []);
    // The next one was on its way already: this one counts from when it was sent itself, at 500.
    assert.equal(bench.deadlines[1], 3000);
    assert.ok(bench.lease.isHeld());
  });

  test('one that the daemon before this one sent, and that is committed late, proves nothing about this one’s', () => {
    const bench = new Bench();
    bench.queue.runUntil(505);
    bench.change({ renewal: 2 });
    bench.queue.runUntil(2000);
    assert.deepEqual(bench.ends, []);
    assert.ok((bench.deadlines[1] ?? 0) > 3000, `${bench.deadlines}: not from the one sent at 500, which was refused`);
  });

  test('fenced, superseded, removed: it ends, and renews no more', () => {
    const cases: [Partial<LeaseRecord>, string][] = [
      [{ state: 'fenced' }, 'fenced'],
      [{ boot: 'b2' }, 'superseded'],
      [{ incarnation: 2 }, 'superseded'],
    ];
    for (const [change, end] of cases) {
      const bench = new Bench();
      bench.queue.runUntil(300);
      bench.change(change);
      bench.queue.runUntil(5000);
      assert.deepEqual(bench.ends, [end]);
      assert.equal(bench.deadlines.length, 1);
    }
    const bench = new Bench();
    bench.queue.runUntil(300);
    bench.state.commit({ compares: [], deletes: [keyOf(LEASE, 'a')] });
    bench.queue.runUntil(5000);
    assert.deepEqual(bench.ends, ['removed']);
  });
});

describe('the observer of a lease', () => {
  const observer = () => new LeaseObserver(DEFAULT_SETTINGS);

  test('counts from the answer of the read that first showed the value, and adds a margin', () => {
    const seen = observer();
    seen.saw('a', RECORD, 7, 1000, 1400);
    for (let ms = 1500; ms < 4150; ms += 500) seen.saw('a', RECORD, 7, ms, ms + 5);
    assert.equal(seen.expired('a'), undefined);
    seen.saw('a', RECORD, 7, 4149, 4150);
    assert.equal(seen.expired('a'), undefined, '2749 ms have passed since 1400 for certain');
    seen.saw('a', RECORD, 7, 4150, 4155);
    assert.equal(seen.expired('a'), 7);
  });

  test('a new value begins anew', () => {
    const seen = observer();
    seen.saw('a', RECORD, 7, 0, 0);
    seen.saw('a', RECORD, 8, 1000, 1000);
    seen.saw('a', RECORD, 8, 2000, 2000);
    seen.saw('a', RECORD, 8, 3000, 3000);
    assert.equal(seen.expired('a'), undefined);
    assert.equal(seen.unchangedMs('a'), 2000);
  });

  test('time in which reads failed does not count', () => {
    const seen = observer();
    seen.saw('a', RECORD, 7, 0, 0);
    seen.saw('a', RECORD, 7, 1000, 1000);
    seen.saw('a', RECORD, 7, 60_000, 60_000);
    assert.equal(seen.unchangedMs('a'), 1000, 'after an outage of a minute');
    assert.equal(seen.expired('a'), undefined);
  });

  test('nor does the time around a read that failed, however short', () => {
    const seen = observer();
    seen.saw('a', RECORD, 7, 0, 0);
    seen.saw('a', RECORD, 7, 500, 500);
    seen.interrupt();
    seen.saw('a', RECORD, 7, 1500, 1500);
    seen.saw('a', RECORD, 7, 2000, 2000);
    assert.equal(seen.unchangedMs('a'), 1000);
    assert.equal(seen.leftMs('a', 2000), 1750);
  });

  test('a lease that is not held does not expire; a host that is not looked at is forgotten', () => {
    const seen = observer();
    for (let ms = 0; ms < 5000; ms += 500) {
      seen.saw('a', { ...RECORD, state: 'left' }, 7, ms, ms);
      seen.saw('b', RECORD, 9, ms, ms);
    }
    assert.equal(seen.expired('a'), undefined);
    assert.equal(seen.expired('b'), 9);
    seen.keepOnly(new Set(['a']));
    assert.equal(seen.expired('b'), undefined);
  });
});
