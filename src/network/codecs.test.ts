/** Every codec: decode(encode(x)) = x, checksums against a plain reference, and what is malformed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  broadcastOf,
  contains,
  formatIpv4,
  formatMac,
  isGroupMac,
  parseIpv4,
  parseIpv4Prefix,
  parseMac,
  readMac,
  writeMac,
} from './addresses.ts';
import { decodeArp, encodeArp, newArpMessage } from './arp.ts';
import { addToSum, foldChecksum, partialChecksum, pseudoHeaderSum, sumIsValid } from './checksum.ts';
import { decodeDhcp, encodeDhcp, messageType, option, optionUint32 } from './dhcp.ts';
import { decodeQuestion, dnsId, dnsResponseCode, encodeQuery, encodeResponse, isDnsResponse } from './dns.ts';
import { decodeEthernet, encodeEthernet, newEthernetHeader } from './ethernet.ts';
import { decodeIcmp, encodeIcmp, newIcmpHeader } from './icmp.ts';
import { decodeIpv4, encodeIpv4, newIpv4Header } from './ipv4.ts';
import { Packet } from './packet.ts';
import { Simulation } from './simulation.testing.ts';
import { decodeTcp, encodeTcp, newTcpHeader, sequenceDifference, tcpChecksumIsValid, writeTcpChecksum } from './tcp.ts';
import { decodeUdp, encodeUdp, newUdpHeader, udpChecksumIsValid } from './udp.ts';

const chance = new Simulation(42);

/** RFC 1071 as it reads, with bigint. */
function referenceChecksum(bytes: Uint8Array): number {
  let sum = 0n;
  for (let i = 0; i < bytes.length; i += 2) sum += (BigInt(bytes[i] ?? 0) << 8n) | BigInt(bytes[i + 1] ?? 0);
  while (sum >> 16n !== 0n) sum = (sum & 0xffffn) + (sum >> 16n);
  return Number(~sum & 0xffffn);
}

test('the checksum equals the reference for every small length and offset, and for extremes', () => {
  for (let at = 0; at < 5; at += 1) {
    for (let length = 0; length < 80; length += 1) {
      const bytes = chance.bytes(at + length);
      const sum = addToSum(new DataView(bytes.buffer), at, length, 0);
      assert.equal(foldChecksum(sum), referenceChecksum(bytes.subarray(at)), `${at}+${length}`);
    }
  }
  for (const fill of [0x00, 0xff, 0x80]) {
    const bytes = new Uint8Array(65535).fill(fill);
    const sum = addToSum(new DataView(bytes.buffer), 0, bytes.length, 0);
    assert.equal(foldChecksum(sum), referenceChecksum(bytes));
  }
});

test('a sum in parts, with the pseudo header, and its partial form for offload', () => {
  const payload = chance.bytes(1001);
  const pseudo = Uint8Array.of(10, 0, 2, 15, 255, 254, 253, 252, 0, 6, 1001 >> 8, 1001 & 255);
  const sum = pseudoHeaderSum(0x0a00020f, 0xfffefdfc, 6, 1001);
  const whole = new Uint8Array([...pseudo, ...payload]);
  assert.equal(foldChecksum(addToSum(new DataView(payload.buffer), 0, 1001, sum)), referenceChecksum(whole));
  assert.equal(partialChecksum(sum), ~referenceChecksum(pseudo) & 0xffff);
  assert.ok(!sumIsValid(sum));
});

