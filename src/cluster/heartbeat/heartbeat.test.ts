import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { DEFAULT_SETTINGS } from '../settings.ts';
import { Random } from '../simulator/random.ts';
import { BEAT_BYTES, decodeDatagram, encodeBeat, encodeDetails, encodeDirect, type Head } from './datagrams.ts';
import { CONDITIONS, Digest, type GuestDetail } from './digest.ts';
import { Master } from './master.ts';
import { heartbeatReport } from './report.ts';
import { Ring } from './ring.ts';

const HEAD: Head = {
  kind: 'beat',
  incarnation: 3,
  sequence: 77,
  digest: { high: 0xdeadbeef, low: 0x12345678 },
  guests: 1000,
  notWell: 2,
  leaseLeftMs: 2100,
};

function details(count: number): GuestDetail[] {
  return Array.from({ length: count }, (_, i) => ({
    ...{ guest: `guest-${i}-ü`, generation: i % 7 },
    condition: CONDITIONS[i % CONDITIONS.length] ?? 'well',
  }));
}

describe('datagrams', () => {
  test('a beat has one size, whatever it says', () => {
    assert.equal(encodeBeat(HEAD).byteLength, BEAT_BYTES);
    assert.equal(encodeBeat({ ...HEAD, guests: 0, notWell: 0 }).byteLength, BEAT_BYTES);
    assert.deepEqual(decodeDatagram(encodeBeat(HEAD)), { ...HEAD, part: 0, parts: 1, details: [] });
  });

  test('details come in parts that fit in a packet, and together are what was sent', () => {
    for (const count of [0, 1, 40, 1000]) {
      const parts = encodeDetails(HEAD, details(count));
      assert.ok(parts.every(({ byteLength }) => byteLength <= 1200));
      const back = parts.map((part) => decodeDatagram(part));
      assert.deepEqual(
        back.flatMap((one) => one?.details ?? []),
        details(count),
      );
      assert.deepEqual(
        back.map((one) => [one?.part, one?.parts]),
        parts.map((_, i) => [i, parts.length]),
      );
    }
  });

  test('a beat from slave to slave names its guest', () => {
    assert.equal(decodeDatagram(encodeDirect(HEAD, 'web'))?.details[0]?.guest, 'web');
  });

  test('anything else is refused: cut, longer, flipped bits, noise', () => {
    const random = new Random(1);
    const good = encodeDetails(HEAD, details(20))[0] ?? new Uint8Array();
    for (let length = 0; length < good.length; length += 1)
      assert.equal(decodeDatagram(good.slice(0, length)), undefined);
    assert.equal(decodeDatagram(Uint8Array.from([...good, 0])), undefined);
    for (let i = 0; i < 20_000; i += 1) {
      const bytes = random.chance(0.5) ? good.slice() : new Uint8Array(random.whole(0, 1300));
      for (let flip = 0; flip < 4; flip += 1) bytes[random.whole(0, bytes.length)] = random.whole(0, 255);
      const back = decodeDatagram(bytes);
      if (back !== undefined) assert.ok(back.details.length <= 1300 && back.part < back.parts);
    }
  });
});

describe('digest', () => {
  test('is the same in any order, and another after any change', () => {
    const all = details(200);
    const digest = Digest.of(all);
    assert.deepEqual({ ...Digest.of([...all].reverse()) }, { ...digest });
    const seen = new Set([`${digest.high} ${digest.low}`]);
    for (const [i, one] of all.entries())
      for (const change of [
        { generation: one.generation + 1 },
        { condition: one.condition === 'well' ? 'gone' : 'well' } as const,
      ]) {
        const other = Digest.of(all.map((detail, j) => (j === i ? { ...detail, ...change } : detail)));
        seen.add(`${other.high} ${other.low}`);
      }
    assert.equal(seen.size, 401);
  });
});

