import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { test } from 'node:test';
import { crc32 } from 'node:zlib';
import { allIoWorkloads, classOf, ioClasses } from './classes.ts';
import { randomWords, startPeer } from './io-peer.ts';
import { ioBounds, ioMarkdown, ioReport } from './io-report.ts';
import { ioWorkloads } from './io-run.ts';
import type { Sample, Session } from './measure.ts';
import { evaluate } from './results.ts';

const MIB = 1 << 20;

/** What the peer answers to a head and what follows it, as soon as so many bytes have come. */
async function ask(port: number, kind: number, count: number, sent: Uint8Array, wanted: number): Promise<Buffer> {
  const head = Buffer.alloc(16);
  head.writeBigUInt64LE(BigInt(kind));
  head.writeBigUInt64LE(BigInt(count), 8);
  const socket = connect(port, '127.0.0.1');
  // In pieces, as a network cuts.
  socket.write(head.subarray(0, 5));
  socket.write(Buffer.concat([head.subarray(5), sent]));
  let got = Buffer.alloc(0);
  for await (const bytes of socket) {
    got = Buffer.concat([got, bytes as Buffer]);
    if (got.length >= wanted) break;
  }
  socket.destroy();
  return got;
}

test('the peer takes, gives and echoes', async () => {
  const { port, close } = await startPeer();
  try {
    const data = randomWords(1n, MIB / 8);
    const sum = await ask(port, 1, data.length, data, 8);
    assert.equal(sum.readBigUInt64LE(), BigInt(crc32(data)));
    const given = await ask(port, 2, MIB + 100, new Uint8Array(0), MIB + 100);
    assert.deepEqual(given, Buffer.concat([data, data.subarray(0, 100)]));
    assert.deepEqual(await ask(port, 3, 0, data.subarray(0, 64), 64), Buffer.from(data.subarray(0, 64)));
    assert.equal((await ask(port, 9, 0, data.subarray(0, 64), 64)).length, 0);
  } finally {
    close();
  }
});

test("the random sequence is the guest's", () => {
  const words = new BigUint64Array(randomWords(1n, 2).buffer);
  // The first two of xorshift64* from seed 1.
  assert.deepEqual([...words], [0x47e4ce4b896cdd1dn, 0xabcfa6a8e079651dn]);
});

test('each class has workloads; `io` is all of them, other words are none of this part', async () => {
  const all = await allIoWorkloads();
  assert.deepEqual(
    [...new Set(all.map(classOf))],
    ioClasses.map(({ name }) => name),
  );
  assert.deepEqual(await ioWorkloads('io'), all);
  assert.deepEqual(await ioWorkloads('network/send,read-4k'), ['network/send', 'block/read-4k']);
  assert.equal(await ioWorkloads('integer'), undefined);
  assert.equal(await ioWorkloads('block,integer'), undefined);
});

function session(seconds: Readonly<Record<string, number>>): Session {
  const samples = Object.entries(seconds).map(
    ([workload, time]): Sample => ({
      ...{ workload, iterations: 4, checksum: 'a', seconds: time, wholeSeconds: time, cpuSeconds: time },
    }),
  );
  return { samples, peakBytes: 1, stats: [] };
}

test('ratios are of equal transports, and a class below its floor is told', () => {
  const pair = (ours: number) =>
    evaluate(
      {
        qemu: [session({ 'network/send': 2, 'block/read-4k': 2 })],
        ours: [session({ 'network/send': 1, 'block/read-4k': ours })],
      },
      ioClasses,
    );
  const results = new Map([
    ['mmio', pair(2)],
    ['pci', pair(4)],
  ] as const);
  assert.deepEqual(
    ioBounds(results).map(({ holds }) => holds),
    [true, true, true, false],
  );
  assert.match(ioReport(results), /network\/send +mmio +2 MB\/s +4 MB\/s +2\.00 +2\.00\n/);
  assert.match(ioReport(results), /block\/read-4k +pci +2\/s +1\/s +0\.50/);
  assert.match(ioMarkdown(results), /- not held: block by pci has 0\.50 times QEMU's speed \(at least 1, goal 2\)/);
});