test('addresses in text', () => {
  assert.equal(parseIpv4('10.0.2.15'), 0x0a00020f);
  assert.equal(formatIpv4(0xfffefdfc), '255.254.253.252');
  for (const bad of ['', '1.2.3', '1.2.3.4.5', '256.1.1.1', '01.2.3.4', 'a.b.c.d', '1.2.3.4 ', '-1.2.3.4'])
    assert.equal(parseIpv4(bad), undefined, bad);
  assert.deepEqual(parseIpv4Prefix('10.0.2.77/24'), { address: 0x0a000200, mask: 0xffffff00 });
  assert.deepEqual(parseIpv4Prefix('10.0.2.0'), parseIpv4Prefix('10.0.2.0/24'));
  assert.deepEqual(parseIpv4Prefix('1.2.3.4/0'), { address: 0, mask: 0 });
  assert.deepEqual(parseIpv4Prefix('1.2.3.4/32'), { address: 0x01020304, mask: 0xffffffff });
  for (const bad of ['10.0.2.0/33', '10.0.2.0/', '10.0.2.0/1/2', 'x/24'])
    assert.equal(parseIpv4Prefix(bad), undefined, bad);
  const prefix = { address: 0xc0a80000, mask: 0xffff0000 };
  assert.deepEqual(
    [contains(prefix, 0xc0a8ffff), contains(prefix, 0xc0a90000), broadcastOf(prefix)],
    [true, false, 0xc0a8ffff],
  );
  assert.equal(parseMac('52:55:0A:00:02:02'), 0x52550a000202);
  assert.equal(formatMac(0x000102030405), '00:01:02:03:04:05');
  for (const bad of ['', '52:55:0a:00:02', '52:55:0a:00:02:0g', '5255.0a00.0202'])
    assert.equal(parseMac(bad), undefined);
  assert.deepEqual([isGroupMac(0x01005e000001), isGroupMac(0x525400123456)], [true, false]);
});

test('headers survive encoding and decoding, at any offset', () => {
  for (let round = 0; round < 200; round += 1) {
    const at = chance.between(0, 7);
    const { view } = new Packet(2048);
    const u16 = (): number => chance.random() & 0xffff;
    const u32 = (): number => chance.random();
    const i32 = (): number => chance.random() | 0;
    const mac = (): number => u16() * 2 ** 32 + u32();

    const address = mac();
    writeMac(view, at, address);
    assert.equal(readMac(view, at), address);

    const ethernet = { destination: mac(), source: mac(), type: u16() };
    encodeEthernet(view, at, ethernet);
    const ethernetBack = newEthernetHeader();
    assert.ok(decodeEthernet(view, at, 14, ethernetBack));
    assert.deepEqual(ethernetBack, ethernet);

    const arp = { operation: u16(), senderMac: mac(), senderAddress: u32(), targetMac: mac(), targetAddress: u32() };
    encodeArp(view, at, arp);
    const arpBack = newArpMessage();
    assert.ok(decodeArp(view, at, 28, arpBack));
    assert.deepEqual(arpBack, arp);

    const ip = newIpv4Header();
    Object.assign(ip, {
      payloadBytes: chance.between(0, 1400),
      identification: u16(),
      dontFragment: chance.chance(0.5),
      moreFragments: chance.chance(0.5),
      fragmentOffset: chance.between(0, 0x1fff) * 8,
      ttl: chance.between(0, 255),
      protocol: chance.between(0, 255),
      source: u32(),
      destination: u32(),
    });
    encodeIpv4(view, at, ip);
    const ipBack = newIpv4Header();
    assert.ok(decodeIpv4(view, at, 20 + ip.payloadBytes, ipBack));
    assert.deepEqual(ipBack, ip);

    const payloadBytes = chance.between(0, 1000);
    const icmp = { type: chance.between(0, 255), code: chance.between(0, 255), rest: u32() };
    encodeIcmp(view, at, icmp, payloadBytes);
    const icmpBack = newIcmpHeader();
    assert.ok(decodeIcmp(view, at, 8 + payloadBytes, icmpBack));
    assert.deepEqual(icmpBack, icmp);

    const udp = { sourcePort: u16(), destinationPort: u16(), payloadBytes };
    encodeUdp(view, at, udp, ip.source, ip.destination);
    const udpBack = newUdpHeader();
    assert.ok(decodeUdp(view, at, 8 + payloadBytes, udpBack));
    assert.ok(udpChecksumIsValid(view, at, ip.source, ip.destination));
    assert.deepEqual(udpBack, udp);

    const tcp = newTcpHeader();
    const syn = chance.chance(0.5);
    Object.assign(tcp, {
      sourcePort: u16(),
      destinationPort: u16(),
      sequence: i32(),
      acknowledgement: i32(),
      flags: syn ? 0x12 : 0x18,
      window: u16(),
      maximumSegmentBytes: syn && chance.chance(0.7) ? u16() : 0,
      windowShift: syn && chance.chance(0.7) ? chance.between(0, 14) : -1,
    });
    tcp.headerBytes = encodeTcp(view, at, tcp);
    writeTcpChecksum(view, at, tcp.headerBytes + payloadBytes, ip.source, ip.destination, false);
    const tcpBack = newTcpHeader();
    assert.ok(decodeTcp(view, at, tcp.headerBytes + payloadBytes, tcpBack));
    assert.ok(tcpChecksumIsValid(view, at, tcp.headerBytes + payloadBytes, ip.source, ip.destination));
    assert.deepEqual(tcpBack, tcp);
  }
});

