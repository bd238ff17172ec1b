/** Path failures in virtual time: how fast they are switched, what is lost, what the guest and the segment hear of it. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Simulation } from '../simulation.testing.ts';
import type { UplinkOptions } from './ports.ts';
import { GUEST_MAC, HOST_IP, Lab, missing, type SimulatedUplink, traffic } from './segment.testing.ts';

interface Bed {
  readonly lab: Lab;
  readonly a: SimulatedUplink;
  readonly b: SimulatedUplink;
  readonly guest: ReturnType<Lab['guest']>;
}

function bed(options: Partial<UplinkOptions> = {}, seed = 1, paths: ConstructorParameters<typeof Lab>[1] = {}): Bed {
  const lab = new Lab(new Simulation(seed), paths);
  const a = lab.uplink('a', options);
  const b = lab.uplink('b', options);
  const guest = lab.guest(['a', 'b']);
  guest.station.announce();
  lab.host.announce();
  lab.simulation.run(3000);
  assert.equal(lab.inForce(), 'a');
  return { lab, a, b, guest };
}

const ARP = { targets: [HOST_IP] };

/** Cuts the path in force, and lets traffic run over it: how long until the switch, what was lost either way. */
function fail({ lab, a, guest }: Bed, how: 'cut' | 'silence'): { ms: number; lost: number } {
  const running = traffic(lab, guest.station, lab.host);
  lab.simulation.run(503);
  const failedMs = lab.simulation.nowMs();
  a[how](true);
  assert.ok(lab.simulation.until(() => lab.inForce() === 'b', 1000));
  const ms = lab.simulation.nowMs() - failedMs;
  lab.simulation.run(500);
  running.stop();
  lab.simulation.run(100);
  const lost = Math.max(missing(lab.host, running.sent).length, missing(guest.station, running.sent).length);
  return { ms, lost };
}

describe('a path fails', () => {
  test('carrier: the mapping changes in the same moment, and at most one frame of 100 a second is lost', () => {
    for (let seed = 1; seed <= 20; seed += 1) {
      const { ms, lost } = fail(bed(ARP, seed), 'cut');
      assert.equal(ms, 0);
      assert.ok(lost <= 1, `${lost} lost`);
    }
  });

  test('silently, hosts are asked: three probes of 10 ms', () => {
    for (let seed = 1; seed <= 50; seed += 1) {
      const { ms, lost } = fail(bed(ARP, seed), 'silence');
      assert.ok(ms > 20 && ms <= 41, `${ms} ms`);
      assert.ok(lost <= 5, `${lost} lost`);
    }
  });

  test('silently, uplinks ask each other: as fast, and the right one is blamed', () => {
    for (let seed = 1; seed <= 50; seed += 1) {
      const { ms, lost } = fail(bed({}, seed), 'silence');
      assert.ok(ms > 20 && ms <= 41, `${ms} ms`);
      assert.ok(lost <= 5, `${lost} lost`);
    }
  });

  test('with failover off nothing is switched, and the session dies', () => {
    const { lab, a, guest } = bed(ARP, 1, { failover: false });
    const running = traffic(lab, guest.station, lab.host);
    a.silence(true);
    lab.simulation.run(5000);
    assert.notEqual(lab.inForce(), 'b');
    assert.ok(missing(lab.host, running.sent).length >= 499);
  });

  test('with failover off carrier loss is the guest’s too', () => {
    const { lab, a, guest } = bed(ARP, 1, { failover: false });
    a.cut(true);
    lab.simulation.run(100);
    assert.deepEqual(guest.links, [true, false]);
    a.cut(false);
    lab.simulation.run(3000);
    assert.deepEqual([lab.inForce(), guest.links], ['a', [true, false, true]]);
  });

  test('the backup fails silently: nothing is switched, also when uplinks ask each other', () => {
    for (const options of [ARP, {}]) {
      const { lab, b, guest } = bed(options);
      traffic(lab, guest.station, lab.host);
      b.silence(true);
      lab.simulation.run(5000);
      assert.equal(lab.inForce(), 'a');
      assert.equal(lab.paths.report().uplinks[1]?.condition, 'silent');
    }
  });

  test('the segment hears at once, and some times more, where the guest is', () => {
    const { lab, a } = bed(ARP);
    lab.host.announced.length = 0;
    const failedMs = lab.simulation.nowMs();
    a.cut(true);
    lab.simulation.run(2000);
    const told = lab.host.announced.filter(({ mac }) => mac === GUEST_MAC).map(({ atMs }) => atMs - failedMs);
    assert.equal(told.length, 5);
    [0, 20, 100, 300, 1000].forEach((ms, i) => {
      assert.ok(Math.abs((told[i] ?? 0) - ms - 2) <= 2, `${told[i]}`);
    });
    assert.equal(lab.bridge.table.get(GUEST_MAC), 2);
  });

  test('a bridge with a stale entry is put right by the announcement', () => {
    const { lab, a, guest } = bed(ARP);
    a.silence(true);
    assert.equal(lab.bridge.table.get(GUEST_MAC), a.bridgePort);
    assert.ok(lab.simulation.until(() => lab.inForce() === 'b', 100));
    lab.simulation.run(5);
    assert.notEqual(lab.bridge.table.get(GUEST_MAC), a.bridgePort);
    lab.host.sendNumber(7, GUEST_MAC);
    lab.simulation.run(5);
    assert.equal(guest.station.got.at(-1)?.number, 7);
  });
});

