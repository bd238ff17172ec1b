/** What the network answers itself: ARP, ICMP, DHCP and DNS; and UDP through it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatIpv4, parseIpv4 } from './addresses.ts';
import { ARP_REQUEST } from './arp.ts';
import type { NetworkOptions } from './config.ts';
import { type DhcpMessage, decodeDhcp, encodeDhcp, messageType, option, optionUint32 } from './dhcp.ts';
import { decodeQuestion, dnsResponseCode, encodeQuery, encodeResponse } from './dns.ts';
import { DNS_ADDRESS, GATEWAY_ADDRESS, GUEST_ADDRESS, GUEST_MAC } from './guest-stack.testing.ts';
import type { PublishRule } from './publish.ts';
import { pattern, type TestBed, testBed } from './test-bed.testing.ts';

const SERVER = 0xc0000207; // 192.0.2.7
const BROADCAST = 0xffffffff;
const text = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString();

test('ARP: the gateway and the name server answer, nobody else', () => {
  const { simulation, guest, network } = testBed();
  for (const address of [GATEWAY_ADDRESS, DNS_ADDRESS, GUEST_ADDRESS, 0x0a000210, SERVER])
    guest.sendArp(ARP_REQUEST, address);
  simulation.run(1);
  assert.deepEqual(guest.arpReplies, [GATEWAY_ADDRESS, DNS_ADDRESS]);
  // A guest that claims the gateway's address is not believed.
  guest.address = GATEWAY_ADDRESS;
  guest.sendArp(ARP_REQUEST, DNS_ADDRESS);
  simulation.run(1);
  const { arp } = network.stats();
  assert.deepEqual([arp.requestsIn, arp.repliesOut, arp.spoofed], [6, 2, 1]);
});

test('ping: the gateway answers, large packets in fragments; others are unreachable', () => {
  const { simulation, guest, network } = testBed();
  const data = pattern(20_000);
  guest.sendPing(GATEWAY_ADDRESS, 0x12345678, data);
  simulation.run(1);
  assert.deepEqual(guest.icmp[0], { type: 0, code: 0, rest: 0x12345678, source: GATEWAY_ADDRESS, data });
  assert.ok(guest.largestFrameBytes <= 1514);
  guest.sendPing(SERVER, 1, data);
  guest.sendPing(0x0a000263, 1, data);
  simulation.run(1);
  assert.deepEqual(
    guest.icmp.slice(1).map(({ type, code, data: quoted }) => [type, code, quoted.length]),
    [
      [3, 13, 28],
      [3, 1, 28],
    ],
  );
  assert.equal(network.stats().icmp.echoReplies, 1);
});

test('ping through a host that can: bounded, answered when the answer comes', () => {
  const bed = testBed({ icmp: true, config: { limits: { echoRequests: 2 } } });
  for (let i = 0; i < 3; i += 1) bed.guest.sendPing(SERVER, i, pattern(10, i));
  bed.simulation.run(1);
  assert.equal(bed.host.echoes.length, 2);
  assert.deepEqual(bed.host.echoes[1]?.data, pattern(10, 1));
  bed.host.echoes[1]?.done(true);
  bed.host.echoes[0]?.done(false);
  bed.simulation.run(1);
  assert.deepEqual(bed.guest.icmp, [{ type: 0, code: 0, rest: 1, source: SERVER, data: pattern(10, 1) }]);
  assert.equal(bed.network.stats().icmp.echoDropped, 1);
});

test('traceroute sees the gateway; unknown protocols are unreachable', () => {
  const { simulation, guest } = testBed();
  guest.ttl = 1;
  guest.sendUdp(SERVER, 33434, 1, pattern(5));
  guest.connect(SERVER, 80);
  simulation.run(1);
  assert.deepEqual(
    guest.icmp.map(({ type, source }) => [type, source]),
    [
      [11, GATEWAY_ADDRESS],
      [11, GATEWAY_ADDRESS],
    ],
  );
  guest.ttl = 64;
  guest.sendIpv4(guest.address, SERVER, 47, 10);
  simulation.run(1);
  assert.deepEqual([guest.icmp[2]?.type, guest.icmp[2]?.code], [3, 2]);
});

function discover(bed: TestBed, changes: Partial<DhcpMessage> & { type: number }, source = 0): DhcpMessage | undefined {
  const message = {
    operation: 1,
    transaction: 7,
    broadcast: false,
    clientAddress: 0,
    yourAddress: 0,
    serverAddress: 0,
    clientMac: GUEST_MAC,
    options: new Map<number, Uint8Array>(),
    ...changes,
  };
  message.options = new Map([[53, option.uint8(changes.type)], ...message.options]);
  const count = bed.guest.datagrams.length;
  bed.guest.sendUdp(BROADCAST, 67, 68, encodeDhcp(message), source);
  bed.simulation.run(1);
  const reply = bed.guest.datagrams[count];
  return reply === undefined ? undefined : decodeDhcp(reply.payload, 0, reply.payload.length);
}

test('DHCP: discover, offer, request, acknowledgement, with everything a guest is told', () => {
  const config: NetworkOptions = { hostname: 'web', domain: 'lan.example', mtu: 1400, leaseSeconds: 600 };
  const bed = testBed({ config });
  const offer = discover(bed, { type: 1 });
  assert.ok(offer);
  assert.deepEqual([messageType(offer), offer.yourAddress, offer.transaction], [2, GUEST_ADDRESS, 7]);
  assert.equal(bed.guest.datagrams[0]?.destination, GUEST_ADDRESS);
  const options = new Map([
    [50, option.uint32(GUEST_ADDRESS)],
    [54, option.uint32(GATEWAY_ADDRESS)],
  ]);
  const ack = discover(bed, { type: 3, broadcast: true, options });
  assert.ok(ack);
  assert.deepEqual([messageType(ack), ack.yourAddress], [5, GUEST_ADDRESS]);
  assert.equal(bed.guest.datagrams[1]?.destination, BROADCAST);
  assert.deepEqual(
    [1, 3, 6, 28, 51, 54, 58, 59].map((code) => optionUint32(ack, code)),
    [0xffffff00, GATEWAY_ADDRESS, DNS_ADDRESS, 0x0a0002ff, 600, GATEWAY_ADDRESS, 300, 525],
  );
  assert.deepEqual([text(ack.options.get(12)), text(ack.options.get(15))], ['web', 'lan.example']);
  assert.deepEqual(ack.options.get(26), Uint8Array.of(1400 >> 8, 1400 & 255));
  const renewal = discover(bed, { type: 3, clientAddress: GUEST_ADDRESS }, GUEST_ADDRESS);
  assert.ok(renewal);
  assert.deepEqual([messageType(renewal), bed.guest.datagrams[2]?.destination], [5, GUEST_ADDRESS]);
  const { dhcp, now } = bed.network.stats();
  assert.deepEqual([dhcp.offers, dhcp.acks, dhcp.naks, now.leases], [1, 2, 0, 1]);
});

test('DHCP: an address per hardware address, a bounded pool, expiry, release and decline', () => {
  const bed = testBed({ config: { limits: { leases: 3 }, leaseSeconds: 60 } });
  const lease = (mac: number, wanted?: number): string => {
    const offer = discover(bed, { type: 1, clientMac: mac, broadcast: true });
    const address = wanted ?? offer?.yourAddress;
    if (address === undefined) return 'none';
    const options = new Map([[50, option.uint32(address)]]);
    const reply = discover(bed, { type: 3, clientMac: mac, broadcast: true, options });
    assert.ok(reply);
    return messageType(reply) === 6 ? 'refused' : formatIpv4(reply.yourAddress);
  };
  assert.deepEqual(
    [1, 2, 3, 4, 2].map((mac) => lease(mac)),
    ['10.0.2.15', '10.0.2.16', '10.0.2.17', 'none', '10.0.2.16'],
  );
  assert.equal(lease(2, 0x0a00020f), 'refused');
  assert.equal(lease(2, 0x0a000232), 'refused');
  assert.equal(bed.network.stats().dhcp.exhausted, 1);
  discover(bed, { type: 7, clientMac: 2, clientAddress: 0x0a000210 });
  assert.equal(lease(4), '10.0.2.16');
  discover(bed, { type: 4, clientMac: 4, options: new Map([[50, option.uint32(0x0a000210)]]) });
  assert.equal(lease(5), 'none');
  bed.simulation.run(61_000);
  assert.equal(lease(5), '10.0.2.15');
  // A client that asks for what it had, of a network that knows nothing of it.
  const remembered = new Map([[50, option.uint32(0x0a000211)]]);
  const reboot = discover(bed, { type: 3, clientMac: 6, broadcast: true, options: remembered });
  assert.equal(formatIpv4(reboot?.yourAddress ?? 0), '10.0.2.17');
  const offer = discover(bed, {
    type: 1,
    clientMac: 7,
    broadcast: true,
    options: new Map([[50, option.uint32(0x0a000210)]]),
  });
  assert.equal(formatIpv4(offer?.yourAddress ?? 0), '10.0.2.16');
});

test('DHCP: another server’s offer, INFORM, nonsense, and a network without DHCP', () => {
  const bed = testBed();
  assert.ok(discover(bed, { type: 1 }));
  assert.equal(discover(bed, { type: 3, options: new Map([[54, option.uint32(SERVER)]]) }), undefined);
  assert.equal(bed.network.stats().now.leases, 0);
  const inform = discover(bed, { type: 8, clientAddress: GUEST_ADDRESS }, GUEST_ADDRESS);
  assert.ok(inform);
  assert.deepEqual([messageType(inform), inform.yourAddress, optionUint32(inform, 51)], [5, 0, undefined]);
  assert.equal(discover(bed, { type: 99 }), undefined);
  assert.equal(discover(bed, { type: 1, operation: 2 }), undefined);
  bed.guest.sendUdp(BROADCAST, 67, 68, pattern(100), 0);
  bed.simulation.run(1);
  assert.equal(bed.network.stats().dhcp.malformed, 3);
  assert.equal(discover(testBed({ config: { dhcp: false } }), { type: 1 }), undefined);
  const restricted = discover(testBed({ config: { restrict: true } }), { type: 1 });
  assert.ok(restricted);
  assert.deepEqual([optionUint32(restricted, 3), optionUint32(restricted, 6)], [undefined, undefined]);
});

function ask(bed: TestBed, name: string, type = 1, id = 1): Uint8Array {
  const count = bed.guest.datagrams.length;
  bed.guest.sendUdp(DNS_ADDRESS, 53, 4000, encodeQuery(id, name, type));
  assert.ok(
    bed.simulation.until(() => bed.guest.datagrams.length > count, 20_000),
    `no answer about ${name}`,
  );
  const answer = bed.guest.datagrams[count];
  assert.deepEqual([answer?.source, answer?.sourcePort, answer?.destinationPort], [DNS_ADDRESS, 53, 4000]);
  return answer?.payload ?? new Uint8Array(0);
}

test('DNS: queries reach the host’s resolver as they are, and its answers the guest', () => {
  const bed = testBed();
  const queries: Uint8Array[] = [];
  const large = pattern(4000);
  large[2] = 0x80;
  bed.host.resolver = (query) => {
    queries.push(query);
    large.set(query.subarray(0, 2));
    return large;
  };
  assert.deepEqual(ask(bed, 'debian.org', 65, 77), large);
  assert.deepEqual(queries, [encodeQuery(77, 'debian.org', 65)]);
  const { dns, now } = bed.network.stats();
  assert.deepEqual([dns.forwarded, dns.answered, now.dnsQueries], [1, 1, 0]);
});

test('DNS: the host’s table; its loopback is the gateway, except for localhost', () => {
  const bed = testBed();
  bed.host.resolver = () => undefined;
  bed.host.hosts.set('localhost', ['127.0.0.1']);
  bed.host.hosts.set('laptop', ['127.0.1.1', '192.0.2.1', '192.0.2.1', 'bad']);
  const addresses = (answer: Uint8Array): string[] => {
    assert.equal(dnsResponseCode(answer), 0);
    const question = decodeQuestion(answer);
    const view = new DataView(answer.buffer, answer.byteOffset);
    const found: string[] = [];
    for (let at = (question?.endBytes ?? 0) + 12; at < answer.length; at += 16)
      found.push(formatIpv4(view.getUint32(at)));
    return found;
  };
  assert.deepEqual(addresses(ask(bed, 'localhost')), ['127.0.0.1']);
  assert.deepEqual(addresses(ask(bed, 'Laptop')), ['10.0.2.2', '192.0.2.1']);
  assert.deepEqual(addresses(ask(bed, 'laptop', 28)), []);
  assert.equal(dnsResponseCode(ask(bed, 'laptop', 15)), 2, 'other types are the resolver’s');
});

test('DNS: SERVFAIL at once without a nameserver, and when none answers', () => {
  const bed = testBed();
  const startMs = bed.simulation.nowMs();
  assert.equal(dnsResponseCode(ask(bed, 'debian.org')), 2);
  assert.equal(bed.simulation.nowMs(), startMs);
  bed.host.resolver = () => undefined;
  assert.equal(dnsResponseCode(ask(bed, 'debian.org')), 2);
  bed.host.resolver = (query) => query;
  assert.equal(dnsResponseCode(ask(bed, 'debian.org')), 2, 'what is no response');
  bed.host.silentResolver = true;
  assert.equal(dnsResponseCode(ask(bed, 'debian.org')), 2);
  assert.ok(bed.simulation.nowMs() >= startMs + 10_000);
  const { dns } = bed.network.stats();
  assert.deepEqual([dns.noServer, dns.badResponses, dns.timedOut, dns.serverFailures], [1, 1, 1, 4]);
});

test('DNS: repeated and too many questions, malformed ones, other operations', () => {
  const bed = testBed({ config: { limits: { dnsQueries: 3 } } });
  bed.host.resolver = () => undefined;
  bed.host.silentResolver = true;
  for (const id of [1, 1, 2, 3, 4]) bed.guest.sendUdp(DNS_ADDRESS, 53, 4000, encodeQuery(id, 'a.b', 1));
  bed.simulation.run(1);
  assert.deepEqual([bed.network.stats().now.dnsQueries, bed.guest.datagrams.length], [3, 1]);
  const before = bed.network.stats().dns.malformed;
  bed.guest.sendUdp(DNS_ADDRESS, 53, 4000, pattern(5));
  bed.guest.sendUdp(DNS_ADDRESS, 53, 4000, encodeResponse(encodeQuery(1, 'a', 1), undefined, 0));
  bed.guest.sendUdp(DNS_ADDRESS, 53, 4000, encodeQuery(1, 'x'.repeat(64), 1));
  const update = encodeQuery(9, 'a', 1);
  update[2] = 5 << 3;
  bed.guest.sendUdp(DNS_ADDRESS, 53, 4000, update);
  bed.simulation.run(1);
  assert.equal(bed.network.stats().dns.malformed - before, 3);
  const codes = bed.guest.datagrams.slice(1).map(({ payload }) => dnsResponseCode(payload));
  assert.deepEqual(codes, [1, 4]);
  bed.guest.sendUdp(DNS_ADDRESS, 54, 4000, pattern(5));
  bed.simulation.run(1);
  assert.deepEqual([bed.guest.icmp[0]?.type, bed.guest.icmp[0]?.code], [3, 3]);
});

test('UDP: one socket per guest port, answers from those it addressed alone, large datagrams', () => {
  const bed = testBed();
  const large = pattern(30_000);
  bed.host.udpServices.set('192.0.2.7:9', (bytes) => bytes);
  bed.host.udpServices.set('127.0.0.1:9', () => large);
  bed.guest.sendUdp(SERVER, 9, 1000, large);
  bed.guest.sendUdp(GATEWAY_ADDRESS, 9, 1000, pattern(1));
  bed.guest.sendUdp(SERVER, 9, 1001, pattern(3));
  bed.simulation.run(5);
  assert.equal(bed.host.udpSockets.length, 2);
  assert.deepEqual(
    bed.guest.datagrams.map(({ source, sourcePort, destinationPort, payload }) => [
      source,
      sourcePort,
      destinationPort,
      payload.length,
    ]),
    [
      [SERVER, 9, 1000, 30_000],
      [GATEWAY_ADDRESS, 9, 1000, 30_000],
      [SERVER, 9, 1001, 3],
    ],
  );
  assert.deepEqual(bed.guest.datagrams[0]?.payload, large);
  const [socket] = bed.host.udpSockets;
  socket?.events.message(pattern(4), '198.51.100.1', 9);
  socket?.events.message(pattern(4), '192.0.2.7', 10);
  socket?.events.message(new Uint8Array(65_508), '192.0.2.7', 9);
  bed.simulation.run(5);
  assert.deepEqual(
    bed.guest.datagrams.slice(3).map(({ sourcePort }) => sourcePort),
    [10],
  );
  const { udp } = bed.network.stats();
  assert.deepEqual([udp.unsolicited, udp.undeliverable], [1, 1]);
});

test('UDP: a datagram of the guest in fragments', () => {
  const bed = testBed();
  bed.host.udpServices.set('192.0.2.7:9', (bytes) => bytes);
  bed.guest.mtu = 576;
  const large = pattern(20_000);
  bed.guest.sendUdp(SERVER, 9, 1000, large);
  bed.simulation.run(5);
  assert.deepEqual(bed.guest.datagrams[0]?.payload, large);
  assert.equal(bed.network.stats().ipv4.reassembled, 1);
});

test('UDP: flows end when idle; a full table gives up the one idle for longest; failures open anew', () => {
  const bed = testBed({ config: { limits: { udpFlows: 3, udpIdleMs: 1000, udpPeers: 2 } } });
  const open = (): number[] => bed.host.udpSockets.map((socket) => (socket.closed ? 0 : 1));
  for (const port of [1, 2, 3]) {
    bed.guest.sendUdp(SERVER, 9, port, pattern(1));
    bed.simulation.run(10);
  }
  bed.guest.sendUdp(SERVER, 9, 1, pattern(1));
  bed.simulation.run(10);
  bed.guest.sendUdp(SERVER, 9, 4, pattern(1));
  bed.simulation.run(10);
  assert.deepEqual(open(), [1, 0, 1, 1]);
  bed.simulation.run(700);
  bed.guest.sendUdp(SERVER, 9, 4, pattern(1));
  bed.simulation.run(500);
  assert.deepEqual(open(), [0, 0, 0, 1]);
  bed.host.udpSockets[3]?.events.failed(new Error('gone'));
  bed.guest.sendUdp(SERVER, 9, 4, pattern(1));
  bed.simulation.run(0);
  assert.equal(bed.host.udpSockets.length, 5);
  for (const last of [8, 9, 10]) bed.guest.sendUdp(0xc0000200 + last, 9, 4, pattern(1));
  bed.simulation.run(0);
  for (const last of [8, 9, 10]) bed.host.udpSockets[4]?.events.message(pattern(1), `192.0.2.${last}`, 9);
  bed.simulation.run(0);
  const { udp, now } = bed.network.stats();
  assert.deepEqual(
    [udp.flowsOpened, udp.flowsEvicted, udp.flowsExpired, udp.flowsFailed, udp.unsolicited, now.udpFlows],
    [5, 1, 2, 1, 1, 1],
  );
  bed.simulation.run(5000);
  assert.equal(bed.network.stats().now.udpFlows, 0);
});

test('UDP: published ports; each client is answered through the socket that it wrote to', () => {
  const bed = testBed();
  const rule: PublishRule = { protocol: 'udp', hostAddress: 0, hostPort: 5353, guestAddress: undefined, guestPort: 53 };
  const outcomes: unknown[] = [];
  bed.network.publish(rule, (outcome) => outcomes.push(outcome));
  bed.network.publish({ ...rule, hostPort: 5354 }, (outcome) => outcomes.push(outcome));
  bed.simulation.run(1);
  assert.deepEqual(outcomes, [
    { kind: 'listening', hostPort: 5353 },
    { kind: 'listening', hostPort: 5354 },
  ]);
  const [first, second] = bed.host.udpSockets;
  first?.events.message(pattern(3, 1), '198.51.100.1', 7000);
  second?.events.message(pattern(3, 2), '127.0.0.1', 7000);
  bed.simulation.run(1);
  const [one, two] = bed.guest.datagrams;
  assert.deepEqual([one?.source, two?.source], [parseIpv4('198.51.100.1'), GATEWAY_ADDRESS]);
  bed.guest.sendUdp(one?.source ?? 0, 7000, 53, pattern(5, 1));
  bed.guest.sendUdp(two?.source ?? 0, 7000, 53, pattern(5, 2));
  bed.simulation.run(1);
  assert.deepEqual(first?.sent, [{ bytes: pattern(5, 1), address: '198.51.100.1', port: 7000 }]);
  assert.deepEqual(second?.sent, [{ bytes: pattern(5, 2), address: '127.0.0.1', port: 7000 }]);
  assert.ok(bed.network.unpublish(rule));
  assert.ok(!bed.network.unpublish(rule));
  bed.guest.sendUdp(one?.source ?? 0, 7000, 53, pattern(5, 1));
  bed.simulation.run(1);
  assert.equal(first?.sent.length, 1);
  assert.equal(bed.network.published().length, 1);
});

test('UDP: broadcast, multicast, addresses of nobody and restricted networks lead nowhere', () => {
  const bed = testBed();
  for (const address of [BROADCAST, 0xe00000fb, 0x0a0002ff, 0x7f000001]) bed.guest.sendUdp(address, 9, 1, pattern(1));
  bed.simulation.run(1);
  assert.deepEqual([bed.host.udpSockets.length, bed.network.stats().ipv4.badDestination], [0, 4]);
  const restricted = testBed({ config: { restrict: true } });
  for (const address of [SERVER, GATEWAY_ADDRESS, DNS_ADDRESS]) restricted.guest.sendUdp(address, 53, 1, pattern(20));
  restricted.simulation.run(1);
  assert.equal(restricted.host.udpSockets.length, 0);
  assert.equal(restricted.network.stats().ipv4.restricted, 3);
});

test('a guest cannot send in another’s name, nor from outside its network', () => {
  const bed = testBed();
  for (const source of [GATEWAY_ADDRESS, DNS_ADDRESS, SERVER, 0x0a000200, 0x0a0002ff, BROADCAST, 0])
    bed.guest.sendUdp(SERVER, 9, 1, pattern(1), source);
  bed.simulation.run(1);
  assert.deepEqual([bed.network.stats().ipv4.spoofedSource, bed.host.udpSockets.length], [7, 0]);
});

test('the neighbour table is bounded; what waits for an address is sent once it is known', () => {
  const bed = testBed({ config: { limits: { neighbours: 2 } } });
  const rule: PublishRule = { protocol: 'udp', hostAddress: 0, hostPort: 1, guestAddress: undefined, guestPort: 53 };
  bed.network.publish(rule, () => {});
  bed.guest.answersArp = false;
  for (let i = 0; i < 6; i += 1) bed.host.udpSockets[0]?.events.message(pattern(3, i), '198.51.100.1', 7000 + i);
  bed.simulation.run(1);
  assert.equal(bed.guest.datagrams.length, 0);
  bed.guest.sendArp(ARP_REQUEST, GATEWAY_ADDRESS);
  bed.simulation.run(1);
  assert.deepEqual(
    bed.guest.datagrams.map(({ sourcePort }) => sourcePort),
    [7002, 7003, 7004, 7005],
  );
  for (const last of [20, 21, 22]) bed.guest.sendUdp(SERVER, 9, 1, pattern(1), 0x0a000200 + last);
  bed.simulation.run(1);
  assert.deepEqual([bed.network.stats().arp.unresolved, bed.network.stats().arp.evicted], [2, 2]);
});

test('while the guest is not ready a bounded number of frames waits', () => {
  const bed = testBed({ config: { limits: { queuedFrames: 3 } } });
  bed.network.setGuestReady(false);
  for (let i = 0; i < 5; i += 1) bed.guest.sendPing(GATEWAY_ADDRESS, i, pattern(4));
  bed.simulation.run(1);
  assert.equal(bed.guest.framesIn, 0);
  bed.network.setGuestReady(true);
  bed.simulation.run(1);
  assert.deepEqual(
    bed.guest.icmp.map(({ rest }) => rest),
    [0, 1, 2],
  );
  assert.equal(bed.network.stats().link.droppedNotReady, 2);
});

test('frames that wait for unknown neighbours are bounded in addresses, too', () => {
  const bed = testBed();
  bed.guest.answersArp = false;
  for (let last = 20; last < 40; last += 1) {
    const rule = {
      protocol: 'udp',
      hostAddress: 0,
      hostPort: last,
      guestAddress: 0x0a000200 + last,
      guestPort: 53,
    } as const;
    bed.network.publish(rule, () => {});
  }
  for (const socket of bed.host.udpSockets) socket.events.message(pattern(3), '198.51.100.1', 7000);
  assert.equal(bed.network.stats().arp.unresolved, 4);
  assert.equal(bed.network.stats().arp.requestsOut, 20);
});

test('publishing for an address that no guest can have is an operator’s error', () => {
  const bed = testBed();
  for (const guestAddress of [SERVER, GATEWAY_ADDRESS, DNS_ADDRESS]) {
    const rule = { protocol: 'tcp', hostAddress: 0, hostPort: 1, guestAddress, guestPort: 53 } as const;
    assert.throws(() => bed.network.publish(rule, () => {}), {
      code: 'bad-publish',
      message: /is not a guest's address/,
    });
  }
  assert.deepEqual(bed.network.published(), []);
});

test('a port that the host cannot bind is reported and not in force', () => {
  const bed = testBed();
  bed.host.portsInUse.add('0.0.0.0:8080');
  const rule = { protocol: 'tcp', hostAddress: 0, hostPort: 8080, guestAddress: undefined, guestPort: 80 } as const;
  const outcomes: string[] = [];
  bed.network.publish(rule, (outcome) =>
    outcomes.push(outcome.kind === 'failed' ? outcome.error.message : outcome.kind),
  );
  bed.network.publish({ ...rule, protocol: 'udp' }, (outcome) => outcomes.push(outcome.kind));
  bed.host.udpSockets[0]?.events.failed(new Error('no'));
  bed.simulation.run(1);
  assert.deepEqual(outcomes, ['failed', 'in use: 0.0.0.0:8080']);
  assert.deepEqual([bed.network.published().length, bed.network.stats().publish.failed], [0, 2]);
});
