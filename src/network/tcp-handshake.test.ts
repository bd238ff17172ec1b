/** The handshake with a guest that is played by hand, segment by segment. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ARP_REQUEST } from './arp.ts';
import { GATEWAY_ADDRESS } from './guest-stack.testing.ts';
import { newTcpHeader, TCP_ACK, TCP_RST, TCP_SYN, type TcpHeader } from './tcp.ts';
import { pattern, publish, SERVER, type TestBed, testBed } from './test-bed.testing.ts';

const EMPTY = new Uint8Array(0);

/** A guest's segments by hand, to a client of a published port whose SYN has come. */
function answersByHand(bed: TestBed) {
  publish(bed);
  bed.guest.deaf = true;
  const seen: TcpHeader[] = [];
  bed.guest.onSegment = (header) => seen.push(header);
  const client = bed.host.client('0.0.0.0:8080', '198.51.100.1', 5000);
  assert.ok(client);
  bed.guest.sendArp(ARP_REQUEST, GATEWAY_ADDRESS);
  bed.simulation.run(1);
  const syn = seen.at(-1);
  assert.equal(syn?.flags, TCP_SYN);
  const answer = (flags: number, acknowledgement: number, payload = EMPTY, sequence = 500): TcpHeader | undefined => {
    const header = newTcpHeader();
    Object.assign(header, { flags, sequence, acknowledgement, sourcePort: 80, destinationPort: 5000, window: 9000 });
    const count = seen.length;
    bed.guest.sendTcp(0xc6336401, header, payload);
    bed.simulation.run(1);
    return seen.length > count ? seen.at(-1) : undefined;
  };
  return { client, answer, next: ((syn?.sequence ?? 0) + 1) | 0 };
}

test('answers to our SYN: a wrong acknowledgement is reset, a bare RST is not believed, a right one is', () => {
  const bed = testBed();
  const { client, answer, next } = answersByHand(bed);
  const reset = answer(TCP_SYN | TCP_ACK, next + 5);
  assert.deepEqual([reset?.flags, reset?.sequence], [TCP_RST, (next + 5) | 0]);
  assert.equal(answer(TCP_RST, 0), undefined);
  assert.equal(answer(TCP_ACK, next), undefined);
  assert.ok(!client.resetByNetwork);
  answer(TCP_RST | TCP_ACK, next);
  assert.ok(client.resetByNetwork);
});

test('both sides open at once (RFC 9293, figure 7)', () => {
  const bed = testBed();
  const { client, answer, next } = answersByHand(bed);
  const synAck = answer(TCP_SYN, 0);
  assert.deepEqual(
    [synAck?.flags, synAck?.sequence, synAck?.acknowledgement],
    [TCP_SYN | TCP_ACK, (next - 1) | 0, 501],
  );
  assert.equal(answer(TCP_ACK, next + 9, EMPTY, 501)?.flags, TCP_RST);
  answer(TCP_ACK, next, pattern(4), 501);
  assert.deepEqual(client.contents(), pattern(4));
  client.transmit(pattern(6));
  bed.simulation.run(1);
  assert.equal(bed.network.stats().tcp.established, 1);
});

test('a connection for which there are no buffers is reset on both sides', () => {
  const limits = { tcpTotalBufferBytes: 100_000 };
  const bed = testBed({ config: { limits } });
  bed.host.services.set('192.0.2.7:80', () => {});
  const tcp = bed.guest.connect(SERVER, 80);
  assert.ok(bed.simulation.until(() => tcp.state === 'reset'));
  assert.ok(bed.host.connections[0]?.resetByNetwork);
  const other = testBed({ config: { limits } });
  const { client, answer, next } = answersByHand(other);
  assert.equal((answer(TCP_SYN | TCP_ACK, next)?.flags ?? 0) & TCP_RST, TCP_RST);
  assert.ok(client.resetByNetwork);
  assert.deepEqual([bed.network.stats().tcp.overLimit, other.network.stats().tcp.overLimit], [1, 1]);
});

test('acknowledgements of what was never sent are answered and change nothing', () => {
  const bed = testBed();
  const { client, answer, next } = answersByHand(bed);
  answer(TCP_SYN | TCP_ACK, next);
  const ack = answer(TCP_ACK, next + 1000, EMPTY, 501);
  assert.deepEqual([ack?.flags, ack?.sequence], [TCP_ACK, next]);
  const old = answer(TCP_ACK, next, pattern(4), 400);
  assert.deepEqual([old?.flags, old?.acknowledgement], [TCP_ACK, 501]);
  assert.equal(client.receivedBytes, 0);
  assert.equal(bed.network.stats().tcp.outOfWindow, 1);
});