test('one flipped bit anywhere is noticed by the checksum that covers it', () => {
  const { view, bytes } = new Packet(256);
  bytes.set(chance.bytes(256));
  encodeUdp(view, 0, { sourcePort: 1, destinationPort: 2, payloadBytes: 33 }, 3, 4);
  for (let bit = 0; bit < 41 * 8; bit += 1) {
    if (bit >> 3 === 4 || bit >> 3 === 5) continue;
    bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    assert.equal(udpChecksumIsValid(view, 0, 3, 4), false, `bit ${bit}`);
    bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
  }
});

test('malformed headers', () => {
  const { view, bytes } = new Packet(128);
  const ip = newIpv4Header();
  Object.assign(ip, { payloadBytes: 20, source: 1, destination: 2 });
  const decodes = (change: () => void, length = 40): boolean => {
    encodeIpv4(view, 0, ip);
    change();
    view.setUint16(10, 0);
    view.setUint16(10, foldChecksum(addToSum(view, 0, (view.getUint8(0) & 15) * 4, 0)));
    return decodeIpv4(view, 0, length, newIpv4Header());
  };
  assert.ok(decodes(() => {}));
  assert.ok(
    decodes(() => {}, 60),
    'padding behind the packet is allowed',
  );
  assert.ok(!decodes(() => {}, 39), 'longer than the frame');
  assert.ok(!decodes(() => {}, 19));
  assert.ok(!decodes(() => view.setUint8(0, 0x65)), 'version 6');
  assert.ok(!decodes(() => view.setUint8(0, 0x44)), 'a header of 16 bytes');
  assert.ok(!decodes(() => view.setUint16(2, 19)), 'a total below the header');
  encodeIpv4(view, 0, ip);
  view.setUint8(8, 1);
  assert.ok(!decodeIpv4(view, 0, 40, newIpv4Header()), 'header checksum');

  const udp = newUdpHeader();
  encodeUdp(view, 0, { sourcePort: 1, destinationPort: 2, payloadBytes: 4 }, 1, 2);
  assert.ok(!decodeUdp(view, 0, 7, udp) && !decodeUdp(view, 0, 11, udp) && decodeUdp(view, 0, 12, udp));
  view.setUint16(4, 7);
  assert.ok(!decodeUdp(view, 0, 12, udp));
  view.setUint16(4, 12);
  view.setUint16(6, 0);
  assert.ok(udpChecksumIsValid(view, 0, 9, 9), 'no checksum');

  const tcp = newTcpHeader();
  const withOptions = (...options: number[]): boolean => {
    Object.assign(tcp, { flags: 2, maximumSegmentBytes: 0, windowShift: -1 });
    encodeTcp(view, 0, tcp);
    bytes.set(options, 20);
    view.setUint8(12, ((20 + options.length) / 4) << 4);
    return decodeTcp(view, 0, 20 + options.length, tcp);
  };
  assert.ok(withOptions(2, 4, 5, 0xb4) && tcp.maximumSegmentBytes === 1460);
  assert.ok(withOptions(3, 3, 20, 0) && tcp.windowShift === 14, 'a shift above 14 is 14');
  assert.ok(withOptions(0, 2, 0, 0), 'nothing counts behind the end');
  assert.ok(withOptions(1, 1, 1, 1));
  assert.ok(withOptions(254, 4, 9, 9), 'unknown options are skipped');
  assert.ok(!withOptions(2, 0, 0, 0), 'an option of no length');
  assert.ok(!withOptions(1, 1, 2, 4), 'an option beyond the header');
  assert.ok(!withOptions(1, 1, 1, 2), 'an option without a length');
  assert.ok(!decodeTcp(view, 0, 19, tcp));
  view.setUint8(12, 0x40);
  assert.ok(!decodeTcp(view, 0, 60, tcp));

  assert.ok(!decodeArp(view, 0, 27, newArpMessage()));
  assert.ok(!decodeArp(view, 0, 28, newArpMessage()), 'not Ethernet and IPv4');
  assert.ok(!decodeIcmp(view, 0, 7, newIcmpHeader()));
  assert.ok(!decodeEthernet(view, 0, 13, newEthernetHeader()));
});

