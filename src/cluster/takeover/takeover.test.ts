import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { GuestSpec, Method, Owner, Placement } from '../model.ts';
import { Random } from '../simulator/random.ts';
import { activeNeeds, incomingNeeds, Ledger, standbyNeeds } from './ledger.ts';
import { type Orphan, planTakeover, type Targets } from './plan-takeover.ts';
import { shares } from './shares.ts';

const GIB = 2 ** 30;

function spec(name: string, more: Partial<GuestSpec> & { priority?: number; floor?: number } = {}): GuestSpec {
  const { priority = 1, floor = 0.5, ...rest } = more;
  return {
    ...{ name, cores: 2, memoryBytes: GIB, diskBytes: 0, methods: ['cold', 'warm', 'hot'], wanted: 'running' },
    requirements: { recoveryTimeMs: 10_000, performanceFloor: floor, priority },
    ...rest,
  };
}

const OWNER: Owner = { host: 'dead', incarnation: 1, generation: 4, phase: 'held' };

function orphan(of: GuestSpec, more: Partial<Orphan> = {}): Orphan {
  return { spec: of, owner: OWNER, placement: undefined, ...more };
}

function placed(...associations: [host: string, method: Method][]): Placement {
  return { associations: associations.map(([host, method]) => ({ host, method })), reason: '', missed: [], everyMs: 0 };
}

function targets(hosts: readonly string[], more: Partial<Targets> = {}): Targets {
  const groups = new Set<string>();
  return {
    hosts,
    lastResort: [],
    mayResort: () => true,
    incarnationOf: () => 1,
    isReady: () => true,
    hasGroup: (host, group) => groups.has(`${host}/${group}`),
    addToGroup: (host, group) => groups.add(`${host}/${group}`),
    ...more,
  };
}

function ledger(hosts: Record<string, number>): Ledger {
  const all = Object.entries(hosts).map(([name, gib]) => ({
    ...{ name, capacity: { cores: 100, memoryBytes: gib * GIB, diskBytes: 1000 * GIB } },
  }));
  return new Ledger(all, 1);
}

describe('the ledger', () => {
  test('keeps room for the loss of any one host, not of all', () => {
    const one = ledger({ a: 10 });
    const needs = activeNeeds(spec('g'));
    for (const source of ['b', 'c', 'd']) for (let i = 0; i < 4; i += 1) one.keep('a', source, needs);
    assert.equal(one.lacks('a', { ...needs, memoryBytes: 6 * GIB }, 'respect'), undefined);
    assert.equal(one.lacks('a', { ...needs, memoryBytes: 6.1 * GIB }, 'respect'), 'memory');
    assert.equal(one.lacks('a', { ...needs, memoryBytes: 10 * GIB }, 'use'), undefined);
    assert.equal(
      one.lacksIfLost('a', 'b', { cores: 0, memoryBytes: 0, diskBytes: 0 }, { ...needs, memoryBytes: 6 * GIB }),
      undefined,
    );
    assert.equal(
      one.lacksIfLost('a', 'b', { cores: 0, memoryBytes: 0, diskBytes: 0 }, { ...needs, memoryBytes: 7 * GIB }),
      'memory',
    );
  });

  test('what is taken and given back, in any order, leaves nothing', () => {
    const random = new Random(3);
    const one = ledger({ a: 64 });
    const taken: (() => void)[] = [];
    for (let i = 0; i < 500; i += 1) {
      const guest = spec(`g${i}`, { memoryBytes: random.whole(1, 8) * GIB, cores: random.whole(1, 8) });
      const method = random.pick(['cold', 'warm', 'hot', 'pair'] as const);
      const source = random.pick(['b', 'c']);
      const move = (sign: 1 | -1): void => {
        one.take('a', standbyNeeds(guest, method), sign);
        one.keep('a', source, incomingNeeds(guest, method), sign);
      };
      move(1);
      taken.push(() => move(-1));
    }
    taken.sort(() => random.next() - 0.5).forEach((back) => back());
    assert.ok(Math.abs(one.used('a').memoryBytes) < 1 && Math.abs(one.used('a').cores) < 1e-6);
    assert.equal(one.lacks('a', { cores: 0, memoryBytes: 64 * GIB, diskBytes: 0 }, 'respect'), undefined);
  });

  test('a standby and what comes with it are what a guest needs', () => {
    const guest = spec('g');
    for (const method of ['cold', 'warm', 'hot', 'pair'] as const) {
      const [has, more, all] = [standbyNeeds(guest, method), incomingNeeds(guest, method), activeNeeds(guest)];
      assert.ok(has.memoryBytes + more.memoryBytes >= all.memoryBytes && has.cores + more.cores >= all.cores, method);
    }
  });
});

