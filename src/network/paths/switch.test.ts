/** The virtual switch: who gets a frame, who does not, what is bounded. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { OperatorError } from '../../base/errors.ts';
import { ARP_REQUEST } from '../arp.ts';
import { Simulation } from '../simulation.testing.ts';
import { ForwardingTable } from './forwarding-table.ts';
import { macAt, vlanOf } from './frame.ts';
import { arp, GUEST_MAC, HOST_IP, HOST_MAC, Lab, type SimulatedInterface } from './segment.testing.ts';

const OTHER_MAC = 0x525400000002;
const THIRD_MAC = 0x525400000003;

interface Bed {
  readonly lab: Lab;
  readonly one: SimulatedInterface;
  readonly other: SimulatedInterface;
}

/** Two guests on one segment, each with another uplink in force. */
function bed(): Bed {
  const lab = new Lab(new Simulation(1));
  lab.uplink('a', { targets: [HOST_IP] });
  lab.uplink('b', { targets: [HOST_IP] });
  const one = lab.guest(['a', 'b']);
  const other = lab.guest(['b', 'a'], { name: 'net1', mac: OTHER_MAC, address: 0x0a090003 });
  lab.simulation.run(1000);
  return { lab, one, other };
}

function settle(lab: Lab): void {
  lab.simulation.run(10);
}

function stats(lab: Lab): ReturnType<Lab['paths']['stats']> {
  return lab.paths.stats();
}