test('sequence numbers compare across the wrap', () => {
  assert.equal(sequenceDifference(5, -5), 10);
  assert.equal(sequenceDifference(-0x80000000, 0x7fffffff), 1);
  assert.equal(sequenceDifference(0x7fffffff, -0x80000000), -1);
});

test('DHCP messages, long options included', () => {
  const message = {
    operation: 1,
    transaction: 0xdeadbeef,
    broadcast: true,
    clientAddress: 1,
    yourAddress: 2,
    serverAddress: 0xfffffffe,
    clientMac: 0x525400123456,
    options: new Map([
      [53, option.uint8(3)],
      [50, option.uint32(0xc0a80001)],
      [12, option.text('guest')],
    ]),
  };
  const bytes = encodeDhcp(message);
  const back = decodeDhcp(bytes, 0, bytes.length);
  assert.deepEqual(back, message);
  assert.ok(back);
  assert.equal(messageType(back), 3);
  assert.equal(optionUint32(back, 50), 0xc0a80001);
  assert.equal(optionUint32(back, 12), undefined);
  assert.equal(bytes.length, 300);
  // RFC 3396: the parts of a split option are one.
  const split = bytes.slice();
  split.set([12, 1, 0x61, 0, 12, 1, 0x62, 255], 240);
  assert.deepEqual(decodeDhcp(split, 0, split.length)?.options.get(12), Uint8Array.of(0x61, 0x62));
  for (const [what, change] of Object.entries({
    cookie: (b: Uint8Array) => b.set([0], 236),
    'hardware type': (b: Uint8Array) => b.set([6], 1),
    'hardware length': (b: Uint8Array) => b.set([16], 2),
    'an option beyond the end': (b: Uint8Array) => b.set([12, 255], 240),
  })) {
    const bad = bytes.slice();
    change(bad);
    assert.equal(decodeDhcp(bad, 0, bad.length), undefined, what);
  }
  assert.equal(decodeDhcp(bytes, 0, 239), undefined);
  assert.equal(decodeDhcp(Uint8Array.from([...bytes.slice(0, 240), 12]), 0, 241), undefined);
});

test('DNS questions and responses', () => {
  const query = encodeQuery(0xbeef, 'Www.Debian.ORG', 28);
  const question = decodeQuestion(query);
  assert.deepEqual(question, { name: 'www.debian.org', type: 28, class: 1, endBytes: query.length });
  assert.ok(!isDnsResponse(query));
  const response = encodeResponse(query, question, 3, [0x01020304, 0x05060708], 60);
  assert.ok(isDnsResponse(response));
  assert.deepEqual([dnsId(response), dnsResponseCode(response)], [0xbeef, 3]);
  assert.deepEqual(decodeQuestion(response), question);
  assert.equal(response.length, query.length + 32);
  assert.deepEqual([...response.slice(-4)], [5, 6, 7, 8]);
  assert.deepEqual(decodeQuestion(encodeQuery(1, '', 2))?.name, '');
  const odd = encodeQuery(1, 'a.bc', 1);
  odd[13] = 0x2e;
  assert.equal(decodeQuestion(odd)?.name, '\\046.bc');
});

test('DNS: malformed questions', () => {
  const query = encodeQuery(1, 'abc.de', 1);
  for (let length = 0; length < query.length; length += 1)
    assert.equal(decodeQuestion(query.slice(0, length)), undefined);
  const pointer = query.slice();
  pointer.set([0xc0, 12], 12);
  assert.equal(decodeQuestion(pointer), undefined, 'a pointer');
  const two = query.slice();
  two[5] = 2;
  assert.equal(decodeQuestion(two), undefined, 'two questions');
  const long = encodeQuery(1, Array.from({ length: 5 }, () => 'x'.repeat(63)).join('.'), 1);
  assert.equal(decodeQuestion(long), undefined, 'a name above 255 bytes');
});
