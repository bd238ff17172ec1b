import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FakeConnection } from './fake-host.testing.ts';
import { GATEWAY_ADDRESS } from './guest-stack.testing.ts';
import { pattern, testBed } from './test-bed.testing.ts';

const SERVER = 0xc0000207; // 192.0.2.7

test('a guest connects, both sides send, both sides close', () => {
  const { simulation, host, guest, network } = testBed();
  const question = pattern(5000, 3);
  const answer = pattern(300_000, 4);
  host.services.set('192.0.2.7:80', (connection) => {
    connection.onData = () => {
      if (connection.receivedBytes < question.length) return;
      connection.transmit(answer);
      connection.finish();
    };
  });
  const tcp = guest.connect(SERVER, 80);
  tcp.send(question);
  assert.ok(simulation.until(() => tcp.remoteEnded));
  assert.deepEqual(tcp.contents(), answer);
  tcp.end();
  const connection = host.connections[0];
  assert.ok(connection);
  assert.ok(simulation.until(() => connection.guestEnded && tcp.closed));
  assert.deepEqual(connection.contents(), question);
  simulation.run(5000);
  const stats = network.stats();
  assert.equal(stats.now.tcpConnections, 0);
  assert.equal(stats.now.bufferedBytes, 0);
  assert.equal(stats.tcp.retransmits, 0);
  assert.equal(stats.tcp.bytesToGuest, answer.length);
  assert.equal(stats.tcp.bytesToHost, question.length);
});

test('the gateway leads to the host loopback', () => {
  const { simulation, host, guest } = testBed();
  host.services.set('127.0.0.1:8000', (connection: FakeConnection) => connection.transmit(pattern(10)));
  const tcp = guest.connect(GATEWAY_ADDRESS, 8000);
  assert.ok(simulation.until(() => tcp.receivedBytes === 10));
});
