import assert from 'node:assert/strict';
import { test } from 'node:test';
import { must } from '../../base/assert.ts';
import type { InterruptTransaction } from '../../devices/index.ts';
import { Random } from '../../engine/random.testing.ts';
import { FakeFabric } from './fabric.testing.ts';
import { machineRequester } from './fabric.ts';

const LINE = 32;
/** 16 functions on a line: device numbers of bus 0. */
const sixteen = Array.from({ length: 16 }, (_, device) => device << 3);

for (const relay of [true, false]) {
  const mode = relay ? 'relay' : 'plain wire';

  test(`${mode}: functions of two partitions share a port and a line, and each partition sees its own`, () => {
    const fake = new FakeFabric({ relay });
    for (const partition of [0, 1]) for (const device of [8, 16]) fake.add(partition, device, LINE);
    fake.assert(0, 8);
    fake.assert(0, 16);
    assert.deepEqual(fake.news(), ['p0 line 32 up']);
    fake.assert(1, 8);
    assert.deepEqual(fake.news(), ['p1 line 32 up']);
    fake.deassert(0, 8);
    assert.deepEqual(fake.news(), [], 'another holds it');
    fake.deassert(0, 16);
    assert.deepEqual(fake.news(), ['p0 line 32 down']);
    fake.deassert(1, 8);
    assert.deepEqual(fake.news(), ['p1 line 32 down']);
  });

  test(`${mode}: functions that share a message are told apart by their partitions, and by routes`, () => {
    const fake = new FakeFabric({ relay });
    fake.add(0, 8);
    fake.add(1, 8);
    fake.add(1, 16, LINE);
    for (const [partition, requester] of [
      [0, 8],
      [1, 8],
      [1, 16],
    ] as const)
      fake.message(partition, requester, 5);
    assert.deepEqual(fake.news(), ['p0 message 28000000 5', 'p1 message 28000000 5', 'p1 message 28000000 5']);
    const { service } = fake.fabric;
    const from = { address: 0x2800_0000, data: 5 };
    assert.ok(service.route(machineRequester(1, 8), from, { kind: 'message', address: 0x2_2800_1000, data: 9 }));
    assert.ok(service.route(machineRequester(1, 16), from, { kind: 'source', source: LINE }));
    for (const [partition, requester] of [
      [0, 8],
      [1, 8],
      [1, 16],
    ] as const)
      fake.message(partition, requester, 5);
    assert.deepEqual(fake.news(), [
      'p0 message 28000000 5',
      'p1 message 228001000 9',
      'p1 line 32 up',
      'p1 line 32 down',
    ]);
    fake.message(1, 8, 6);
    assert.deepEqual(fake.news(), ['p1 message 28000000 6'], 'another message has no route');
    service.unroute(machineRequester(1, 8), from);
    fake.message(1, 8, 5);
    assert.deepEqual(fake.news(), ['p1 message 28000000 5']);
  });

  test(`${mode}: a function moves from one partition to another while its pin is asserted`, () => {
    const fake = new FakeFabric({ relay });
    const requester = machineRequester(0, 8);
    const { service } = fake.fabric;
    fake.add(0, 8, LINE);
    fake.assert(0, 8);
    service.unassign(requester);
    assert.deepEqual(fake.news(), ['p0 line 32 up', 'p0 line 32 down']);
    fake.message(0, 8, 3);
    fake.deassert(0, 8);
    fake.assert(0, 8);
    assert.deepEqual(fake.news(), [], 'it is nobody’s');
    service.assign(requester, { partition: 4, sources: [7] });
    assert.deepEqual(fake.news(), ['p4 line 7 up'], 'its level is there, its message is gone');
    fake.message(0, 8, 4);
    fake.deassert(0, 8);
    assert.deepEqual(fake.news(), ['p4 message 28000000 4', 'p4 line 7 down']);
    fake.fabric.remove({ partition: 0, requester: 8 });
    fake.assert(0, 8);
    assert.deepEqual(fake.news(), [], 'it is gone');
    assert.equal(fake.fabric.stats().unknown, 1);
    fake.add(0, 8, LINE);
    assert.deepEqual(fake.news(), [], 'one that comes in its place begins anew');
  });

  test(`${mode}: 16 functions on a line: ${relay ? 'no device is polled' : 'each interrupt polls them all'}`, () => {
    const fake = new FakeFabric({ relay });
    for (const requester of sixteen) fake.add(0, requester, LINE);
    for (const requester of sixteen) fake.assert(0, requester);
    for (const requester of sixteen) fake.message(0, requester, 1);
    const { polls, pollsAvoided, interrupts, messages, requesters } = fake.fabric.stats(0);
    assert.equal(interrupts, 32);
    assert.equal(messages, 32);
    assert.deepEqual([polls, pollsAvoided], relay ? [0, 512] : [512, 0]);
    for (const { polls: own } of Object.values(requesters)) assert.equal(own, relay ? 0 : 32);
    assert.equal(Object.keys(requesters)[0], '00:00.0');
  });

  test(`${mode}: who interrupts too often waits for the end of its window, and nobody else`, () => {
    const fake = new FakeFabric({ relay, throttle: { most: 3, windowTicks: 1000 } });
    fake.add(0, 8, LINE);
    fake.add(0, 16);
    for (let i = 0; i < 5; i++) fake.message(0, 8, i);
    fake.assert(0, 8);
    fake.message(0, 16, 9);
    assert.deepEqual(fake.news(), [...[0, 1, 2].map((data) => `p0 message 28000000 ${data}`), 'p0 message 28000000 9']);
    assert.deepEqual(fake.asked, [1000], 'one look is asked for');
    fake.ticks += 400;
    fake.fabric.service.look();
    assert.deepEqual(fake.news(), [], 'too early');
    assert.deepEqual(fake.asked, [1000, 600]);
    fake.ticks += 600;
    fake.fabric.service.look();
    assert.deepEqual(fake.news(), ['p0 line 32 up', 'p0 message 28000000 3', 'p0 message 28000000 4']);
    fake.deassert(0, 8);
    fake.assert(0, 8);
    fake.deassert(0, 8);
    assert.deepEqual(fake.news(), ['p0 line 32 down'], 'what falls, falls at once');
    const { deferrals, delivered, interrupts } = must(fake.fabric.stats(0).requesters['00:01.0']);
    assert.deepEqual({ deferrals, delivered, interrupts }, { deferrals: 2, delivered: 6, interrupts: 7 });
    fake.fabric.settle();
    assert.deepEqual(fake.news(), ['p0 line 32 up', 'p0 line 32 down'], 'that it rose is not lost');
    fake.ticks += 5000;
    fake.fabric.service.look();
    assert.deepEqual(fake.news(), []);
  });

  test(`${mode}: a storm ${relay ? 'costs nobody else anything' : 'is one of polls'}`, () => {
    const fake = new FakeFabric({ relay, throttle: { most: 3, windowTicks: 1000 } });
    fake.add(0, 8, LINE);
    fake.add(1, 8, LINE);
    for (let i = 0; i < 500; i++) {
      fake.message(0, 8, i % 5);
      fake.assert(0, 8);
      fake.deassert(0, 8);
    }
    fake.assert(0, 8);
    const { messages, polls, requesters } = fake.fabric.stats();
    assert.equal(must(requesters['0/00:01.0']).interrupts, 1001);
    if (relay) assert.ok(messages < 10 && polls === 0, `${messages} messages`);
    else assert.ok(messages === 1501 && polls === 2 * messages, `${messages} messages, ${polls} polls`);
    fake.news();
    fake.assert(1, 8);
    fake.deassert(1, 8);
    assert.deepEqual(fake.news(), ['p1 line 32 up', 'p1 line 32 down'], 'another partition is as it was');
    for (let windows = 0; windows < 3; windows++) {
      fake.ticks += 1000;
      fake.fabric.service.look();
    }
    const seen = fake.news();
    assert.equal(seen[0], 'p0 line 32 up');
    assert.equal(new Set(seen).size, 6, 'its level, and each of its messages');
    fake.deassert(0, 8);
    assert.deepEqual(fake.news(), ['p0 line 32 down']);
  });

  test(`${mode}: nothing that a function sends breaks anything, or reaches others`, () => {
    const random = new Random(relay ? 3 : 4);
    const fake = new FakeFabric({
      relay,
      functions: 5,
      ports: 3,
      identifiers: 3,
      throttle: { most: 40, windowTicks: 100 },
    });
    for (let i = 0; i < 9; i++) fake.add(i % 2, i << 8, 1 + i);
    for (let i = 0; i < 20_000; i++) {
      const partition = random.below(3);
      const kind = (['assert', 'deassert', 'message'] as const)[random.below(3)] ?? 'message';
      const odd = [-1, 0, 5, 1e300, Number.NaN, 2 ** 53, 0xffff_ffff, 0.5];
      const address = random.chance(0.8) ? 0x2800_0000 + 4 * random.below(3) : must(odd[random.below(odd.length)]);
      const data = random.chance(0.8) ? 1 + random.below(4) : must(odd[random.below(odd.length)]);
      const requester = random.chance(0.9) ? random.below(12) << 8 : must(odd[random.below(odd.length)]);
      fake.send(partition, { requester, kind, address, data });
      fake.ticks += random.below(10);
      if (random.chance(0.01)) fake.fabric.service.look();
    }
    fake.fabric.settle();
    assert.ok(fake.log.length > 1000);
    for (const line of fake.log) assert.match(line, /^p[01] (line [1-9] (up|down)|message 2800000[048] \d+)$/);
    const { requesters, unknown } = fake.fabric.stats();
    assert.ok(unknown > 100);
    for (const [name, { interrupts, merged, delivered, dropped }] of Object.entries(requesters))
      assert.ok(interrupts - merged <= delivered + dropped && delivered <= interrupts - merged, name);
  });
}

