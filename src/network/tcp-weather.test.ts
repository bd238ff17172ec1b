/** Byte streams through links that lose, double, delay and reorder frames, by seed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Weather } from './simulation.testing.ts';
import { pattern, testBed } from './test-bed.testing.ts';

const SERVER = 0xc0000207;
const WEATHERS: Record<string, Weather> = {
  'slow link': { loss: 0, duplicate: 0, minDelayMs: 20, maxDelayMs: 20 },
  reordering: { loss: 0, duplicate: 0, minDelayMs: 1, maxDelayMs: 12 },
  doubling: { loss: 0, duplicate: 0.3, minDelayMs: 1, maxDelayMs: 3 },
  'light loss': { loss: 0.01, duplicate: 0, minDelayMs: 2, maxDelayMs: 2 },
  'heavy loss': { loss: 0.15, duplicate: 0, minDelayMs: 2, maxDelayMs: 2 },
  'all of it': { loss: 0.08, duplicate: 0.08, minDelayMs: 1, maxDelayMs: 25 },
};

function echoRun(weather: Weather, seed: number): void {
  const { simulation, host, guest, network } = testBed({ weather, seed });
  const upBytes = simulation.between(1, 120_000);
  const downBytes = simulation.between(1, 200_000);
  const up = pattern(upBytes, seed);
  const down = pattern(downBytes, seed + 1);
  const hostFirst = simulation.chance(0.5);
  host.services.set('192.0.2.7:80', (connection) => {
    connection.readBytesPerMs = simulation.between(200, 20_000);
    connection.transmit(down);
    if (hostFirst) connection.finish();
    else connection.onGuestEnd = () => connection.finish();
  });
  const tcp = guest.connect(SERVER, 80, {
    segmentBytes: simulation.between(200, 1460),
    windowShift: simulation.chance(0.3) ? -1 : simulation.between(0, 9),
    bufferBytes: simulation.between(4000, 200_000),
  });
  tcp.send(up);
  if (!hostFirst) tcp.end();
  const closesLast = simulation.until(() => tcp.remoteEnded, 900_000);
  assert.ok(closesLast, `seed ${seed}: the guest waits for data, ${JSON.stringify(network.stats().tcp)}`);
  if (hostFirst) tcp.end();
  const connection = host.connections[0];
  assert.ok(connection);
  assert.ok(
    simulation.until(() => connection.guestEnded && (tcp.closed || tcp.state === 'reset'), 900_000),
    `seed ${seed}: close`,
  );
  assert.equal(Buffer.compare(connection.contents(), up), 0, `seed ${seed}: bytes to the host`);
  assert.equal(Buffer.compare(tcp.contents(), down), 0, `seed ${seed}: bytes to the guest`);
  assert.ok(connection.mostPendingBytes <= network.config.limits.tcpBufferBytes);
  simulation.run(200_000);
  const { now } = network.stats();
  assert.deepEqual({ ...now }, { ...now, tcpConnections: 0, bufferedBytes: 0 }, `seed ${seed}: something is left`);
}

for (const [name, weather] of Object.entries(WEATHERS)) {
  test(`both streams arrive whole: ${name}`, () => {
    for (let seed = 1; seed <= 25; seed += 1) echoRun(weather, seed);
  });
}

test('a client of a published port and the guest exchange streams in bad weather', () => {
  const weather = WEATHERS['all of it'];
  assert.ok(weather);
  for (let seed = 100; seed < 120; seed += 1) {
    const { simulation, host, guest, network } = testBed({ weather, seed });
    let published = false;
    network.publish(
      { protocol: 'tcp', hostAddress: 0, hostPort: 8080, guestAddress: undefined, guestPort: 80 },
      (outcome) => {
        published = outcome.kind === 'listening';
      },
    );
    assert.ok(simulation.until(() => published));
    const answer = pattern(60_000, seed);
    guest.listeners.set(80, { options: {}, accept: (tcp) => tcp.send(answer) });
    const client = host.client('0.0.0.0:8080', '198.51.100.9', 5000);
    assert.ok(client);
    const question = pattern(40_000, seed + 1);
    client.transmit(question);
    client.finish();
    assert.ok(
      simulation.until(() => guest.connections[0]?.remoteEnded === true, 900_000),
      `seed ${seed}`,
    );
    const tcp = guest.connections[0];
    assert.ok(tcp);
    assert.equal(tcp.remote, 0xc6336409);
    tcp.end();
    assert.ok(
      simulation.until(() => client.guestEnded, 900_000),
      `seed ${seed}`,
    );
    assert.equal(Buffer.compare(tcp.contents(), question), 0);
    assert.equal(Buffer.compare(client.contents(), answer), 0);
  }
});