describe('who gets a frame', () => {
  test('guests of one switch reach each other in it, and the segment sees nothing of that', () => {
    const { lab, one, other } = bed();
    one.station.announce();
    other.station.announce();
    settle(lab);
    const before = lab.bridge.forwarded;
    const sent = stats(lab).uplinks['a']?.framesOut;
    for (let number = 1; number <= 100; number += 1) one.station.sendNumber(number, OTHER_MAC);
    lab.simulation.run(2);
    assert.deepEqual(
      other.station.got.map(({ number }) => number).sort((x, y) => x - y),
      Array.from({ length: 100 }, (_, i) => i + 1),
    );
    assert.equal(stats(lab).uplinks['a']?.framesOut, sent);
    assert.ok(lab.bridge.forwarded - before < 10, 'probes alone');
  });

  test('a broadcast reaches each guest and the segment once, although it comes back by the other uplink', () => {
    const { lab, one, other } = bed();
    other.station.keepsFrames = true;
    one.station.keepsFrames = true;
    lab.host.keepsFrames = true;
    const isMine = (frame: Uint8Array): boolean => macAt(frame, 6) === GUEST_MAC;
    one.station.announce();
    settle(lab);
    assert.equal(other.station.frames.filter(isMine).length, 1);
    assert.equal(lab.host.frames.filter(isMine).length, 1);
    assert.equal(one.station.frames.filter(isMine).length, 0, 'never back to where it came from');
    assert.equal(stats(lab).uplinks['b']?.reflected, 1);
  });

  test('what the segment sends to everybody comes to each guest once, by its own uplink', () => {
    const { lab, one, other } = bed();
    for (const { station } of [one, other]) station.keepsFrames = true;
    lab.host.announce();
    settle(lab);
    for (const { station } of [one, other])
      assert.equal(station.frames.filter((frame) => macAt(frame, 6) === HOST_MAC).length, 1);
  });

  test('a frame under way while the mapping changes is not delivered twice', () => {
    const { lab, one } = bed();
    one.station.keepsFrames = true;
    const frame = arp(ARP_REQUEST, { mac: THIRD_MAC, address: 0x0a090007 }, { mac: 0, address: 0x0a090008 });
    const [a, b] = ['a', 'b'].map((name) => lab.uplink(`${name}2`, { probing: 'none' }));
    assert.ok(a && b);
    lab.paths.map('net0', ['a2', 'b2']);
    a.port.receive(frame);
    lab.paths.prefer('net0', 'b2');
    b.port.receive(frame);
    b.port.receive(frame);
    settle(lab);
    const got = one.station.frames.filter((copy) => macAt(copy, 6) === THIRD_MAC).length;
    assert.equal(got, 1);
    assert.equal(stats(lab).uplinks['b2']?.duplicates, 2);
    b.port.receive(arp(ARP_REQUEST, { mac: THIRD_MAC, address: 0x0a090007 }, { mac: 0, address: 0x0a090009 }));
    b.port.receive(arp(ARP_REQUEST, { mac: THIRD_MAC, address: 0x0a090007 }, { mac: 0, address: 0x0a090009 }));
    settle(lab);
    const repeated = one.station.frames.filter((copy) => macAt(copy, 6) === THIRD_MAC).length;
    assert.equal(repeated, 3, 'a host that repeats itself is heard each time');
  });

  test('nothing goes from one uplink to the other', () => {
    const { lab } = bed();
    lab.paths.unmap('net0');
    lab.paths.unmap('net1');
    const before = ['a', 'b'].map((name) => stats(lab).uplinks[name]?.framesOut);
    lab.host.announce();
    lab.host.sendNumber(1, THIRD_MAC);
    settle(lab);
    assert.deepEqual(
      ['a', 'b'].map((name) => stats(lab).uplinks[name]?.framesOut),
      before,
    );
  });

  test('VLAN tags pass, addresses are known by VLAN, and announced in theirs', () => {
    const { lab, one, other } = bed();
    lab.host.keepsFrames = true;
    other.station.keepsFrames = true;
    one.station.announce(42);
    settle(lab);
    assert.deepEqual(lab.host.frames.filter((frame) => macAt(frame, 6) === GUEST_MAC).map(vlanOf), [42]);
    lab.host.frames = [];
    lab.paths.prefer('net0', 'b');
    settle(lab);
    assert.deepEqual(lab.host.frames.filter((frame) => macAt(frame, 6) === GUEST_MAC).map(vlanOf), [42]);
  });

  test('frames of 9000 bytes where the link carries them; else they are dropped and counted', () => {
    const { lab, one } = bed();
    const sent = (): number | undefined => lab.paths.report().uplinks[0]?.counters.droppedOut;
    one.station.sendNumber(1, HOST_MAC, 9014);
    assert.equal(sent(), 1);
    lab.uplink('jumbo', { mtuBytes: 9000, targets: [HOST_IP] });
    lab.paths.map('net0', ['jumbo']);
    one.station.sendNumber(2, HOST_MAC, 9014);
    one.station.sendNumber(3, HOST_MAC, 9015);
    settle(lab);
    assert.deepEqual(
      lab.host.got.map(({ number }) => number),
      [2],
    );
  });

  test('another network is another world', () => {
    const { lab, one } = bed();
    lab.uplink('far', { network: 'other', probing: 'none' });
    const away = lab.guest(['far'], { name: 'net2', mac: THIRD_MAC, address: 0x0a090004 });
    away.station.keepsFrames = true;
    one.station.announce();
    one.station.sendNumber(1, THIRD_MAC);
    settle(lab);
    // The simulated bridge joins them: the frames came by the uplink, not in the switch.
    assert.equal(stats(lab).mappings['net2']?.localIn, 0);
    assert.throws(
      () => lab.paths.map('net2', ['far', 'a']),
      (error: unknown) => error instanceof OperatorError && error.code === 'mixed-networks',
    );
  });
});

