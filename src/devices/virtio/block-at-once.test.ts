import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BlockBench, HeldBackend } from './block.testing.ts';
import { type BlockAtOnce, VirtioBlock } from './block.ts';
import { TwoThreadBlock } from './block-at-once.testing.ts';
import type { BlockBackend, QuickDisk } from './block-backend.ts';
import { VIRTIO_BLK_S, VIRTIO_BLK_T } from './block-request.ts';
import { MemoryBackend } from './memory-backend.ts';
import { Random } from './random.testing.ts';
import { STATUS, VIRTIO_F_EVENT_IDX } from './spec.ts';

const MIB = 1 << 20;
const { OK, IOERR, UNSUPP } = VIRTIO_BLK_S;
const FLUSH = 9;
const TRANSFER = { read: 'disk reads', write: 'disk writes' } as const;

/** A disk whose small requests are done at once, and who did what. */
class QuickBench extends BlockBench {
  readonly log: string[] = [];
  isQuick = true;
  isFlushQuick = true;
  isFree = true;

  constructor(backend: BlockBackend, options: ConstructorParameters<typeof BlockBench>[1] = {}) {
    super(backend, options);
    this.log.length = 0;
    this.#takesOver(backend);
  }

  /** From now on the driver meets the instance that does requests at once. */
  #takesOver(backend: BlockBackend): void {
    const on = (name: keyof typeof TRANSFER): QuickDisk['read'] => {
      return (offset, pieces) => {
        if (!this.isQuick) return false;
        this.log.push(TRANSFER[name]);
        assert.equal(backend[name](offset, pieces), undefined);
        return true;
      };
    };
    const atOnce: BlockAtOnce = {
      memory: this.bench.io.memory,
      disk: {
        read: on('read'),
        write: on('write'),
        flush: () => this.isFlushQuick && this.log.push('disk flushes') > 0,
      },
      run: (act) => this.isFree && act(),
    };
    const io = { ...this.bench.io, backend, report: () => undefined };
    this.device = this.bench.plug(new TwoThreadBlock(this.bench.wiring, atOnce, io));
  }

  /** Offers nothing more; what has come back without the I/O thread, by head. */
  kick(): number[] {
    this.queues[0]?.kick();
    return (this.queues[0]?.take() ?? []).map(({ id }) => id);
  }
}

for (const [name, without] of [
  ['with the event index', []],
  ['without', [VIRTIO_F_EVENT_IDX]],
] as const)
  test(`reads and writes are answered when the notification returns, with an interrupt: ${name}`, () => {
    const disk = new QuickBench(new MemoryBackend(4 * MIB), { memory: { frames: 1400 }, without: [...without] });
    for (const sizeBytes of [512, 4096, 65536 + 512, MIB]) {
      const bytes = new Random(sizeBytes).bytes(sizeBytes);
      const { rings } = disk.bench;
      const write = disk.send(VIRTIO_BLK_T.OUT, 3, bytes);
      assert.deepEqual(disk.kick(), [write.head]);
      assert.equal(disk.answer(write, 0).status, OK);
      assert.ok(disk.bench.line, 'an interrupt');
      disk.bench.mmio.write(0x64, 4, 1);
      const read = disk.send(VIRTIO_BLK_T.IN, 3, sizeBytes);
      assert.deepEqual(disk.kick(), [read.head]);
      assert.deepEqual(disk.answer(read, 0), { status: OK, data: bytes, writtenBytes: 0 });
      disk.bench.mmio.write(0x64, 4, 1);
      assert.equal(disk.bench.rings, rings, 'the I/O thread is not woken');
    }
    const { reads, writes, atOnce, readBytes, writtenBytes } = (disk.device as TwoThreadBlock).io.counters;
    const bytes = 512 + 4096 + 65536 + 512 + MIB;
    assert.deepEqual(
      { reads, writes, atOnce, readBytes, writtenBytes },
      { ...{ reads: 4, writes: 4, atOnce: 8 }, readBytes: bytes, writtenBytes: bytes },
    );
    assert.deepEqual(disk.device.violations, {});
    disk.bench.memory.checkCanaries();
  });