describe('ring', () => {
  test('a host has as many peers in a large cluster as in a small one, and is a peer of its peers', () => {
    for (const count of [1, 2, 3, 5, 6, 100, 1000]) {
      const hosts = Array.from({ length: count }, (_, i) => `host${i}`);
      const ring = new Ring(hosts);
      for (const host of hosts) {
        const peers = ring.peersOf(host, 2);
        assert.equal(peers.length, Math.min(4, count - 1));
        for (const peer of peers) assert.ok(ring.peersOf(peer, 2).includes(host));
      }
    }
    assert.deepEqual(new Ring(['a']).peersOf('z', 2), []);
  });

  test('who leaves changes its neighbours’ peers alone', () => {
    const hosts = Array.from({ length: 100 }, (_, i) => `host${i}`);
    const [before, after] = [new Ring(hosts), new Ring(hosts.slice(1))];
    const changed = hosts.slice(1).filter((host) => `${before.peersOf(host, 2)}` !== `${after.peersOf(host, 2)}`);
    assert.deepEqual(changed.sort(), before.peersOf('host0', 2).sort());
  });
});

/** Two masters, and a wire between them that can be cut. */
class Pair {
  nowMs = 0;
  isCut = false;
  readonly said: string[] = [];
  a: Master;
  readonly b: Master;
  readonly #make: (name: string, to: () => Master) => Master;

  constructor() {
    const clock = { nowMs: () => this.nowMs };
    this.#make = (name, to) =>
      new Master(
        DEFAULT_SETTINGS,
        clock,
        { send: (_, bytes) => (this.isCut ? undefined : to().receive(name, bytes)) },
        { suspected: (host, silentMs) => this.said.push(`${name}: ${host} ${silentMs !== undefined}`) },
      );
    this.b = this.#make('b', () => this.a);
    this.a = this.begin();
    this.b.setPeers(['a']);
  }

  /** A daemon of host a, the first or one that goes on with its lease. */
  begin(): Master {
    this.a = this.#make('a', () => this.b);
    this.a.setPeers(['b']);
    this.a.leaseLeftMs = 2000;
    return this.a;
  }

  run(ms: number): void {
    for (const end = this.nowMs + ms; this.nowMs < end; ) {
      this.nowMs += DEFAULT_SETTINGS.beatMs;
      this.a.tick();
      this.b.tick();
    }
  }

  sent() {
    return { ...this.a.counters.sent.beat };
  }
}