describe('a plan', () => {
  test('leaves the place of a standby whose host promised its room to guests: it would be taken back, and given again', () => {
    const guest = spec('g', { memoryBytes: 2 * GIB });
    const books = ledger({ a: 10, b: 10 });
    books.takeStandby('a', standbyNeeds(guest, 'hot'));
    books.take('a', activeNeeds(spec('other', { memoryBytes: 9 * GIB })));
    const { assignments } = planTakeover(
      [orphan(guest, { placement: placed(['a', 'hot']) })],
      targets(['a', 'b']),
      books,
    );
    assert.deepEqual(
      assignments.map(({ target }) => target),
      ['b'],
    );
    for (const host of ['a', 'b']) assert.ok(!books.isPromisedTwice(host));
  });

  test('is in the order of priority, then of time; each has the place that was kept for it', () => {
    const orphans = [
      orphan(spec('low', { priority: 1 }), { placement: placed(['a', 'cold']) }),
      orphan(spec('high', { priority: 9 }), { placement: placed(['b', 'warm']) }),
      orphan(spec('mid', { priority: 5 }), { placement: placed(['a', 'cold']) }),
    ];
    const { assignments, unplaced } = planTakeover(orphans, targets(['a', 'b']), ledger({ a: 10, b: 10 }));
    assert.deepEqual(
      assignments.map(({ guest, target, method, generation }) => [guest, target, method, generation]),
      [
        ['high', 'b', 'warm', 4],
        ['mid', 'a', 'cold', 4],
        ['low', 'a', 'cold', 4],
      ],
    );
    assert.deepEqual(unplaced, {});
  });

  test('where there is not room for all, the most urgent have it, and the others are told why not', () => {
    const orphans = Array.from({ length: 8 }, (_, i) => orphan(spec(`g${i}`, { priority: i, memoryBytes: 3 * GIB })));
    const { assignments, unplaced } = planTakeover(orphans, targets(['a', 'b']), ledger({ a: 8, b: 8 }));
    assert.deepEqual(
      assignments.map(({ guest }) => guest),
      ['g7', 'g6', 'g5', 'g4'],
    );
    assert.deepEqual(
      Object.values(unplaced),
      Array.from({ length: 4 }, () => 'no host has what it needs: memory'),
    );
  });

  test('a hot standby takes over only if it is the one on record; its memory is the guest’s', () => {
    const guest = spec('g', { memoryBytes: 6 * GIB });
    const has = (): Ledger => {
      const one = ledger({ a: 8 });
      one.takeStandby('a', standbyNeeds(guest, 'hot'));
      return one;
    };
    const plan = (owner: Owner, isReady = true) =>
      planTakeover(
        [orphan(guest, { owner, placement: placed(['a', 'hot']) })],
        targets(['a'], { isReady: () => isReady }),
        has(),
      );
    assert.equal(plan({ ...OWNER, sync: 'a' }).assignments[0]?.method, 'hot');
    assert.equal(plan(OWNER).assignments[0]?.method, 'cold');
    assert.equal(plan({ ...OWNER, sync: 'b' }).assignments[0]?.method, 'cold');
    assert.equal(plan({ ...OWNER, sync: 'a' }, false).assignments[0]?.method, 'cold');
  });

  test('guests of a group stay apart', () => {
    const orphans = ['x', 'y', 'z'].map((name) => orphan(spec(name, { group: 'db' })));
    const { assignments, unplaced } = planTakeover(orphans, targets(['a', 'b']), ledger({ a: 100, b: 100 }));
    assert.equal(new Set(assignments.map(({ target }) => target)).size, 2);
    assert.deepEqual(Object.values(unplaced), ['no host has what it needs: another of its group']);
  });

  test('quarantine is the last resort, and a host that gave a guest up the one before', () => {
    const plan = (hosts: string[], lastResort: string[], owner: Owner) =>
      planTakeover([orphan(spec('g'), { owner })], targets(hosts, { lastResort }), ledger({ a: 10, b: 2, q: 10 }))
        .assignments[0]?.target;
    const released: Owner = { ...OWNER, host: 'a', phase: 'released' };
    assert.equal(plan(['a', 'b'], ['q'], released), 'b');
    assert.equal(plan(['a'], ['q'], released), 'a');
    assert.equal(plan([], ['q'], OWNER), 'q');
  });

  test('a new guest is let in only where the loss of its host can be borne', () => {
    const fill = (count: number) =>
      planTakeover(
        Array.from({ length: count }, (_, i) => orphan(spec(`g${i}`), { owner: undefined })),
        targets(['a', 'b', 'c']),
        ledger({ a: 10, b: 10, c: 10 }),
      );
    const { assignments, unplaced } = fill(40);
    assert.ok(assignments.length >= 15 && assignments.length <= 20, `${assignments.length} of 30 GiB`);
    assert.ok(Object.values(unplaced).every((why) => why.startsWith('not admitted: ')));
    // They are spread, though each keeps room on another host.
    const counts = ['a', 'b', 'c'].map((host) => assignments.filter(({ target }) => target === host).length);
    assert.ok(Math.max(...counts) - Math.min(...counts) <= 2, `${counts}`);
    // Whichever host is lost: the others have room for its guests.
    for (const lost of ['a', 'b', 'c']) {
      const left = ledger(
        Object.fromEntries(['a', 'b', 'c'].filter((host) => host !== lost).map((host) => [host, 10])),
      );
      for (const { target } of assignments) if (target !== lost) left.take(target, activeNeeds(spec('g')));
      const orphans = assignments.filter(({ target }) => target === lost).map(({ guest }) => orphan(spec(guest)));
      const again = planTakeover(orphans, targets(['a', 'b', 'c'].filter((host) => host !== lost)), left);
      assert.deepEqual(again.unplaced, {}, lost);
    }
  });

  test('limits hold for random clusters, and nobody is left out while there is room', () => {
    for (let seed = 1; seed <= 200; seed += 1) {
      const random = new Random(seed);
      const hosts = Array.from({ length: random.whole(1, 8) }, (_, i) => `h${i}`);
      const gib = Object.fromEntries(hosts.map((host) => [host, random.whole(2, 30)]));
      const orphans = Array.from({ length: random.whole(1, 60) }, (_, i) =>
        orphan(spec(`g${i}`, { priority: random.whole(0, 9), memoryBytes: random.whole(1, 6) * GIB })),
      );
      const { assignments, unplaced } = planTakeover(orphans, targets(hosts), ledger(gib));
      assert.equal(assignments.length + Object.keys(unplaced).length, orphans.length);
      const free = new Map(hosts.map((host) => [host, (gib[host] ?? 0) * GIB]));
      const bytesOf = (guest: string): number =>
        orphans.find(({ spec: { name } }) => name === guest)?.spec.memoryBytes ?? 0;
      for (const { guest, target } of assignments) free.set(target, (free.get(target) ?? 0) - bytesOf(guest));
      for (const left of free.values()) assert.ok(left >= 0);
      for (const guest of Object.keys(unplaced)) assert.ok([...free.values()].every((left) => left < bytesOf(guest)));
    }
  });
});