test('several that were offered together are answered together, in their order', () => {
  const disk = new QuickBench(new MemoryBackend(MIB, { content: new Random(1).bytes(MIB) }));
  const sent = Array.from({ length: 20 }, (_, i) => disk.send(VIRTIO_BLK_T.IN, i * 8, 4096));
  assert.deepEqual(
    disk.kick(),
    sent.map(({ head }) => head),
  );
  sent.forEach((one, i) =>
    assert.deepEqual(disk.answer(one, 0).data, new Random(1).bytes(MIB).slice(i * 4096, (i + 1) * 4096)),
  );
});

test('a flush is done at once behind what was written, and few at a time: a medium is slower than memory', () => {
  const disk = new QuickBench(new MemoryBackend(MIB));
  const write = disk.send(VIRTIO_BLK_T.OUT, 0, new Uint8Array(512).fill(1));
  const flush = disk.send(VIRTIO_BLK_T.FLUSH, 0);
  assert.deepEqual(disk.kick(), [write.head, flush.head]);
  assert.deepEqual(disk.log, ['disk writes', 'disk flushes']);
  assert.equal(disk.answer(flush, 0).status, OK);
  const { writes, flushes, atOnce } = (disk.device as TwoThreadBlock).io.counters;
  assert.deepEqual([writes, flushes, atOnce], [1, 1, 2]);
  const many = Array.from({ length: 10 }, () => disk.send(VIRTIO_BLK_T.FLUSH, 0).head);
  assert.deepEqual(disk.kick(), many.slice(0, 2));
});

test('what is not a plain transfer is the I/O thread’s, and what stands behind it; nothing is done twice', async () => {
  const disk = new QuickBench(new MemoryBackend(MIB));
  disk.isFlushQuick = false;
  const first = disk.send(VIRTIO_BLK_T.OUT, 0, new Uint8Array(512).fill(1));
  const flush = disk.send(VIRTIO_BLK_T.FLUSH, 0);
  const last = disk.send(VIRTIO_BLK_T.IN, 0, 512);
  assert.deepEqual(disk.kick(), [first.head]);
  assert.deepEqual(disk.log, ['disk writes']);
  await disk.bench.settle(disk.device);
  assert.deepEqual(
    disk.queues[0]?.take().map(({ id }) => id),
    [flush.head, last.head],
  );
  assert.deepEqual(disk.answer(last, 0).data, new Uint8Array(512).fill(1));
  assert.deepEqual(disk.log, ['disk writes']);
  // And the next one is done at once again.
  const next = disk.send(VIRTIO_BLK_T.IN, 0, 512);
  assert.deepEqual(disk.kick(), [next.head]);
});

const left: [string, number, number, Uint8Array | number, number][] = [
  ['a read beyond the end', VIRTIO_BLK_T.IN, 2048, 512, IOERR],
  ['a read across the end', VIRTIO_BLK_T.IN, 2047, 1024, IOERR],
  ['a read from sector 2^60', VIRTIO_BLK_T.IN, 2 ** 60, 512, IOERR],
  ['a read of half a sector', VIRTIO_BLK_T.IN, 0, 256, IOERR],
  ['a write of half a sector', VIRTIO_BLK_T.OUT, 0, new Uint8Array(100), IOERR],
  ['an unknown request', 99, 0, 0, UNSUPP],
  ['a discard', VIRTIO_BLK_T.DISCARD, 0, BlockBench.ranges([0, 8]), OK],
];
for (const [what, type, sector, data, status] of left)
  test(`${what} is left to the I/O thread, which answers ${status}`, async () => {
    const disk = new QuickBench(new MemoryBackend(MIB));
    assert.equal((await disk.request(type, sector, data)).status, status);
    assert.deepEqual(disk.log, []);
    assert.deepEqual(disk.device.violations, {});
  });