describe('a path comes back', () => {
  function failAndReturn(failback: 'always' | 'better' | 'failure', speeds: [number, number]): string | undefined {
    const lab = new Lab(new Simulation(1));
    const a = lab.uplink('a', { ...ARP, speedMbps: speeds[0] });
    lab.uplink('b', { ...ARP, speedMbps: speeds[1] });
    lab.guest(['a', 'b'], { failback });
    lab.simulation.run(1000);
    a.cut(true);
    lab.simulation.run(1000);
    a.cut(false);
    lab.simulation.run(5000);
    return lab.inForce();
  }

  test('the policies, as bonding has them', () => {
    assert.equal(failAndReturn('always', [1000, 1000]), 'a');
    assert.equal(failAndReturn('failure', [1000, 1000]), 'b');
    assert.equal(failAndReturn('better', [1000, 1000]), 'b');
    assert.equal(failAndReturn('better', [10_000, 1000]), 'a');
  });

  test('not before it was well for a while', () => {
    const { lab, a } = bed(ARP);
    a.cut(true);
    lab.simulation.run(200);
    a.cut(false);
    const returnedMs = lab.simulation.nowMs();
    assert.ok(lab.simulation.until(() => lab.inForce() === 'a', 5000));
    const ms = lab.simulation.nowMs() - returnedMs;
    assert.ok(ms >= 500 && ms < 520, `${ms}`);
  });

  test('nothing is lost by going back', () => {
    const running = bed(ARP);
    const { lab, a, guest } = running;
    a.cut(true);
    lab.simulation.run(100);
    a.cut(false);
    const flow = traffic(lab, guest.station, lab.host);
    assert.ok(lab.simulation.until(() => lab.inForce() === 'a', 5000));
    lab.simulation.run(200);
    flow.stop();
    lab.simulation.run(10);
    assert.deepEqual(missing(lab.host, flow.sent), []);
    assert.deepEqual(missing(guest.station, flow.sent), []);
  });

  test('all paths lost is carrier lost in the guest, and the first to return carrier regained', () => {
    for (const how of ['cut', 'silence'] as const) {
      const { lab, a, b, guest } = bed(ARP);
      a[how](true);
      lab.simulation.run(100);
      assert.deepEqual(guest.links, [true], 'one path is left');
      b[how](true);
      lab.simulation.run(100);
      assert.deepEqual([guest.links, lab.inForce()], [[true, false], undefined]);
      const kinds = lab.paths.events().map(({ kind }) => kind);
      assert.ok(kinds.includes('all-paths-lost'));
      b[how](false);
      const returnedMs = lab.simulation.nowMs();
      assert.ok(lab.simulation.until(() => lab.inForce() === 'b', 1000));
      assert.ok(lab.simulation.nowMs() - returnedMs <= 21, 'it is used at once, as there is no other');
      assert.deepEqual(guest.links, [true, false, true]);
      a[how](false);
      lab.simulation.run(10_000);
      assert.deepEqual([lab.inForce(), guest.links], ['a', [true, false, true]]);
    }
  });
});