test('with relay and with a plain wire the same is delivered', () => {
  for (let seed = 1; seed <= 40; seed++) {
    const logs = [true, false].map((relay) => {
      const random = new Random(seed);
      const fake = new FakeFabric({ relay, identifiers: 4, throttle: { most: 10, windowTicks: 1000 } });
      for (let i = 0; i < 12; i++) fake.add(i % 3, (i << 3) | ((i & 1) << 8), 1 + (i % 4));
      for (let i = 0; i < 300; i++) {
        const one = random.below(12);
        const requester = (one << 3) | ((one & 1) << 8);
        const kind = (['assert', 'deassert', 'message'] as const)[random.below(3)] ?? 'message';
        const transaction: InterruptTransaction = { requester, kind, address: 0x2800_0000, data: 1 + random.below(4) };
        fake.send(one % 3, transaction);
        if (random.chance(0.05)) fake.fabric.service.unassign(machineRequester(one % 3, requester));
        else if (random.chance(0.1)) {
          fake.fabric.service.unassign(machineRequester(one % 3, requester));
          fake.fabric.service.assign(machineRequester(one % 3, requester), {
            partition: random.below(3),
            sources: [1, 2, 3, 4],
          });
        }
        fake.ticks += random.below(100);
        if (random.chance(0.1)) fake.fabric.service.look();
      }
      fake.fabric.settle();
      return fake.log;
    });
    assert.deepEqual(logs[0], logs[1], `seed ${seed}`);
    assert.ok(must(logs[0]).length > 50);
  }
});

test('rates and latencies are told for each function', () => {
  const fake = new FakeFabric({ relay: true, throttle: { most: 100, windowTicks: 5_000_000 } });
  fake.add(0, 8);
  fake.add(0, 16);
  for (let i = 0; i < 200; i++) {
    fake.message(0, 8, 1);
    fake.ticks += 100_000;
  }
  fake.message(0, 16, 1);
  const { requesters } = fake.fabric.stats(0);
  const [often, once] = [must(requesters['00:01.0']), must(requesters['00:02.0'])];
  assert.deepEqual([often.perSecond, often.delivered, often.deferrals], [100, 200, 0]);
  assert.deepEqual(once.latencyUs, { half: 0.1, most99: 0.1, most: 0.1 });
  // 150 in a window for 100: those beyond it wait for its end.
  for (let i = 0; i < 150; i++) fake.message(0, 16, i % 60);
  fake.ticks += 5_000_000;
  fake.fabric.service.look();
  const late = must(fake.fabric.stats(0).requesters['00:02.0']);
  assert.equal(late.delivered + late.merged, 151);
  assert.equal(late.deferrals, 1);
  assert.ok(must(late.latencyUs).most >= 500_000, JSON.stringify(late));
});
