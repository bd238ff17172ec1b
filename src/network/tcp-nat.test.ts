/** Connections of guests, one rule of TCP or of the table at a time. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseIpv4 } from './addresses.ts';
import { DNS_ADDRESS, GATEWAY_ADDRESS, GUEST_ADDRESS } from './guest-stack.testing.ts';
import { newTcpHeader, TCP_ACK, TCP_RST, TCP_SYN } from './tcp.ts';
import { established, pattern, publish, SERVER, serve, testBed } from './test-bed.testing.ts';

const HOUR_MS = 3_600_000;
const EMPTY = new Uint8Array(0);

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
  assert.equal(tcp.largestPayloadBytes, 1460);
});

test('half close, the guest first: the host still sends', () => {
  const bed = testBed();
  const { tcp, far } = established(bed);
  tcp.send(pattern(10));
  tcp.end();
  assert.ok(bed.simulation.until(() => far.guestEnded));
  bed.simulation.run(HOUR_MS);
  far.transmit(pattern(100_000));
  far.finish();
  assert.ok(bed.simulation.until(() => tcp.remoteEnded));
  assert.deepEqual(tcp.contents(), pattern(100_000));
  bed.simulation.run(10);
  // The guest closed first: it is the one that waits, not we.
  assert.equal(bed.network.stats().now.tcpConnections, 0);
});

test('half close, the host first: the guest still sends, and we wait out late segments', () => {
  const bed = testBed();
  const { tcp, far } = established(bed);
  far.finish();
  assert.ok(bed.simulation.until(() => tcp.remoteEnded));
  bed.simulation.run(HOUR_MS);
  tcp.send(pattern(100_000));
  tcp.end();
  assert.ok(bed.simulation.until(() => far.guestEnded));
  assert.deepEqual(far.contents(), pattern(100_000));
  bed.simulation.run(1000);
  assert.equal(bed.network.stats().now.tcpConnections, 1);
  bed.simulation.run(2000);
  assert.equal(bed.network.stats().now.tcpConnections, 0);
});

test('the address of the gateway is the loopback of the host', () => {
  const bed = testBed();
  serve(bed, '127.0.0.1:8000', (connection) => connection.transmit(pattern(10)));
  const tcp = bed.guest.connect(GATEWAY_ADDRESS, 8000);
  assert.ok(bed.simulation.until(() => tcp.receivedBytes === 10));
});

test('a refused port is a RST, an unreachable host an ICMP message', () => {
  const bed = testBed();
  const refused = bed.guest.connect(SERVER, 81);
  assert.ok(bed.simulation.until(() => refused.state === 'reset', 50));
  bed.host.failures.set('203.0.113.1', 'unreachable');
  const unreachable = bed.guest.connect(parseIpv4('203.0.113.1') ?? 0, 80);
  assert.ok(bed.simulation.until(() => unreachable.state === 'unreachable', 50));
  const { tcp, icmp, now } = bed.network.stats();
  assert.deepEqual([tcp.refused, tcp.unreachable, icmp.unreachableOut, now.tcpConnections], [1, 1, 1, 0]);
});

test('a reset of either side reaches the other', () => {
  const bed = testBed();
  const first = established(bed);
  first.tcp.reset();
  assert.ok(bed.simulation.until(() => first.far.resetByNetwork));
  const second = established(bed);
  second.far.fail();
  assert.ok(bed.simulation.until(() => second.tcp.state === 'reset'));
  const { tcp, now } = bed.network.stats();
  assert.deepEqual([tcp.resetByGuest, tcp.resetByHost, now.tcpConnections, now.bufferedBytes], [1, 1, 0, 0]);
});

test('a guest that gives up while the host is still being asked', () => {
  const bed = testBed();
  const tcp = bed.guest.connect(SERVER, 82);
  bed.simulation.run(0);
  const far = bed.host.connections[0];
  assert.ok(far);
  tcp.reset();
  bed.simulation.run(0);
  assert.ok(far.resetByNetwork);
  assert.equal(bed.network.stats().now.tcpConnections, 0);
});

test('a guest that does not read stops the host, and goes on an hour later', () => {
  const bed = testBed();
  const { tcp, far } = established(bed, { reads: false, bufferBytes: 30_000 });
  const content = pattern(3_000_000);
  far.transmit(content);
  bed.simulation.run(HOUR_MS);
  assert.ok(far.paused);
  const { now, tcp: counters } = bed.network.stats();
  const taken = content.length - far.unsentBytes;
  assert.ok(taken <= 30_000 + bed.network.config.limits.tcpBufferBytes + 65536, `${taken} bytes were taken`);
  assert.ok(now.bufferedBytes <= 4 * bed.network.config.limits.tcpBufferBytes);
  assert.ok(counters.windowProbes > 50, 'a closed window is probed');
  while (tcp.receivedBytes < content.length) {
    tcp.read();
    bed.simulation.run(1);
  }
  assert.deepEqual(tcp.contents(), content);
  assert.equal(tcp.state, 'open');
});

test('a window update that is lost is made good by probes', () => {
  const bed = testBed();
  const { tcp, far } = established(bed, { reads: false, bufferBytes: 10_000 });
  far.transmit(pattern(50_000));
  bed.simulation.run(1000);
  // The guest reads without telling anyone; each probe's answer tells.
  const reads = (): void => {
    tcp.readSilently();
    bed.simulation.after(50, reads);
  };
  reads();
  assert.ok(bed.simulation.until(() => tcp.receivedBytes === 50_000, 10 * 60_000));
  assert.deepEqual(tcp.contents(), pattern(50_000));
});

test('a host that does not read stops the guest, and goes on later', () => {
  const bed = testBed();
  const { tcp, far } = established(bed);
  far.readBytesPerMs = 0;
  const content = pattern(3_000_000);
  tcp.send(content);
  bed.simulation.run(60_000);
  assert.ok(far.mostPendingBytes <= bed.network.config.limits.tcpBufferBytes);
  assert.ok(far.mostPendingBytes >= 65_535 - 1460);
  far.readBytesPerMs = 5000;
  assert.ok(bed.simulation.until(() => far.receivedBytes === content.length));
  assert.deepEqual(far.contents(), content);
});

test('the window grows with a guest that keeps sending, up to the limit', () => {
  const bed = testBed({ config: { limits: { tcpBufferBytes: 256 << 10 } } });
  const { tcp, far } = established(bed);
  far.readBytesPerMs = 20_000;
  tcp.send(pattern(4 << 20));
  assert.ok(bed.simulation.until(() => far.receivedBytes === 4 << 20));
  assert.ok(far.mostPendingBytes > 128 << 10 && far.mostPendingBytes <= 256 << 10, `${far.mostPendingBytes}`);
});

test('guests without window scaling, with small segments, with large frames', () => {
  const content = pattern(400_000);
  for (const options of [{ windowShift: -1 }, { segmentBytes: 100 }, { sendBytes: 60_000 }, { segmentBytes: 0 }]) {
    const bed = testBed();
    const { tcp, far } = established(bed, options);
    tcp.send(content);
    far.transmit(content);
    const done = () => far.receivedBytes === content.length && tcp.receivedBytes === content.length;
    assert.ok(bed.simulation.until(done), JSON.stringify(options));
    assert.equal(Buffer.compare(far.contents(), content), 0);
    assert.equal(Buffer.compare(tcp.contents(), content), 0);
    const most = options.segmentBytes === 0 ? 536 : (options.segmentBytes ?? 1460);
    assert.equal(tcp.largestPayloadBytes, most);
  }
});

test('a guest that offloads gets large frames with partial checksums', () => {
  const bed = testBed();
  bed.network.setGuestOffload({ checksum: true, largePacketBytes: 65535 });
  const { tcp, far } = established(bed, { bufferBytes: 1 << 20 });
  const content = pattern(2_000_000);
  far.transmit(content);
  far.finish();
  assert.ok(bed.simulation.until(() => tcp.remoteEnded));
  assert.deepEqual(tcp.contents(), content);
  assert.equal(tcp.largestPayloadBytes % 1460, 0);
  assert.ok(tcp.largestPayloadBytes > 60_000);
});

test('a guest that falls silent is given up after some minutes; one that is paused is not', () => {
  const bed = testBed();
  const silent = established(bed);
  bed.guest.deaf = true;
  silent.far.transmit(pattern(100));
  assert.ok(bed.simulation.until(() => silent.far.resetByNetwork, 20 * 60_000));
  assert.equal(bed.network.stats().tcp.timedOut, 1);
  bed.guest.deaf = false;
  bed.simulation.run(1000);
  const paused = established(bed);
  bed.network.setGuestReady(false);
  paused.far.transmit(pattern(100));
  bed.simulation.run(HOUR_MS);
  assert.equal(paused.far.resetByNetwork, false);
  bed.network.setGuestReady(true);
  assert.ok(bed.simulation.until(() => paused.tcp.receivedBytes === 100));
});

test('a guest whose receive ring is often full loses nothing, and no connection starves', () => {
  const bed = testBed();
  const pairs = Array.from({ length: 5 }, () => established(bed));
  const content = pattern(300_000);
  for (const { far } of pairs) far.transmit(content);
  let left = 0;
  bed.guest.onFrame = () => {
    left -= 1;
    if (left <= 0) bed.network.setGuestReady(false);
  };
  const refill = (): void => {
    left = 16;
    bed.network.setGuestReady(true);
    bed.simulation.after(1, refill);
  };
  refill();
  const received = (): number[] => pairs.map(({ tcp }) => tcp.receivedBytes);
  assert.ok(bed.simulation.until(() => Math.max(...received()) > 150_000));
  assert.ok(Math.min(...received()) > 75_000, `one got ${Math.min(...received())} bytes, another 150000`);
  assert.ok(bed.simulation.until(() => pairs.every(({ tcp }) => tcp.receivedBytes === content.length)));
  for (const { tcp } of pairs) assert.equal(Buffer.compare(tcp.contents(), content), 0);
  assert.equal(bed.network.stats().tcp.retransmits, 0);
  assert.equal(bed.network.stats().link.droppedNotReady, 0);
});

test('a frame that the guest refuses comes again, and everything behind it waits', () => {
  const bed = testBed();
  const { tcp, far } = established(bed);
  const content = pattern(500_000);
  far.transmit(content);
  let room = 0;
  bed.refuses = () => {
    room -= 1;
    return room < 0;
  };
  const refill = (): void => {
    room = 7;
    bed.network.setGuestReady(true);
    bed.simulation.after(1, refill);
  };
  refill();
  bed.guest.sendPing(GATEWAY_ADDRESS, 1, pattern(5000));
  assert.ok(bed.simulation.until(() => tcp.receivedBytes === content.length));
  assert.equal(Buffer.compare(tcp.contents(), content), 0);
  const { tcp: counters, link } = bed.network.stats();
  assert.deepEqual([counters.retransmits, link.droppedNotReady, bed.guest.icmp.length], [0, 0, 1]);
  assert.ok(link.queuedNotReady > 10);
});

test('a frame that was refused comes again by itself; a guest that is said not to be ready is left alone', () => {
  const bed = testBed();
  const { tcp, far } = established(bed);
  bed.refuses = () => true;
  far.transmit(pattern(100_000));
  bed.simulation.run(HOUR_MS);
  bed.refuses = () => false;
  assert.ok(bed.simulation.until(() => tcp.receivedBytes === 100_000, 100));
  bed.network.setGuestReady(false);
  far.transmit(pattern(10));
  bed.simulation.run(HOUR_MS);
  assert.equal(tcp.receivedBytes, 100_000);
  bed.refuses = () => true;
  bed.network.setGuestReady(true);
  bed.network.setGuestReady(false);
  bed.refuses = () => false;
  bed.simulation.run(HOUR_MS);
  assert.equal(tcp.receivedBytes, 100_000);
});

test('a client of a published port while the guest boots: it waits, and is given up in the end', () => {
  const bed = testBed();
  publish(bed);
  bed.guest.answersArp = false;
  const early = bed.host.client('0.0.0.0:8080', '127.0.0.1', 5000);
  bed.simulation.run(10_000);
  bed.guest.answersArp = true;
  bed.guest.listeners.set(80, { options: {}, accept: (tcp) => tcp.send(pattern(10)) });
  assert.ok(bed.simulation.until(() => early?.receivedBytes === 10, 30_000));
  bed.guest.deaf = true;
  const late = bed.host.client('0.0.0.0:8080', '127.0.0.1', 5001);
  assert.ok(bed.simulation.until(() => late?.resetByNetwork === true, 2 * 60_000));
  const { tcp } = bed.network.stats();
  assert.deepEqual([tcp.accepted, tcp.timedOut], [2, 1]);
});

test('clients of published ports: who the guest sees', () => {
  const bed = testBed();
  publish(bed);
  publish(bed, { hostPort: 8081 });
  bed.guest.listeners.set(80, { options: {}, accept: () => {} });
  const seen = (listener: string, address: string, port: number): [number, number] => {
    bed.host.client(listener, address, port);
    const count = bed.guest.connections.length;
    assert.ok(bed.simulation.until(() => bed.guest.connections.length > count));
    const tcp = bed.guest.connections.at(-1);
    return [tcp?.remote ?? 0, tcp?.remotePort ?? 0];
  };
  assert.deepEqual(seen('0.0.0.0:8080', '198.51.100.1', 5000), [0xc6336401, 5000]);
  assert.deepEqual(seen('0.0.0.0:8080', '127.0.0.1', 5000), [GATEWAY_ADDRESS, 5000]);
  assert.deepEqual(seen('0.0.0.0:8080', '::1', 5002), [GATEWAY_ADDRESS, 5002]);
  assert.deepEqual(seen('0.0.0.0:8080', '::ffff:198.51.100.2', 5000), [0xc6336402, 5000]);
  assert.deepEqual(seen('0.0.0.0:8080', '10.0.2.77', 5003), [GATEWAY_ADDRESS, 5003]);
  // The same client through another published port to the same guest port: it gets a port of the gateway's.
  const [address, port] = seen('0.0.0.0:8081', '127.0.0.1', 5000);
  assert.equal(address, GATEWAY_ADDRESS);
  assert.ok(port >= 49152);
});

test('a full table ends what is closed already, then the connection idle for longest', () => {
  const bed = testBed({ config: { limits: { tcpConnections: 3 } } });
  const first = established(bed);
  bed.simulation.run(10);
  const second = established(bed);
  bed.simulation.run(10);
  const third = established(bed);
  first.tcp.send(pattern(5));
  bed.simulation.run(10);
  const fourth = established(bed);
  assert.ok(bed.simulation.until(() => second.tcp.state === 'reset' && second.far.resetByNetwork));
  third.far.finish();
  third.tcp.end();
  bed.simulation.run(10);
  established(bed);
  bed.simulation.run(10);
  assert.deepEqual([first.tcp.state, fourth.tcp.state], ['open', 'open']);
  const { tcp, now } = bed.network.stats();
  assert.deepEqual([tcp.evicted, now.tcpConnections], [1, 3]);
});

test('buffers stay within their budget, whatever guests and hosts do', () => {
  const limits = { tcpTotalBufferBytes: 1 << 20, tcpBufferBytes: 512 << 10 };
  const bed = testBed({ config: { limits } });
  serve(bed, '192.0.2.7:80', (far) => far.transmit(pattern(2_000_000)));
  let most = 0;
  for (let i = 0; i < 40; i += 1) {
    bed.guest.connect(SERVER, 80, { reads: false, bufferBytes: 2000 });
    bed.simulation.run(5);
    most = Math.max(most, bed.network.stats().now.bufferedBytes);
  }
  assert.ok(most <= limits.tcpTotalBufferBytes, `${most}`);
  assert.ok(most >= limits.tcpTotalBufferBytes / 2);
  assert.ok(bed.network.stats().tcp.evicted > 0);
});

test('a SYN flood leaves a bounded table and no more sockets than that', () => {
  const bed = testBed({ config: { limits: { tcpConnections: 50 } } });
  const syn = newTcpHeader();
  Object.assign(syn, { flags: TCP_SYN, destinationPort: 80, window: 1000 });
  for (let port = 1; port <= 2000; port += 1) {
    syn.sourcePort = port;
    bed.guest.sendTcp(SERVER, syn, EMPTY);
  }
  bed.simulation.run(0);
  assert.ok(bed.network.stats().now.tcpConnections <= 50);
  assert.ok(bed.host.connections.filter((far) => !far.gone).length <= 50);
});

test('a new SYN takes over a connection that only waits for late segments', () => {
  const bed = testBed();
  const { tcp, far } = established(bed);
  far.finish();
  bed.simulation.run(5);
  tcp.end();
  assert.ok(bed.simulation.until(() => tcp.closed));
  const syn = newTcpHeader();
  Object.assign(syn, { flags: TCP_SYN, sourcePort: tcp.localPort, destinationPort: 80, sequence: 99, window: 1000 });
  bed.guest.sendTcp(SERVER, syn, EMPTY);
  bed.simulation.run(5);
  assert.equal(bed.network.stats().tcp.opened, 2);
});

test('segments of unknown connections are reset, resets are not', () => {
  const bed = testBed();
  const header = newTcpHeader();
  Object.assign(header, { flags: TCP_ACK, sourcePort: 1, destinationPort: 2, sequence: 5, acknowledgement: 77 });
  bed.guest.sendTcp(SERVER, header, pattern(3));
  bed.simulation.run(1);
  const [reset] = bed.guest.strays;
  assert.deepEqual([reset?.flags, reset?.sequence], [TCP_RST, 77]);
  header.flags = TCP_RST;
  bed.guest.sendTcp(SERVER, header, EMPTY);
  bed.simulation.run(1);
  assert.equal(bed.guest.strays.length, 1);
});

test('a RST beside the exact number is asked back and does not end the connection (RFC 5961)', () => {
  const bed = testBed();
  const { tcp } = established(bed);
  const header = newTcpHeader();
  Object.assign(header, {
    flags: TCP_RST,
    sourcePort: tcp.localPort,
    destinationPort: 80,
    sequence: (tcp.next + 10) | 0,
  });
  bed.guest.sendTcp(SERVER, header, EMPTY);
  header.flags = TCP_SYN;
  header.sequence = (tcp.next + 20) | 0;
  bed.guest.sendTcp(SERVER, header, EMPTY);
  bed.simulation.run(1);
  const { tcp: counters, now } = bed.network.stats();
  assert.deepEqual([counters.challengeAcks, counters.resetByGuest, now.tcpConnections], [2, 0, 1]);
});

test('a wrong checksum is dropped, unless the sender vouches for it', () => {
  const bed = testBed();
  const seen: string[] = [];
  for (const checksumValid of [false, true]) {
    bed.guest.tamper = (frame) => {
      frame[50] = (frame[50] ?? 0) ^ 0xff;
      return { checksumValid, segmentBytes: 0 };
    };
    const count = bed.network.stats().tcp.opened;
    bed.guest.connect(SERVER, 80);
    bed.simulation.run(0);
    seen.push(bed.network.stats().tcp.opened > count ? 'taken' : 'dropped');
  }
  assert.deepEqual(seen, ['dropped', 'taken']);
  assert.equal(bed.network.stats().tcp.badChecksum, 1);
});

test('what leads nowhere: other guests, loopback, multicast, a restricted network', () => {
  const bed = testBed();
  for (const text of ['10.0.2.99', '127.0.0.1', '0.1.2.3', '240.0.0.1']) {
    const tcp = bed.guest.connect(parseIpv4(text) ?? 0, 80);
    assert.ok(
      bed.simulation.until(() => tcp.state === 'unreachable', 50),
      text,
    );
  }
  assert.equal(bed.host.connections.length, 0);
  const restricted = testBed({ config: { restrict: true } });
  const guarded = testBed({ config: { hostLoopback: false } });
  for (const [where, address] of [
    [restricted, SERVER],
    [restricted, GATEWAY_ADDRESS],
    [guarded, GATEWAY_ADDRESS],
  ] as const) {
    const tcp = where.guest.connect(address, 80);
    assert.ok(where.simulation.until(() => tcp.state === 'unreachable', 50));
    assert.equal(where.host.connections.length, 0);
  }
  assert.equal(restricted.network.stats().ipv4.restricted, 2);
});

test('a restricted guest still serves its published ports, to clients that look like the gateway', () => {
  const bed = testBed({ config: { restrict: true } });
  publish(bed);
  bed.guest.listeners.set(80, { options: {}, accept: (tcp) => tcp.send(pattern(10)) });
  const client = bed.host.client('0.0.0.0:8080', '198.51.100.1', 5000);
  assert.ok(bed.simulation.until(() => client?.receivedBytes === 10));
  assert.equal(bed.guest.connections[0]?.remote, GATEWAY_ADDRESS);
});

test('DNS over TCP goes to a nameserver of the host, and is refused where there is none', () => {
  const bed = testBed();
  const refused = bed.guest.connect(DNS_ADDRESS, 53);
  assert.ok(bed.simulation.until(() => refused.state === 'reset', 50));
  bed.host.resolver = () => undefined;
  serve(bed, '192.0.2.53:53', (far) => far.transmit(pattern(4)));
  const tcp = bed.guest.connect(DNS_ADDRESS, 53);
  assert.ok(bed.simulation.until(() => tcp.receivedBytes === 4));
});

test('closing the network resets the host’s side and leaves no timer that acts', () => {
  const bed = testBed();
  const { tcp, far } = established(bed);
  far.transmit(pattern(100));
  bed.network.close();
  assert.ok(far.resetByNetwork);
  bed.simulation.run(HOUR_MS);
  assert.equal(tcp.receivedBytes, 0);
  assert.equal(bed.network.stats().now.tcpConnections, 0);
  assert.equal(bed.guest.address, GUEST_ADDRESS);
});