describe('guests that misbehave', () => {
  test('broken frames, addresses of others, and groups as senders go nowhere', () => {
    const { lab, one, other } = bed();
    other.station.keepsFrames = true;
    const before = stats(lab).uplinks['a']?.framesOut;
    one.port.receive(new Uint8Array(13));
    one.port.receive(new Uint8Array(70_000));
    one.port.receive(arp(ARP_REQUEST, { mac: OTHER_MAC, address: 1 }, { mac: 0, address: 2 }));
    one.port.receive(arp(ARP_REQUEST, { mac: 0x010000000001, address: 1 }, { mac: 0, address: 2 }));
    one.port.receive(arp(ARP_REQUEST, { mac: 0, address: 1 }, { mac: 0, address: 2 }));
    assert.equal(stats(lab).mappings['net0']?.droppedOut, 5);
    assert.equal(stats(lab).networks['lan']?.switch.spoofed, 1);
    assert.equal(stats(lab).uplinks['a']?.framesOut, before);
    settle(lab);
    assert.deepEqual(other.station.frames, []);
  });

  test('a flood of made-up addresses pushes out no other guest’s, and is bounded', () => {
    const { lab, one, other } = bed();
    const second = 0x525400aa0000;
    other.station.send(arp(ARP_REQUEST, { mac: second, address: 9 }, { mac: 0, address: 2 }));
    for (let i = 0; i < 5000; i += 1)
      one.port.receive(arp(ARP_REQUEST, { mac: 0x0200bb000000 + i, address: i + 1 }, { mac: 0, address: 2 }));
    const { learned } = stats(lab).networks['lan'] ?? {};
    assert.ok((learned?.local ?? 0) <= 260);
    assert.ok((lab.paths.report().interfaces[0]?.addresses ?? 0) <= 64);
    other.station.keepsFrames = true;
    one.station.sendNumber(1, second);
    settle(lab);
    assert.equal(
      other.station.frames.some((frame) => macAt(frame, 0) === second),
      true,
    );
    assert.ok(lab.paths.events().length <= 1024);
  });

  test('a storm is cut down to its rate, told of once, and does not touch frames for one', () => {
    const { lab, one } = bed();
    for (let i = 0; i < 20_000; i += 1) one.station.announce();
    one.station.sendNumber(1, HOST_MAC);
    lab.host.announce();
    settle(lab);
    one.station.sendNumber(2, HOST_MAC);
    settle(lab);
    assert.ok((stats(lab).mappings['net0']?.stormsOut ?? 0) > 14_000);
    assert.equal(lab.paths.events().filter(({ kind }) => kind === 'storm').length, 1);
    assert.ok(lab.host.got.some(({ number }) => number === 2));
  });

  test('a storm of the segment’s, likewise', () => {
    const { lab, one } = bed();
    one.station.keepsFrames = true;
    const frame = arp(ARP_REQUEST, { mac: HOST_MAC, address: HOST_IP }, { mac: 0, address: 9 });
    const { port } = lab.uplink('s', { probing: 'none' });
    lab.paths.map('net0', ['s']);
    for (let i = 0; i < 20_000; i += 1) port.receive(frame);
    settle(lab);
    assert.ok(one.station.frames.length < 5500);
  });

  test('an address of a cluster that moved to the segment is let go; one that is in use is not', () => {
    const { lab, one } = bed();
    const shared = 0x0200cc000001;
    const claim = arp(ARP_REQUEST, { mac: shared, address: 77 }, { mac: 0, address: 77 });
    one.station.send(claim);
    settle(lab);
    lab.host.send(claim);
    settle(lab);
    assert.equal(lab.paths.events().filter(({ kind }) => kind === 'address-moved').length, 0, 'our own, come back');
    lab.simulation.run(6000);
    lab.host.send(claim);
    settle(lab);
    assert.equal(lab.paths.events().filter(({ kind }) => kind === 'address-moved').length, 1);
  });

  test('a guest without room: one uplink for it alone hears of it, one that others share does not wait', () => {
    const { lab, one, other } = bed();
    one.station.announce();
    other.station.announce();
    settle(lab);
    const { port } = lab.uplink('c', { probing: 'none' });
    lab.paths.map('net0', ['c']);
    one.hasRoom = false;
    const frame = arp(ARP_REQUEST, { mac: HOST_MAC, address: HOST_IP }, { mac: 0, address: 9 });
    frame.set([0x52, 0x54, 0, 0x12, 0x34, 0x56], 0);
    assert.equal(port.receive(frame), false);
    lab.paths.map('net1', ['c']);
    assert.equal(port.receive(frame), true);
    assert.equal(stats(lab).mappings['net0']?.droppedIn, 2);
  });
});

