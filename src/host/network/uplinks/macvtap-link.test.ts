/** What a macvtap device needs that no device is needed for: its header, and what iproute2 says of it. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseHostLink } from './link-watch.ts';
import { readVnetHeader, VNET_HEADER_BYTES, writeVnetHeader } from './vnet-header.ts';

/** Ethernet, IPv4, TCP (or UDP) with nothing in it. */
function frame(protocol: number): Uint8Array {
  const bytes = new Uint8Array(14 + 20 + 20);
  bytes.set([8, 0, 0x45, 0, 0, 40], 12);
  bytes[23] = protocol;
  bytes[46] = 0x50;
  return bytes;
}

describe('the header before a frame', () => {
  const header = new Uint8Array(VNET_HEADER_BYTES);

  test('a plain frame has an empty one', () => {
    header.fill(0xff);
    assert.ok(writeVnetHeader(header, frame(6), undefined));
    assert.deepEqual(
      [...header],
      Array.from({ length: 10 }, () => 0),
    );
    assert.equal(readVnetHeader(header), undefined);
  });

  test('checksums: where the sum begins, and where it goes', () => {
    for (const [protocol, field] of [
      [6, 16],
      [17, 6],
    ] as const) {
      const offload = { checksumValid: true, segmentBytes: 0 };
      assert.ok(writeVnetHeader(header, frame(protocol), offload));
      assert.deepEqual([...header], [1, 0, 0, 0, 0, 0, 34, 0, field, 0]);
      assert.deepEqual(readVnetHeader(header), offload);
    }
  });

  test('large packets: their kind, their headers, the size of a segment', () => {
    const offload = { checksumValid: true, segmentBytes: 1448 };
    assert.ok(writeVnetHeader(header, frame(6), offload));
    assert.deepEqual([...header], [1, 1, 54, 0, 0xa8, 5, 34, 0, 16, 0]);
    assert.deepEqual(readVnetHeader(header), offload);
    assert.ok(writeVnetHeader(header, frame(6).with(47, 0x80), offload));
    assert.equal(header[1], 0x81, 'with CWR set, segments are cut another way');
  });

  test('what is not what it says has none', () => {
    const offload = { checksumValid: true, segmentBytes: 1448 };
    assert.equal(writeVnetHeader(header, frame(17), offload), false);
    assert.equal(writeVnetHeader(header, new Uint8Array(60), offload), false);
  });

  test('a packet that the kernel has verified is plain', () => {
    assert.equal(readVnetHeader(Uint8Array.of(2, 0, 0, 0, 0, 0, 0, 0, 0, 0)), undefined);
  });
});

describe('what iproute2 says', () => {
  test('of a device with a carrier, its kind, its limits', () => {
    const line =
      '9001: mt1@h1: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 9000 qdisc pfifo_fast state UP mode DEFAULT group default qlen 500\\    link/ether d2:2a:1b:26:e8:bb brd ff:ff:ff:ff:ff:ff promiscuity 0  allmulti 0 minmtu 68 maxmtu 65535 \\    macvtap mode passthru bcqueuelen 1000';
    assert.deepEqual(parseHostLink(line), {
      ...{ name: 'mt1', index: 9001, isUp: true, mtuBytes: 9000, mode: 'passthru', address: 'd2:2a:1b:26:e8:bb' },
      isDeleted: false,
    });
  });

  test('of one without, of one that is down, of one that is gone', () => {
    const told = (flags: string, before = ''): boolean[] => {
      const link = parseHostLink(
        `${before}9001: mt1@if5: <${flags}> mtu 1500 state X\\    link/ether 00:00:00:00:00:01`,
      );
      return link === undefined ? [] : [link.isUp, link.isDeleted];
    };
    assert.deepEqual(told('NO-CARRIER,BROADCAST,MULTICAST,UP'), [false, false]);
    assert.deepEqual(told('BROADCAST,MULTICAST,LOWER_UP'), [false, false]);
    assert.deepEqual(told('BROADCAST,MULTICAST,UP,LOWER_UP', 'Deleted '), [true, true]);
  });

  test('what is something else is nothing', () => {
    for (const line of ['', '    link/ether 00:00:00:00:00:01', 'Cannot find device', '9001: <UP>'])
      assert.equal(parseHostLink(line), undefined);
  });
});
