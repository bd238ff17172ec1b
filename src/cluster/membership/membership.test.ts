import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { HostRecord, LeaseRecord } from '../model.ts';
import { DEFAULT_SETTINGS } from '../settings.ts';
import { MemoryState } from '../store/memory-state.ts';
import { decode, HOST, keyOf, LEASE, put } from '../store/records.ts';
import { Flapping } from './flapping.ts';
import { change, fence, type HostIdentity, isIn, join, leave, quarantineMs, takesGuests } from './membership.ts';

const SELF: HostIdentity = {
  name: 'a',
  boot: 'boot1',
  address: '10.0.0.1:7070',
  capacity: { cores: 4, memoryBytes: 2 ** 33, diskBytes: 0 },
  labels: {},
};

/** The records of one host in a store. */
class Records {
  readonly state = new MemoryState();

  lease() {
    const entry = this.state.get(keyOf(LEASE, 'a'));
    return { value: decode(LEASE, entry?.value), revision: entry?.revision ?? 0 };
  }

  host() {
    const entry = this.state.get(keyOf(HOST, 'a'));
    return { value: decode(HOST, entry?.value), revision: entry?.revision ?? 0 };
  }

  join(boot = 'boot1') {
    const joined = join({ ...SELF, boot }, this.lease(), this.host(), DEFAULT_SETTINGS);
    if (joined.kind === 'enter') assert.ok(this.state.commit(joined.transaction) !== undefined);
    return joined;
  }

  fence(): boolean {
    const { value, revision } = this.lease();
    assert.ok(value);
    return this.state.commit(fence('a', { value, revision }, this.host())) !== undefined;
  }
}

describe('joining', () => {
  test('a host enters, and each time that it comes back as another incarnation', () => {
    const records = new Records();
    assert.equal(records.join().lease.incarnation, 1);
    records.fence();
    assert.equal(records.host().value?.state, 'fenced');
    assert.equal(records.join().lease.incarnation, 2);
    assert.equal(records.host().value?.state, 'active');
  });

  test('a daemon that is back before the lease has expired goes on with it', () => {
    const records = new Records();
    records.join();
    const again = records.join();
    assert.deepEqual([again.kind, again.lease.incarnation], ['adopt', 1]);
  });

  test('after a boot nothing goes on, lease or not, and that counts as a failure', () => {
    const records = new Records();
    records.join();
    const again = records.join('boot2');
    assert.deepEqual([again.kind, again.lease.incarnation, again.host.fences], ['enter', 2, 1]);
  });

  test('who fails again and again is in quarantine', () => {
    const records = new Records();
    const states: string[] = [];
    for (let i = 0; i < 4; i += 1) {
      states.push(records.join().host.state);
      records.fence();
    }
    assert.deepEqual(states, ['active', 'active', 'active', 'quarantined']);
  });

  test('of two processes that join at once, one enters', () => {
    const records = new Records();
    const [lease, host] = [records.lease(), records.host()];
    const both = [
      join(SELF, lease, host, DEFAULT_SETTINGS),
      join({ ...SELF, boot: 'boot9' }, lease, host, DEFAULT_SETTINGS),
    ];
    const committed = both.map((one) => one.kind === 'enter' && records.state.commit(one.transaction) !== undefined);
    assert.deepEqual(committed, [true, false]);
  });
});

describe('fencing', () => {
  test('is refused when the holder has renewed since', () => {
    const records = new Records();
    records.join();
    const { value, revision } = records.lease();
    const transaction = fence('a', { value: value as LeaseRecord, revision }, records.host());
    records.state.commit({ compares: [], puts: [put(LEASE, 'a', { ...(value as LeaseRecord), renewal: 5 })] });
    assert.equal(records.state.commit(transaction), undefined);
    assert.ok(isIn(records.host().value, 1));
  });

  test('makes the holder’s renewals fail', () => {
    const records = new Records();
    records.join();
    const before = records.lease();
    assert.ok(records.fence());
    const renewal = {
      compares: [{ key: keyOf(LEASE, 'a'), revision: before.revision }],
      puts: [put(LEASE, 'a', before.value as LeaseRecord)],
    };
    assert.equal(records.state.commit(renewal), undefined);
    assert.ok(!isIn(records.host().value, 1));
  });

  test('who leaves is waited for by nobody', () => {
    const records = new Records();
    records.join();
    const { value, revision } = records.lease();
    assert.ok(records.state.commit(leave('a', { value: value as LeaseRecord, revision }, records.host())));
    assert.deepEqual([records.lease().value?.state, records.host().value?.state], ['left', 'left']);
  });

  test('drain is a change that compares', () => {
    const records = new Records();
    records.join();
    const { value, revision } = records.host();
    const drain = change({ value: value as HostRecord, revision }, { state: 'draining' });
    assert.ok(records.state.commit(drain));
    assert.equal(records.state.commit(drain), undefined);
    assert.ok(isIn(records.host().value, 1) && !takesGuests(records.host().value));
  });
});

describe('quarantine', () => {
  const host = (to: Partial<HostRecord>): HostRecord => ({
    ...{ name: 'a', incarnation: 1, state: 'active' as const, address: '', labels: {}, fences: 0 },
    capacity: SELF.capacity,
    ...to,
  });

  test('lasts longer the more often a host failed, within bounds', () => {
    assert.deepEqual(
      [3, 4, 5, 50].map((fences) => quarantineMs(fences, DEFAULT_SETTINGS) / 60_000),
      [1, 2, 4, 64],
    );
  });

  test('ends after the time without a break, on probation', () => {
    const flapping = new Flapping(DEFAULT_SETTINGS);
    const bad = host({ state: 'quarantined', fences: 4 });
    assert.equal(flapping.look(bad, 0), undefined);
    assert.equal(flapping.look(bad, 119_999), undefined);
    assert.deepEqual(flapping.look(bad, 120_000), { state: 'active', fences: 2 });
  });

  test('begins anew with another incarnation', () => {
    const flapping = new Flapping(DEFAULT_SETTINGS);
    flapping.look(host({ state: 'quarantined', fences: 3 }), 0);
    flapping.look(host({ state: 'quarantined', fences: 3, incarnation: 2 }), 59_000);
    assert.equal(flapping.look(host({ state: 'quarantined', fences: 3, incarnation: 2 }), 100_000), undefined);
  });

  test('a fence is forgotten after ten good minutes', () => {
    const flapping = new Flapping(DEFAULT_SETTINGS);
    flapping.look(host({ fences: 2 }), 0);
    assert.equal(flapping.look(host({ fences: 2 }), 599_000), undefined);
    assert.deepEqual(flapping.look(host({ fences: 2 }), 600_000), { fences: 1 });
    assert.equal(flapping.look(host({ fences: 1 }), 700_000), undefined);
  });
});