describe('the table', () => {
  test('is edited while it is in use; what is wrong is said', () => {
    const { lab, one } = bed();
    lab.paths.prefer('net0', 'b');
    assert.equal(lab.inForce(), 'b');
    lab.simulation.run(5000);
    assert.equal(lab.inForce(), 'b', 'the preferred one stays');
    lab.paths.map('net0', ['a']);
    assert.equal(lab.inForce(), 'a');
    lab.paths.unmap('net0', 'a');
    assert.deepEqual([lab.inForce(), one.links.at(-1)], [undefined, false]);
    lab.paths.map('net0', ['a', 'b']);
    assert.deepEqual([lab.inForce(), one.links.at(-1)], ['a', true]);
    const code = (body: () => void): string => {
      try {
        body();
        return 'none';
      } catch (error) {
        return error instanceof OperatorError ? error.code : String(error);
      }
    };
    assert.equal(
      code(() => lab.paths.map('net9', ['a'])),
      'no-such-interface',
    );
    assert.equal(
      code(() => lab.paths.map('net0', ['z'])),
      'no-such-uplink',
    );
    assert.equal(
      code(() => lab.paths.map('net0', ['a', 'a'])),
      'bad-usage',
    );
    assert.equal(
      code(() => lab.paths.unmap('net0', 'z')),
      'not-mapped',
    );
    assert.equal(
      code(() => lab.paths.prefer('net0', 'z')),
      'not-mapped',
    );
    assert.equal(
      code(() => lab.uplink('a')),
      'uplink-exists',
    );
    assert.equal(
      code(() => lab.guest(['a'])),
      'interface-exists',
    );
    assert.equal(
      code(() => lab.guest(['a'], { name: 'net5' })),
      'mac-in-use',
    );
    assert.equal(
      code(() => lab.paths.capture({ port: 'z' }, () => {})),
      'no-such-port',
    );
  });

  test('an uplink that is deleted is gone from it; whoever used it has another', () => {
    const lab = new Lab(new Simulation(1));
    const a = lab.uplink('a');
    lab.uplink('b');
    const one = lab.guest(['a', 'b']);
    a.port.remove('the device was deleted');
    assert.equal(lab.inForce(), 'b');
    assert.equal(a.port.receive(new Uint8Array(60)), true);
    a.port.setCarrier(false, 'late');
    a.port.remove('again');
    assert.deepEqual(lab.paths.report().interfaces[0]?.uplinks, ['b']);
    assert.deepEqual(one.links, [true]);
    one.port.remove();
    one.station.announce();
    assert.equal(lab.paths.report().interfaces.length, 0);
  });
});

test('addresses age, move, and make room', () => {
  const table = new ForwardingTable<string>({ perPlace: 3, total: 5, ageMs: 100 });
  table.learn(1, 0, 'x', 0);
  assert.equal(table.find(1, 0, 100), 'x');
  assert.equal(table.find(1, 7, 0), undefined);
  assert.equal(table.find(1, 0, 101), undefined);
  assert.equal(table.size, 0);
  for (let mac = 1; mac <= 4; mac += 1) table.learn(mac, 0, 'x', 0);
  assert.deepEqual([table.size, table.evicted, table.find(1, 0, 0)], [3, 1, undefined]);
  table.learn(4, 0, 'y', 1);
  assert.deepEqual([table.find(4, 0, 1), table.moved], ['y', 1]);
  for (let mac = 10; mac <= 14; mac += 1) table.learn(mac, mac, `p${mac}`, 2);
  assert.equal(table.size, 5);
  table.forgetPlace('p14');
  assert.equal(table.size, 4);
});