describe('flapping', () => {
  test('a carrier that comes and goes all the time carries nobody where there is another', () => {
    const { lab, a } = bed(ARP);
    const before = lab.paths.report().interfaces[0]?.counters.switches ?? 0;
    for (let i = 0; i < 600; i += 1) {
      a.cut(i % 2 === 0);
      lab.simulation.run(lab.simulation.between(20, 400));
    }
    const after = lab.paths.report().interfaces[0]?.counters.switches ?? 0;
    assert.ok(after - before <= 6, `${after - before} switches in two minutes`);
    a.cut(false);
    lab.simulation.run(31_000);
    assert.equal(lab.inForce(), 'a', 'well for as long as it is held at most, it has the interface again');
    lab.simulation.run(120_000);
    a.cut(true);
    lab.simulation.run(100);
    a.cut(false);
    lab.simulation.run(600);
    assert.equal(lab.inForce(), 'a', 'forgiven: it is held for as long as after a first failure');
  });

  test('a path whose answers come and go is not believed either', () => {
    const { lab, a } = bed(ARP);
    const before = lab.paths.report().interfaces[0]?.counters.switches ?? 0;
    for (let i = 0; i < 300; i += 1) {
      a.silence(i % 2 === 0);
      lab.simulation.run(lab.simulation.between(100, 700));
    }
    const after = lab.paths.report().interfaces[0]?.counters.switches ?? 0;
    assert.ok(after - before <= 12, `${after - before} switches`);
  });
});

describe('uplinks that ask each other', () => {
  test('before they have heard each other, nobody is blamed: they may lead to different segments', () => {
    const lab = new Lab(new Simulation(1));
    const a = lab.uplink('a');
    const b = lab.uplink('b');
    a.silence(true);
    b.silence(true);
    lab.guest(['a', 'b']);
    lab.simulation.run(10_000);
    assert.deepEqual(
      lab.paths.report().uplinks.map(({ condition }) => condition),
      ['up', 'up'],
    );
  });

  test('without a single witness another is tried, at growing intervals', () => {
    const lab = new Lab(new Simulation(1));
    const a = lab.uplink('a');
    lab.uplink('b');
    lab.host.isMute = true;
    lab.guest(['a', 'b']);
    lab.simulation.run(1000);
    a.silence(true);
    assert.ok(
      lab.simulation.until(() => lab.inForce() === 'b', 100),
      'first the one that was not in force',
    );
    lab.simulation.run(120_000);
    const switches = lab.paths.report().interfaces[0]?.counters.switches ?? 0;
    assert.ok(switches > 2 && switches < 14, `${switches} switches`);
    a.silence(false);
    lab.simulation.run(62_000);
    assert.equal(lab.inForce(), 'a');
  });

  test('of three, the two that hear each other are believed', () => {
    const lab = new Lab(new Simulation(1));
    const a = lab.uplink('a');
    for (const name of ['b', 'c']) lab.uplink(name);
    lab.guest(['a', 'b', 'c']);
    lab.simulation.run(1000);
    a.silence(true);
    assert.ok(lab.simulation.until(() => lab.inForce() === 'b', 41));
    assert.deepEqual(
      lab.paths.report().uplinks.map(({ condition }) => condition),
      ['silent', 'up', 'up'],
    );
  });

  test('one whose carrier is back and that hears nobody is not gone back to, and does not cast doubt on the other', () => {
    for (const isMute of [false, true]) {
      const { lab, a, guest } = bed();
      lab.host.isMute = isMute;
      const running = traffic(lab, guest.station, lab.host);
      a.cut(true);
      lab.simulation.run(1000);
      a.silence(true);
      a.cut(false);
      lab.simulation.run(20_000);
      assert.equal(lab.inForce(), 'b');
      assert.equal(lab.paths.report().interfaces[0]?.counters.switches, 2);
      assert.ok(missing(lab.host, running.sent - 5).length <= 1);
      a.silence(false);
      lab.simulation.run(5000);
      assert.equal(lab.inForce(), 'a');
    }
  });

  test('alone, an uplink is believed', () => {
    const { lab, a, b, guest } = bed();
    b.port.remove('deleted');
    a.silence(true);
    lab.simulation.run(5000);
    assert.deepEqual([lab.inForce(), guest.links], ['a', [true]]);
  });
});
