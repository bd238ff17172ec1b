/** Checksums and segments that a guest left to us, against sums made byte by byte. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { layersOf } from '../../base/frame-layers.ts';
import { Simulation } from '../simulation.testing.ts';
import { Finisher, guestTakes } from './finish.ts';

interface Shape {
  readonly version: 4 | 6;
  readonly protocol: 'tcp' | 'udp';
  readonly tags: number;
  readonly optionBytes: number;
  readonly payload: Uint8Array;
}

/** The ones' complement sum of RFC 1071, as slow as it is plain. */
function sumOf(bytes: readonly number[]): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) {
    sum += ((bytes[i] ?? 0) << 8) + (bytes[i + 1] ?? 0);
    sum = (sum & 0xffff) + (sum >> 16);
  }
  return sum;
}

function pseudoHeader(frame: Uint8Array, ipAt: number, version: 4 | 6, protocol: number, length: number): number[] {
  const addresses = version === 4 ? frame.subarray(ipAt + 12, ipAt + 20) : frame.subarray(ipAt + 8, ipAt + 40);
  return [...addresses, 0, 0, length >> 8, length & 255, 0, protocol];
}

/** A frame as a guest's driver hands it over: the checksum field holds the pseudo header's sum. */
function build({ version, protocol, tags, optionBytes, payload }: Shape): Uint8Array {
  const number = protocol === 'tcp' ? 6 : 17;
  const transportHeader = protocol === 'tcp' ? 20 + optionBytes : 8;
  const ipHeader = version === 4 ? 20 + optionBytes : 40;
  const ipAt = 14 + 4 * tags;
  const transportAt = ipAt + ipHeader;
  const frame = new Uint8Array(transportAt + transportHeader + payload.length);
  const view = new DataView(frame.buffer);
  frame.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]);
  for (let tag = 0; tag < tags; tag += 1) view.setUint32(12 + 4 * tag, 0x81000007 + tag);
  view.setUint16(ipAt - 2, version === 4 ? 0x0800 : 0x86dd);
  const transportBytes = transportHeader + payload.length;
  if (version === 4) {
    frame[ipAt] = 0x40 | (ipHeader / 4);
    view.setUint16(ipAt + 2, ipHeader + transportBytes);
    view.setUint16(ipAt + 4, 0xfffe);
    frame[ipAt + 8] = 64;
    frame[ipAt + 9] = number;
    frame.set([10, 9, 0, 1, 10, 9, 0, 2], ipAt + 12);
    view.setUint16(ipAt + 10, ~sumOf([...frame.subarray(ipAt, transportAt)]) & 0xffff);
  } else {
    view.setUint32(ipAt, 0x60000000);
    view.setUint16(ipAt + 4, transportBytes);
    frame[ipAt + 6] = number;
    frame.fill(0xfd, ipAt + 8, ipAt + 40);
  }
  if (protocol === 'tcp') {
    view.setUint32(transportAt + 4, 0xfffffff0);
    frame[transportAt + 12] = (transportHeader / 4) << 4;
    frame[transportAt + 13] = 0x80 | 0x18 | 0x01;
  } else view.setUint16(transportAt + 4, transportBytes);
  frame.set(payload, transportAt + transportHeader);
  const field = transportAt + (protocol === 'tcp' ? 16 : 6);
  view.setUint16(field, sumOf(pseudoHeader(frame, ipAt, version, number, transportBytes)));
  return frame;
}

function assertWhole(frame: Uint8Array): void {
  const layers = layersOf(frame);
  assert.ok(layers);
  const { version, protocol, ipAt, transportAt, end } = layers;
  assert.equal(end, frame.length);
  const segment = [...frame.subarray(transportAt, end)];
  const all = [...pseudoHeader(frame, ipAt, version, protocol, end - transportAt), ...segment];
  assert.equal(sumOf(all), 0xffff);
  if (version === 4) assert.equal(sumOf([...frame.subarray(ipAt, transportAt)]), 0xffff);
}

function finished(frame: Uint8Array, segmentBytes = 0): Uint8Array[] | undefined {
  const out: Uint8Array[] = [];
  const taken = new Finisher().finish(frame, { checksumValid: true, segmentBytes }, (whole) => {
    out.push(whole.slice());
    return true;
  });
  return taken === undefined ? undefined : out;
}

