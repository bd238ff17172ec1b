import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OperatorError } from '../base/errors.ts';
import { GUEST_ADDRESS, GUEST_MAC } from './guest-stack.testing.ts';
import { pattern, testBed } from './test-bed.testing.ts';

const SERVER = 0xc0000207;

function running() {
  const bed = testBed();
  bed.host.services.set('192.0.2.7:80', (far) => far.transmit(pattern(5000)));
  const tcp = bed.guest.connect(SERVER, 80);
  assert.ok(bed.simulation.until(() => tcp.receivedBytes === 5000));
  bed.guest.sendUdp(SERVER, 9, 1000, pattern(3));
  bed.simulation.run(5);
  return { ...bed, tcp };
}

test('a restored network resets the connections that stood, and knows its guest', () => {
  const old = running();
  const saved: unknown = JSON.parse(JSON.stringify(old.network.save()));
  // The guest lives on, in another process, behind another network.
  const next = testBed();
  next.network.restore(saved);
  next.simulation.run(1);
  const [reset] = next.guest.strays;
  assert.ok(reset);
  assert.deepEqual([reset.sourcePort, reset.destinationPort, reset.flags & 4], [80, old.tcp.localPort, 4]);
  old.tcp.receive(reset, new Uint8Array(0));
  assert.equal(old.tcp.state, 'reset');
  const { now, tcp } = next.network.stats();
  assert.deepEqual([now.tcpConnections, now.udpFlows, tcp.established], [0, 0, 1]);
  assert.deepEqual(next.network.save().neighbours, [[GUEST_ADDRESS, GUEST_MAC]]);
});

test('saving what was restored gives the same state', () => {
  const old = running();
  const saved = old.network.save();
  const next = testBed();
  next.network.restore(JSON.parse(JSON.stringify(saved)));
  const again = next.network.save();
  assert.deepEqual(again.neighbours, saved.neighbours);
  assert.deepEqual(again.leases, saved.leases);
  assert.deepEqual(again.connections, []);
});

test('restoring into a network at work ends what it had', () => {
  const bed = running();
  const [far] = bed.host.connections;
  bed.network.restore(bed.network.save());
  assert.ok(far?.resetByNetwork);
  assert.ok(bed.host.udpSockets[0]?.closed);
  assert.ok(bed.simulation.until(() => bed.tcp.state === 'reset', 10));
});

test('the resets wait until the guest is ready', () => {
  const bed = running();
  const saved = bed.network.save();
  bed.network.setGuestReady(false);
  bed.network.restore(saved);
  bed.simulation.run(100);
  assert.equal(bed.tcp.state, 'open');
  bed.network.setGuestReady(true);
  bed.simulation.run(1);
  assert.equal(bed.tcp.state, 'reset');
});

test('ill-formed state is an operator’s error and changes nothing', () => {
  const { network } = running();
  const good = network.save();
  const before = JSON.stringify(network.save());
  const cases: unknown[] = [
    undefined,
    null,
    [],
    {},
    { ...good, version: 2 },
    { ...good, neighbours: [[1]] },
    { ...good, neighbours: 'x' },
    { ...good, leases: [{ mac: 1, address: 2 }] },
    { ...good, connections: [{ guest: 1 }] },
    { ...good, counters: 5 },
  ];
  for (const data of cases)
    assert.throws(
      () => network.restore(data),
      (error) => error instanceof OperatorError && error.code === 'bad-snapshot',
    );
  assert.equal(JSON.stringify(network.save()), before);
});
