import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Reassembly } from './fragments.ts';
import { newIpv4Header } from './ipv4.ts';
import { Packet } from './packet.ts';
import { Simulation } from './simulation.testing.ts';
import { pattern } from './test-bed.testing.ts';

const AT = 34;

function bed(limit = 4) {
  const simulation = new Simulation(1);
  const reassembly = new Reassembly(simulation, limit, 15_000);
  const packet = new Packet();
  /** Feeds one fragment of `whole`; returns the datagram if it completes it. */
  const add = (
    whole: Uint8Array,
    start: number,
    end: number,
    more: boolean,
    identification = 1,
  ): Uint8Array | undefined => {
    const ip = newIpv4Header();
    Object.assign(ip, { source: 1, destination: 2, protocol: 17, identification, payloadBytes: end - start });
    ip.fragmentOffset = start;
    ip.moreFragments = more;
    packet.bytes.set(whole.subarray(start, end), AT);
    const done = reassembly.add(ip, packet, AT);
    if (done === undefined) return undefined;
    assert.equal(ip.fragmentOffset, 0);
    assert.equal(ip.moreFragments, false);
    return done.bytes.slice(AT, AT + ip.payloadBytes);
  };
  return { simulation, reassembly, add };
}

test('fragments in any order make the datagram, duplicates included', () => {
  for (let seed = 1; seed <= 50; seed += 1) {
    const chance = new Simulation(seed);
    const whole = pattern(chance.between(1, 65515), seed);
    const step = chance.between(64, 1000) * 8;
    const cuts: [number, number][] = [];
    for (let at = 0; at < whole.length; at += step) cuts.push([at, Math.min(at + step, whole.length)]);
    const order = cuts.map((cut) => ({ cut, key: chance.random() })).sort((a, b) => a.key - b.key);
    const { add } = bed();
    let result: Uint8Array | undefined;
    for (const [index, { cut }] of order.entries()) {
      const [start, end] = cut;
      if (index > 0 && index < order.length - 1 && chance.chance(0.2)) add(whole, start, end, end < whole.length);
      const done = add(whole, start, end, end < whole.length);
      assert.ok(done === undefined || index === order.length - 1);
      result = done;
    }
    assert.ok(result, `seed ${seed}`);
    assert.equal(Buffer.compare(result, whole), 0);
  }
});

test('what contradicts itself is dropped whole', () => {
  const whole = pattern(4000);
  const overlap = bed();
  overlap.add(whole, 0, 1000, true);
  overlap.add(whole, 992, 2000, true);
  assert.equal(overlap.add(whole, 1000, 4000, false), undefined);
  assert.ok(overlap.reassembly.dropped >= 2);

  const twoEnds = bed();
  twoEnds.add(whole, 2000, 4000, false);
  twoEnds.add(whole, 1000, 3000, false);
  assert.equal(twoEnds.add(whole, 0, 2000, true), undefined);

  const beyondTheEnd = bed();
  beyondTheEnd.add(whole, 1000, 2000, false);
  beyondTheEnd.add(whole, 2000, 3000, true);
  assert.equal(beyondTheEnd.add(whole, 0, 1000, true), undefined);

  const empty = bed();
  assert.equal(empty.add(whole, 0, 0, true), undefined);
  assert.equal(empty.add(whole, 0, 999, true), undefined, 'a middle piece that is no multiple of 8');
  assert.equal(empty.reassembly.dropped, 2);

  const huge = bed();
  assert.equal(huge.add(new Uint8Array(70_000), 65_528, 66_000, false), undefined, 'the ping of death');
  assert.equal(huge.reassembly.dropped, 1);
});

test('tables are bounded in number, pieces and time', () => {
  const whole = pattern(2000);
  const many = bed(4);
  for (let id = 1; id <= 10; id += 1) many.add(whole, 0, 1000, true, id);
  assert.equal(many.reassembly.dropped, 6);
  assert.equal(many.add(whole, 1000, 2000, false, 1), undefined, 'the oldest are gone');
  assert.ok(many.add(whole, 1000, 2000, false, 10));

  const tiny = bed();
  const large = pattern(4000);
  for (let at = 0; at < 3992; at += 8) tiny.add(large, at, at + 8, true);
  assert.equal(tiny.add(large, 3992, 4000, false), undefined, 'too many pieces');

  const slow = bed();
  slow.add(whole, 0, 1000, true);
  slow.simulation.run(16_000);
  assert.equal(slow.add(whole, 1000, 2000, false), undefined);
  assert.equal(slow.reassembly.dropped, 1);
});