describe('masters', () => {
  test('the switch is thrown while they run: with direct a packet more for each pair, and then none again', () => {
    const pair = new Pair();
    pair.a.setPairs(['x', 'y', 'z'].map((guest) => ({ guest, host: 'b' })));
    const sent = (ms: number) => {
      const before = pair.a.counters.sent.direct.packets;
      pair.run(ms);
      return pair.a.counters.sent.direct.packets - before;
    };
    assert.equal(sent(1000), 0);
    pair.a.heartbeats = 'direct';
    assert.equal(sent(1000), 12);
    assert.equal(pair.b.counters.beatsToStandby, 12);
    pair.a.heartbeats = 'constant';
    assert.equal(sent(1000), 0);
    assert.equal(heartbeatReport(pair.a).mode, 'constant');
  });

  test('report their peers: how long they have been silent, and what they said last', () => {
    const pair = new Pair();
    const [before] = heartbeatReport(pair.b).peers;
    assert.deepEqual([before?.last, before?.isSuspected], [undefined, false]);
    pair.run(1000);
    pair.isCut = true;
    pair.run(2000);
    const { mode, counters, peers } = heartbeatReport(pair.b);
    assert.deepEqual([mode, counters.sent.beat.packets], ['constant', 12]);
    assert.deepEqual(
      peers.map(({ host, isSuspected, last }) => [host, isSuspected, last]),
      [['a', true, { guests: 0, notWell: 0, leaseLeftMs: 2000 }]],
    );
    assert.ok((peers[0]?.silentMs ?? 0) >= 1000);
  });

  test('a silent peer is suspected after 1.0 to 1.5 s, once, and heard again with the first beat', () => {
    const pair = new Pair();
    pair.run(5000);
    pair.isCut = true;
    pair.run(1000);
    assert.deepEqual(pair.said, []);
    pair.run(500);
    assert.deepEqual(pair.said.sort(), ['a: b true', 'b: a true']);
    pair.run(10_000);
    pair.isCut = false;
    pair.run(500);
    assert.deepEqual(pair.said.slice(2).sort(), ['a: b false', 'b: a false']);
  });

  test('a daemon that was started again, and goes on with the lease of the one before, is heard', () => {
    const pair = new Pair();
    pair.run(60_000);
    pair.begin();
    pair.run(5000);
    assert.deepEqual(pair.said, []);
  });

  test('who stood still itself suspects nobody for that', () => {
    const pair = new Pair();
    pair.run(1000);
    pair.nowMs += 8000;
    pair.a.tick();
    assert.deepEqual(pair.said, []);
  });

  test('details are pulled when the digest has changed, once', () => {
    const pair = new Pair();
    pair.a.slaves.expect('web', 1, 'active', 0, 60_000);
    pair.run(1000);
    assert.deepEqual([...pair.b.peers][0]?.details, [{ guest: 'web', generation: 1, condition: 'starting' }]);
    assert.equal(pair.b.counters.sent.pull.packets, 1);
    pair.a.beat({ guest: 'web', generation: 1, isApplicationWell: true, role: 'active' });
    pair.run(250);
    pair.a.beat({ guest: 'web', generation: 1, isApplicationWell: true, role: 'active' });
    pair.run(2500);
    assert.equal([...pair.b.peers][0]?.details[0]?.condition, 'well');
    assert.equal(pair.b.counters.sent.pull.packets, 2);
  });

  test('beats are as many and as large, whatever the number of guests and what they do', () => {
    const traffic = [0, 1, 10, 100, 1000].map((guests) => {
      const pair = new Pair();
      for (let i = 0; i < guests; i += 1) pair.a.slaves.expect(`g${i}`, 1, 'active', 0, 1000);
      pair.run(10_000);
      return pair.sent();
    });
    for (const one of traffic) assert.deepEqual(one, { packets: 40, bytes: 40 * BEAT_BYTES });
  });

  test('a slave that says nothing is silent; while the machines are paused for want of a lease, that time does not count', () => {
    const pair = new Pair();
    const condition = () => pair.a.slaves.conditionOf('web');
    pair.a.slaves.expect('web', 1, 'active', 0, 5000);
    pair.run(4000);
    assert.equal(condition(), 'starting');
    pair.a.beat({ guest: 'web', generation: 1, isApplicationWell: true, role: 'active' });
    pair.a.leaseLeftMs = 0;
    pair.run(60_000);
    assert.equal(condition(), 'well');
    pair.a.leaseLeftMs = 2000;
    pair.run(2750);
    assert.equal(condition(), 'well');
    pair.run(500);
    assert.equal(condition(), 'silent');
    pair.a.beat({ guest: 'web', generation: 0, isApplicationWell: true, role: 'active' });
    assert.equal(condition(), 'silent', 'a beat of another generation is not its');
    pair.a.beat({ guest: 'web', generation: 1, isApplicationWell: false, role: 'active' });
    assert.equal(condition(), 'application-failed');
    assert.equal(pair.a.slaves.notWell, 1);
  });

  test('old beats, doubled and reordered ones prove nothing', () => {
    const pair = new Pair();
    pair.run(1000);
    const peer = [...pair.a.peers][0];
    assert.ok(peer);
    const old = decodeDatagram(encodeBeat({ ...HEAD, incarnation: 0, sequence: 1 }));
    assert.ok(old);
    peer.silentMs = 900;
    peer.heard(old, 0);
    assert.equal(peer.silentMs, 900);
  });
});