describe('what a guest left to us is finished', () => {
  const simulation = new Simulation(3);
  for (const version of [4, 6] as const)
    for (const protocol of ['tcp', 'udp'] as const)
      for (const tags of [0, 1, 2])
        test(`checksums: IPv${version}, ${protocol}, ${tags} tags`, () => {
          for (const length of [0, 1, 2, 7, 1000, 1001]) {
            const optionBytes = 4 * (length % 3);
            const frame = build({ version, protocol, tags, optionBytes, payload: simulation.bytes(length) });
            const [whole, ...more] = finished(frame) ?? [];
            assert.ok(whole);
            assert.equal(more.length, 0);
            assertWhole(whole);
          }
        });

  test('large packets are cut: bytes, sequence numbers, lengths, identification, flags', () => {
    for (const version of [4, 6] as const)
      for (const tags of [0, 1]) {
        const payload = simulation.bytes(10_000);
        const frame = build({ version, protocol: 'tcp', tags, optionBytes: 12, payload });
        const segments = finished(frame, 1448) ?? [];
        assert.equal(segments.length, Math.ceil(10_000 / 1448));
        const gathered: number[] = [];
        segments.forEach((segment, i) => {
          assertWhole(segment);
          const layers = layersOf(segment);
          assert.ok(layers);
          const view = new DataView(segment.buffer);
          assert.equal(view.getUint32(layers.transportAt + 4), (0xfffffff0 + gathered.length) >>> 0);
          const last = i === segments.length - 1;
          const flags = segment[layers.transportAt + 13];
          assert.equal(flags, 0x10 | (last ? 0x09 : 0) | (i === 0 ? 0x80 : 0));
          if (version === 4) assert.equal(view.getUint16(layers.ipAt + 4), (0xfffe + i) & 0xffff);
          gathered.push(...segment.subarray(layers.transportAt + 32));
        });
        assert.deepEqual(Uint8Array.from(gathered), payload);
      }
  });

  test('a UDP checksum that comes to zero is sent as all ones', () => {
    const frame = build({ version: 4, protocol: 'udp', tags: 0, optionBytes: 0, payload: new Uint8Array(2) });
    const view = new DataView(frame.buffer);
    const sum = sumOf([...frame.subarray(34)]);
    view.setUint16(42, 0xffff - sum);
    const [whole] = finished(frame) ?? [];
    assert.ok(whole);
    assert.equal(new DataView(whole.buffer).getUint16(40), 0xffff);
  });

  test('what is not what its offload says is not finished', () => {
    const tcp = build({ version: 4, protocol: 'tcp', tags: 0, optionBytes: 0, payload: new Uint8Array(100) });
    const broken: [string, (frame: Uint8Array) => Uint8Array][] = [
      ['cut short', (frame) => frame.subarray(0, 60)],
      ['a longer length than it has', (frame) => frame.with(16, 0xff)],
      ['a fragment', (frame) => frame.with(20, 0x20)],
      ['another protocol', (frame) => frame.with(23, 1)],
      ['a header of 16 bytes', (frame) => frame.with(14, 0x44)],
      ['no IP', (frame) => frame.with(12, 0x88)],
    ];
    for (const [what, change] of broken) assert.equal(finished(change(tcp)), undefined, what);
    assert.equal(finished(tcp.with(46, 0x10), 50), undefined, 'a TCP header of 4 bytes');
    assert.equal(finished(tcp.with(46, 0xf0), 50)?.length, 2);
    const udp = build({ version: 4, protocol: 'udp', tags: 0, optionBytes: 0, payload: new Uint8Array(100) });
    assert.equal(finished(udp, 50), undefined, 'UDP is not cut');
    for (let i = 0; i < 3000; i += 1) {
      const noise = Uint8Array.from(tcp);
      for (let change = 0; change < 4; change += 1) noise[simulation.between(12, 60)] = simulation.random() & 255;
      for (const segment of finished(noise, simulation.between(1, 2000)) ?? []) assert.ok(segment.length <= 1514);
    }
  });

  test('a guest gets what it has agreed on, and what its device can say', () => {
    const plain = build({ version: 4, protocol: 'tcp', tags: 0, optionBytes: 0, payload: new Uint8Array(3000) });
    const tagged = build({ version: 4, protocol: 'tcp', tags: 1, optionBytes: 0, payload: new Uint8Array(10) });
    const large = { checksumValid: true, segmentBytes: 1448 };
    const checksum = { checksumValid: true, segmentBytes: 0 };
    const able = { checksum: true, largePacketBytes: 65535 };
    assert.equal(guestTakes(plain, undefined, { checksum: false, largePacketBytes: 0 }), true);
    assert.equal(guestTakes(plain, large, able), true);
    assert.equal(guestTakes(plain, large, { checksum: true, largePacketBytes: 0 }), false);
    assert.equal(guestTakes(plain, checksum, { checksum: false, largePacketBytes: 0 }), false);
    assert.equal(guestTakes(tagged, checksum, able), false);
    const any = { ...able, largePacketBytes6: 0 };
    const six = build({ version: 6, protocol: 'tcp', tags: 0, optionBytes: 0, payload: new Uint8Array(3000) });
    assert.equal(guestTakes(tagged, checksum, any), true);
    assert.equal(guestTakes(six, checksum, any), true);
    assert.equal(guestTakes(six, large, any), false);
    assert.equal(guestTakes(six, large, { ...any, largePacketBytes6: 65535 }), true);
    assert.equal(guestTakes(six, checksum, able), false);
  });
});