describe('shares', () => {
  test('on a loaded host everybody has its floor, and the rest goes by weight', () => {
    const given = shares(
      [
        { guest: 'web', cores: 4, floor: 0.5, weight: 10 },
        { guest: 'batch', cores: 8, floor: 0.125, weight: 1 },
      ],
      4,
    );
    assert.ok(Math.abs((given.get('web') ?? 0) - 2.909) < 0.001);
    assert.ok(Math.abs((given.get('batch') ?? 0) - 1.091) < 0.001);
  });

  test('hold for random hosts: floors, no more than is there, no more than one can use, nothing idle while somebody wants it', () => {
    for (let seed = 1; seed <= 500; seed += 1) {
      const random = new Random(seed);
      const wishes = Array.from({ length: random.whole(1, 20) }, (_, i) => ({
        ...{
          guest: `g${i}`,
          cores: random.whole(1, 8),
          floor: random.pick([0, 0.25, 0.5, 1]),
          weight: random.whole(1, 10),
        },
      }));
      const floors = wishes.reduce((sum, { cores, floor }) => sum + cores * floor, 0);
      const wanted = wishes.reduce((sum, { cores }) => sum + cores, 0);
      const host = floors + random.whole(0, 20);
      const given = shares(wishes, host);
      const sum = [...given.values()].reduce((a, b) => a + b, 0);
      assert.ok(Math.abs(sum - Math.min(host, wanted)) < 1e-6);
      for (const { guest, cores, floor } of wishes) {
        const has = given.get(guest) ?? 0;
        assert.ok(has >= cores * floor - 1e-9 && has <= cores + 1e-9);
      }
    }
  });
});
