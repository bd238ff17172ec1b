/** The capture file, read again by the specification's rules, and announcements as hosts read them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decodeArp, newArpMessage } from '../arp.ts';
import { Simulation } from '../simulation.testing.ts';
import { announcement, reverseArp } from './announcements.ts';
import { GuestAddresses } from './guest-addresses.ts';
import { PcapngWriter } from './pcapng.ts';
import { GUEST_MAC, HOST_IP, Lab } from './segment.testing.ts';

interface Block {
  readonly type: number;
  readonly body: DataView;
  readonly bytes: Uint8Array;
}

function blocksOf(file: Uint8Array): Block[] {
  const view = new DataView(file.buffer, file.byteOffset, file.length);
  const blocks: Block[] = [];
  for (let at = 0; at < file.length; ) {
    const length = view.getUint32(at + 4, true);
    assert.equal(length % 4, 0);
    assert.equal(view.getUint32(at + length - 4, true), length);
    const bytes = file.slice(at + 8, at + length - 4);
    blocks.push({ type: view.getUint32(at, true), body: new DataView(bytes.buffer), bytes });
    at += length;
  }
  return blocks;
}

test('a section, interfaces by name at their first packet, packets with time, direction, both lengths', () => {
  const chunks: Uint8Array[] = [];
  const writer = new PcapngWriter((bytes) => chunks.push(bytes), 20);
  const frame = Uint8Array.from({ length: 61 }, (_, i) => i);
  const wallMs = 1_800_000_000_123.456;
  writer.packet('net0', 'in', frame, wallMs);
  writer.packet('lan0', 'out', frame.subarray(0, 17), wallMs);
  writer.packet('net0', 'out', frame, wallMs);
  const blocks = blocksOf(new Uint8Array(Buffer.concat(chunks)));
  assert.deepEqual(
    blocks.map(({ type }) => type),
    [0x0a0d0d0a, 1, 6, 1, 6, 6],
  );
  assert.equal(blocks[0]?.body.getUint32(0, true), 0x1a2b3c4d);
  assert.match(Buffer.from(blocks[1]?.bytes ?? []).toString('latin1'), /net0/);
  const [, , first, , second] = blocks;
  assert.ok(first && second);
  const ns = (BigInt(first.body.getUint32(4, true)) << 32n) + BigInt(first.body.getUint32(8, true));
  assert.equal(ns / 1000n, BigInt(Math.round(wallMs * 1000)));
  assert.deepEqual(
    [0, 12, 16].map((at) => first.body.getUint32(at, true)),
    [0, 20, 61],
  );
  assert.deepEqual(first.bytes.subarray(20, 40), frame.subarray(0, 20));
  assert.equal(first.body.getUint32(44, true), 1, 'in');
  assert.deepEqual(
    [0, 12, 16].map((at) => second.body.getUint32(at, true)),
    [1, 17, 17],
  );
  assert.equal(second.body.getUint32(44, true), 2, 'out, behind a frame padded to 20');
});

test('a capture of one port has its frames alone, and ends when it is closed', () => {
  const lab = new Lab(new Simulation(1));
  lab.uplink('a', { targets: [HOST_IP] });
  const guest = lab.guest(['a']);
  const counts = { all: 0, uplink: 0 };
  const all = lab.paths.capture({}, () => counts.all++);
  const uplink = lab.paths.capture({ port: 'a', snapBytes: 64 }, () => counts.uplink++);
  guest.station.announce();
  assert.deepEqual(counts, { all: 5, uplink: 3 });
  uplink.close();
  all.close();
  guest.station.announce();
  assert.deepEqual(counts, { all: 5, uplink: 3 });
});

test('announcements are what hosts and bridges take for one', () => {
  const arp = announcement({ kind: 'ipv4', mac: GUEST_MAC, vlan: 0, address: 0x0a090001 });
  const message = newArpMessage();
  assert.ok(decodeArp(new DataView(arp.buffer), 14, arp.length - 14, message));
  assert.deepEqual(message, {
    ...{ operation: 1, senderMac: GUEST_MAC, senderAddress: 0x0a090001 },
    ...{ targetMac: 0, targetAddress: 0x0a090001 },
  });
  const tagged = announcement({ kind: 'ipv4', mac: GUEST_MAC, vlan: 9, address: 1 });
  assert.deepEqual([...tagged.subarray(12, 18)], [0x81, 0, 0, 9, 8, 6]);
  assert.deepEqual([...reverseArp(GUEST_MAC, 0).subarray(12, 22)], [0x80, 0x35, 0, 1, 8, 0, 6, 4, 0, 3]);
});

test('an advertisement, byte by byte, is learned again from itself', () => {
  const address = 'fe80000000000000505400fffe123456';
  const frame = announcement({ kind: 'ipv6', mac: GUEST_MAC, vlan: 0, address });
  const hex = Buffer.from(frame).toString('hex');
  assert.equal(
    hex,
    `333300000001${'525400123456'}86dd` +
      `60000000${'0020'}3aff${address}ff020000000000000000000000000001` +
      `8800${hex.slice(112, 116)}20000000${address}0201525400123456`,
  );
  let sum = 0x20 + 58;
  for (const at of Array.from({ length: 32 }, (_, i) => 22 + 2 * i))
    sum += ((frame[at] ?? 0) << 8) + (frame[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  assert.equal(sum, 0xffff, 'addresses, length, next header, message');
  const addresses = new GuestAddresses();
  addresses.observe(frame);
  assert.deepEqual(addresses.list(), [{ kind: 'ipv6', mac: GUEST_MAC, vlan: 0, address }]);
  const other = Uint8Array.from(frame);
  other[11] = 0x57;
  addresses.observeOthers(other);
  assert.deepEqual(addresses.list(), [], 'somebody else has it now');
});