test('so is a transfer of more than a MiB', async () => {
  const disk = new QuickBench(new MemoryBackend(4 * MIB), { memory: { frames: 2000 } });
  assert.equal((await disk.read(0, MIB + 512)).status, OK);
  assert.deepEqual(disk.log, []);
  assert.equal((await disk.read(0, MIB)).status, OK);
  assert.deepEqual(disk.log, ['disk reads']);
});

test('where somebody has the device, or the disk makes wait, the I/O thread is told', async () => {
  const disk = new QuickBench(new MemoryBackend(MIB));
  for (const field of ['isFree', 'isQuick'] as const) {
    disk[field] = false;
    const sent = disk.send(VIRTIO_BLK_T.IN, 0, 512);
    assert.deepEqual(disk.kick(), []);
    await disk.bench.settle(disk.device);
    assert.deepEqual(
      disk.queues[0]?.take().map(({ id }) => id),
      [sent.head],
    );
    disk[field] = true;
    assert.deepEqual(disk.log, []);
  }
});

test('a read-only disk is written by nobody; a driver without flush waits for each write to be on the medium', async () => {
  const readOnly = new QuickBench(new MemoryBackend(MIB, { readOnly: true }));
  assert.equal((await readOnly.write(0, new Uint8Array(512))).status, IOERR);
  assert.deepEqual(readOnly.log, []);
  const held = new HeldBackend(new MemoryBackend(MIB));
  const careful = new QuickBench(held, { without: [FLUSH] });
  careful.send(VIRTIO_BLK_T.OUT, 0, new Uint8Array(512));
  assert.deepEqual(careful.kick(), []);
  careful.serve();
  assert.deepEqual([careful.log, held.log], [[], ['write 0']]);
});

for (const access of ['read', 'write'] as const)
  test(`memory that the device may not ${access} is not reached, and the device needs a reset`, async () => {
    const disk = new QuickBench(new MemoryBackend(MIB, { content: new Uint8Array(MIB).fill(9) }));
    const type = access === 'write' ? VIRTIO_BLK_T.IN : VIRTIO_BLK_T.OUT;
    const place = disk.driver.room(8192);
    const at = Math.ceil(place.gpa / 4096) * 4096;
    const data = { gpa: at, sizeBytes: 4096 };
    disk.bench.memory.setBytes(at, new Uint8Array(4096).fill(3));
    disk.bench.memory.forbid(at, access);
    const [header, status] = [disk.header(type, 0), disk.driver.room(1)];
    disk.queues[0]?.add(access === 'write' ? [header] : [header, data], access === 'write' ? [data, status] : [status]);
    assert.deepEqual(disk.kick(), []);
    assert.deepEqual(disk.log, []);
    await disk.bench.settle(disk.device);
    assert.deepEqual(disk.device.violations, { dma: 1 });
    assert.ok(disk.device.state.status & STATUS.DEVICE_NEEDS_RESET);
    assert.deepEqual(disk.bench.memory.bytes(at, 4096), new Uint8Array(4096).fill(3));
  });

test('a request whose head is still under way breaks the protocol, as ever', async () => {
  const held = new HeldBackend(new MemoryBackend(MIB));
  const disk = new QuickBench(held);
  disk.isQuick = false;
  const sent = disk.send(VIRTIO_BLK_T.IN, 0, 512);
  disk.kick();
  disk.serve();
  disk.isQuick = true;
  disk.queues[0]?.offer(sent.head);
  assert.deepEqual(disk.kick(), []);
  disk.serve();
  assert.deepEqual(disk.device.violations, { 'head-in-flight': 1 });
});

test('an instance that does requests at once changes nothing that is offered, and serves no queue', () => {
  const disk = new QuickBench(new MemoryBackend(MIB));
  const { offered } = disk.device.state;
  const before = [...offered];
  const memory = disk.bench.io.memory;
  const refuse = { read: () => false, write: () => false, flush: () => false };
  const other = disk.bench.plug(new VirtioBlock(disk.bench.wiring, { memory, disk: refuse, run: (act) => act() }));
  assert.deepEqual([...offered], before);
  assert.throws(() => other.service(), /only the I\/O thread's instance/);
});
