import assert from 'node:assert/strict';
import { test } from 'node:test';
import { restore, save } from '../../base/struct.ts';
import { BlockBench, HeldBackend } from './block.testing.ts';
import { VIRTIO_BLK_S, VIRTIO_BLK_T } from './block-request.ts';
import { MemoryBackend } from './memory-backend.ts';
import { Random } from './random.testing.ts';
import { STATUS } from './spec.ts';

const MIB = 1 << 20;
const { OK, IOERR, UNSUPP } = VIRTIO_BLK_S;
const F = { RO: 5, FLUSH: 9, MQ: 12, DISCARD: 13, WRITE_ZEROES: 14 };

test('configuration: capacity in sectors, limits, topology', () => {
  const { driver } = new BlockBench(new MemoryBackend(5 * 2 ** 40));
  assert.equal(driver.config(0, 4), 0x8000_0000);
  assert.equal(driver.config(4, 4), 2);
  assert.equal(driver.config(8, 4), 65536);
  assert.equal(driver.config(12, 4), 254);
  assert.equal(driver.config(0x14, 4), 512);
  assert.equal(driver.config(0x18, 1), 3);
  assert.equal(driver.config(0x22, 2), 1);
  assert.equal(driver.config(0x38, 1), 1);
});

test('features follow the backend', () => {
  const writable = new BlockBench(new MemoryBackend(MIB)).driver.offered();
  assert.ok(writable.has(F.FLUSH) && writable.has(F.DISCARD) && writable.has(F.WRITE_ZEROES));
  assert.ok(!writable.has(F.RO) && !writable.has(F.MQ));
  const readOnly = new BlockBench(new MemoryBackend(MIB, { readOnly: true }), { queues: 2 }).driver.offered();
  assert.ok(readOnly.has(F.RO) && readOnly.has(F.MQ));
  assert.ok(!readOnly.has(F.DISCARD) && !readOnly.has(F.WRITE_ZEROES));
  const bare = new BlockBench(new HeldBackend(new MemoryBackend(MIB))).driver.offered();
  assert.ok(!bare.has(F.DISCARD) && !bare.has(F.WRITE_ZEROES));
});

test('what was written is read, from one sector to a MiB', async () => {
  const disk = new BlockBench(new MemoryBackend(4 * MIB), { memory: { frames: 1400 } });
  for (const sizeBytes of [512, 4096, 65536, 65536 + 512, MIB]) {
    const bytes = new Random(sizeBytes).bytes(sizeBytes);
    assert.deepEqual(await disk.write(3, bytes), { status: OK, data: new Uint8Array(0), writtenBytes: 1 });
    const answer = await disk.read(3, sizeBytes);
    assert.equal(answer.status, OK);
    assert.equal(answer.writtenBytes, sizeBytes + 1);
    assert.deepEqual(answer.data, bytes);
  }
  disk.bench.memory.checkCanaries();
});

test('header, data and status may be cut anywhere', async () => {
  const disk = new BlockBench(new MemoryBackend(MIB, { content: new Random(4).bytes(2048) }));
  const { driver, bench } = disk;
  const header = disk.header(VIRTIO_BLK_T.IN, 1);
  const first = { gpa: header.gpa, sizeBytes: 3 };
  const second = { gpa: header.gpa + 3, sizeBytes: 13 };
  const room = driver.room(1025);
  const cut = [
    { gpa: room.gpa, sizeBytes: 1000 },
    { gpa: room.gpa + 1000, sizeBytes: 25 },
  ];
  disk.queues[0]?.add([first, second], cut);
  disk.queues[0]?.kick();
  disk.serve();
  assert.equal(disk.queues[0]?.take()[0]?.writtenBytes, 1025);
  assert.deepEqual(bench.memory.bytes(room.gpa, 1025), Uint8Array.of(...new Random(4).bytes(2048).slice(512, 1536), 0));
});

const refused: [string, number, number, Uint8Array | number, number][] = [
  ['a read beyond the end', VIRTIO_BLK_T.IN, 2048, 512, IOERR],
  ['a read across the end', VIRTIO_BLK_T.IN, 2047, 1024, IOERR],
  ['a read from sector 2^60', VIRTIO_BLK_T.IN, 2 ** 60, 512, IOERR],
  ['a read of half a sector', VIRTIO_BLK_T.IN, 0, 256, IOERR],
  ['a write beyond the end', VIRTIO_BLK_T.OUT, 2048, new Uint8Array(512), IOERR],
  ['a write of half a sector', VIRTIO_BLK_T.OUT, 0, new Uint8Array(100), IOERR],
  ['an unknown request', 99, 0, 0, UNSUPP],
  ['secure erase, which is not offered', 14, 0, BlockBench.ranges([0, 1]), UNSUPP],
  ['a discard without ranges', VIRTIO_BLK_T.DISCARD, 0, 0, IOERR],
  ['a discard of half a range', VIRTIO_BLK_T.DISCARD, 0, new Uint8Array(8), IOERR],
  ['a discard beyond the end', VIRTIO_BLK_T.DISCARD, 0, BlockBench.ranges([0, 1], [2047, 2]), IOERR],
  ['a discard with the unmap flag', VIRTIO_BLK_T.DISCARD, 0, BlockBench.ranges([0, 8, 1]), UNSUPP],
  ['write-zeroes with a reserved flag', VIRTIO_BLK_T.WRITE_ZEROES, 0, BlockBench.ranges([0, 8, 2]), UNSUPP],
  ['33 ranges', VIRTIO_BLK_T.DISCARD, 0, new Uint8Array(33 * 16), IOERR],
];
for (const [what, type, sector, data, status] of refused) {
  test(`${what} is refused with status ${status}, and the device goes on`, async () => {
    const disk = new BlockBench(new MemoryBackend(MIB, { content: new Uint8Array(MIB).fill(5) }));
    assert.equal((await disk.request(type, sector, data)).status, status);
    assert.deepEqual((await disk.read(0, 512)).data, new Uint8Array(512).fill(5));
    assert.deepEqual(disk.device.violations, {});
  });
}

test('a failed read says that no byte of the data was written', async () => {
  const disk = new BlockBench(new MemoryBackend(MIB));
  assert.equal((await disk.read(2048, 512)).writtenBytes, 0);
});

test('a request too large for its limits is refused without being held', async () => {
  const disk = new BlockBench(new MemoryBackend(64 * MIB), { memory: { frames: 1200 } });
  const status = disk.driver.room(1);
  const room = disk.driver.room(MIB);
  const header = disk.header(VIRTIO_BLK_T.IN, 0);
  disk.queues[0]?.add([header], [...Array.from({ length: 17 }, () => room), status]);
  disk.queues[0]?.kick();
  disk.serve();
  assert.equal(disk.queues[0]?.take().length, 1);
  assert.equal(disk.bench.memory.bytes(status.gpa, 1)[0], IOERR);
});

test('a read-only disk refuses every change', async () => {
  const disk = new BlockBench(new MemoryBackend(MIB, { readOnly: true }));
  assert.equal((await disk.write(0, new Uint8Array(512))).status, IOERR);
  assert.equal((await disk.request(VIRTIO_BLK_T.DISCARD, 0, BlockBench.ranges([0, 8]))).status, IOERR);
  assert.equal((await disk.request(VIRTIO_BLK_T.WRITE_ZEROES, 0, BlockBench.ranges([0, 8]))).status, IOERR);
  assert.equal((await disk.read(0, 512)).status, OK);
});

test('discard and write-zeroes take several ranges', async () => {
  const disk = new BlockBench(new MemoryBackend(MIB, { content: new Uint8Array(MIB).fill(9) }));
  assert.equal((await disk.request(VIRTIO_BLK_T.WRITE_ZEROES, 0, BlockBench.ranges([1, 2, 1], [5, 1]))).status, OK);
  assert.equal((await disk.request(VIRTIO_BLK_T.DISCARD, 0, BlockBench.ranges([8, 8]))).status, OK);
  const { data } = await disk.read(0, 16 * 512);
  const sectors = Array.from({ length: 16 }, (_, i) => data[i * 512]);
  assert.deepEqual(sectors, [9, 0, 0, 9, 9, 0, 9, 9, 0, 0, 0, 0, 0, 0, 0, 0]);
});

test('the identity is the serial, padded or cut to 20 bytes', async () => {
  const short = new BlockBench(new MemoryBackend(MIB), { serial: 'root' });
  const answer = await short.request(VIRTIO_BLK_T.GET_ID, 0, 20);
  assert.equal(new TextDecoder().decode(answer.data), `root${'\0'.repeat(16)}`);
  assert.equal(answer.writtenBytes, 21);
  const long = new BlockBench(new MemoryBackend(MIB), { serial: 'abcdefghijklmnopqrstuvwxyz' });
  assert.equal(new TextDecoder().decode((await long.request(VIRTIO_BLK_T.GET_ID, 0, 20)).data), 'abcdefghijklmnopqrst');
  assert.equal((await long.request(VIRTIO_BLK_T.GET_ID, 0, 4)).data[3], 'd'.charCodeAt(0));
});

test('a chain without room for the status stops the device', () => {
  for (const [readable, writable] of [
    [16, 0],
    [15, 1],
    [0, 8],
  ] as const) {
    const disk = new BlockBench(new MemoryBackend(MIB));
    const sent = readable > 0 ? [disk.driver.room(readable)] : [];
    disk.queues[0]?.add(sent, writable > 0 ? [disk.driver.room(writable)] : []);
    disk.queues[0]?.kick();
    disk.serve();
    assert.deepEqual(disk.device.violations, { 'chain-format': 1 });
    assert.ok((disk.driver.status() & STATUS.DEVICE_NEEDS_RESET) !== 0);
  }
});

test('a buffer out of reach stops the device; the disk is untouched', async () => {
  const disk = new BlockBench(new MemoryBackend(MIB));
  disk.queues[0]?.add([disk.header(VIRTIO_BLK_T.OUT, 0), { gpa: 0x1000, sizeBytes: 512 }], [disk.driver.room(1)]);
  disk.queues[0]?.kick();
  disk.serve();
  assert.deepEqual(disk.device.violations, { dma: 1 });
  assert.equal(disk.device.counters.errors, 0);
  disk.queues = disk.driver.start();
  disk.serve();
  assert.deepEqual((await disk.read(0, 512)).data, new Uint8Array(512));
});

test('requests are under way together and return in the backend’s order', async () => {
  const held = new HeldBackend(
    new MemoryBackend(MIB, { content: Uint8Array.from({ length: 4096 }, (_, i) => i >> 9) }),
  );
  const disk = new BlockBench(held);
  const sent = [0, 1, 2, 3].map((sector) => disk.send(VIRTIO_BLK_T.IN, sector, 512));
  disk.queues[0]?.kick();
  disk.serve();
  assert.equal(disk.device.underWay, 4);
  for (const i of [2, 0, 3, 1]) held.waiting[i]?.go();
  await disk.bench.settle(disk.device);
  const used = disk.queues[0]?.take() ?? [];
  assert.deepEqual(
    used.map(({ id }) => sent.findIndex(({ head }) => head === id)),
    [2, 0, 3, 1],
  );
  for (const [i, request] of sent.entries()) assert.equal(disk.answer(request, 0).data[0], i);
  assert.equal(disk.device.underWay, 0);
});

test('guest memory changes only when the machine lets the completion run', async () => {
  const held = new HeldBackend(new MemoryBackend(MIB, { content: new Uint8Array(512).fill(1) }));
  const disk = new BlockBench(held);
  const sent = disk.send(VIRTIO_BLK_T.IN, 0, 512);
  disk.queues[0]?.kick();
  disk.serve();
  held.waiting[0]?.go();
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(disk.bench.scheduled.length, 1);
  assert.equal(disk.answer(sent, 0).data[0], 0);
  assert.equal(disk.bench.line, false);
  disk.bench.complete();
  assert.equal(disk.answer(sent, 0).data[0], 1);
  assert.equal(disk.bench.line, true);
});

test('what a guest changes after the notification does not reach the disk', async () => {
  const memory = new MemoryBackend(MIB);
  const held = new HeldBackend(memory);
  const disk = new BlockBench(held);
  const data = new Uint8Array(512).fill(1);
  const room = disk.driver.buffer(data);
  disk.queues[0]?.add([disk.header(VIRTIO_BLK_T.OUT, 0), room], [disk.driver.room(1)]);
  disk.queues[0]?.kick();
  disk.serve();
  disk.bench.memory.setBytes(room.gpa, new Uint8Array(512).fill(2));
  held.waiting[0]?.go();
  await disk.bench.settle(disk.device);
  const into = new Uint8Array(512);
  memory.read(0, [into]);
  assert.deepEqual(into, data);
});

test('the host’s errors are the guest’s errors, and are reported', async () => {
  const held = new HeldBackend(new MemoryBackend(MIB));
  const disk = new BlockBench(held);
  const sent = disk.send(VIRTIO_BLK_T.OUT, 8, new Uint8Array(512));
  disk.queues[0]?.kick();
  disk.serve();
  held.waiting[0]?.go(new Error('no space left'));
  await disk.bench.settle(disk.device);
  assert.equal(disk.answer(sent, 0).status, IOERR);
  assert.deepEqual(disk.reports, ['OUT at 4096: no space left']);
  assert.equal(disk.device.counters.errors, 1);
});

test('a backend that throws at once is an error of the host, too', async () => {
  const backend = new MemoryBackend(MIB);
  backend.flush = () => {
    throw new Error('disk is on fire');
  };
  const disk = new BlockBench(backend);
  assert.equal((await disk.request(VIRTIO_BLK_T.FLUSH, 0)).status, IOERR);
  assert.deepEqual(disk.reports, ['FLUSH at 0: disk is on fire']);
});

test('without FLUSH every write is flushed before it is answered', async () => {
  const held = new HeldBackend(new MemoryBackend(MIB));
  const disk = new BlockBench(held, { without: [F.FLUSH] });
  disk.send(VIRTIO_BLK_T.OUT, 0, new Uint8Array(512));
  disk.queues[0]?.kick();
  disk.serve();
  held.waiting[0]?.go();
  await disk.bench.settle(disk.device);
  assert.equal(disk.queues[0]?.take().length, 0);
  assert.deepEqual(held.log, ['write 0', 'flush']);
  held.waiting[1]?.go();
  await disk.bench.settle(disk.device);
  assert.equal(disk.queues[0]?.take().length, 1);
});

test('a head offered again before its request has returned stops the device', () => {
  const disk = new BlockBench(new HeldBackend(new MemoryBackend(MIB)));
  const { head } = disk.send(VIRTIO_BLK_T.IN, 0, 512);
  disk.queues[0]?.offer(head);
  disk.queues[0]?.forceKick();
  disk.serve();
  assert.deepEqual(disk.device.violations, { 'head-in-flight': 1 });
});

test('after a reset, late answers touch neither memory nor rings', async () => {
  const held = new HeldBackend(new MemoryBackend(MIB, { content: new Uint8Array(512).fill(7) }));
  const disk = new BlockBench(held);
  const late = disk.send(VIRTIO_BLK_T.IN, 0, 512);
  disk.queues[0]?.kick();
  disk.serve();
  disk.queues = disk.driver.start();
  disk.serve();
  held.waiting[0]?.go();
  await disk.bench.settle(disk.device);
  assert.equal(disk.answer(late, 0).data[0], 0);
  assert.equal(disk.answer(late, 0).status, 0xff);
  assert.equal(disk.queues[0]?.take().length, 0);
  assert.equal(disk.bench.line, false);
  const again = disk.send(VIRTIO_BLK_T.IN, 0, 512);
  disk.queues[0]?.kick();
  disk.serve();
  held.waiting[1]?.go();
  await disk.bench.settle(disk.device);
  assert.equal(disk.answer(again, 0).data[0], 7);
});

test('requests wait in the queue while too many bytes are under way, and none is forgotten', async () => {
  const held = new HeldBackend(new MemoryBackend(64 * MIB));
  const disk = new BlockBench(held, { memory: { frames: 2600 } });
  const room = disk.driver.room(8 * MIB);
  for (let i = 0; i < 8; i++) {
    disk.queues[0]?.add([disk.header(VIRTIO_BLK_T.IN, 0)], [room, disk.driver.room(1)], true);
  }
  disk.queues[0]?.kick();
  disk.serve();
  assert.equal(disk.device.underWay, 4);
  for (let i = 0; i < 8; i++) {
    held.waiting[i]?.go();
    await disk.bench.settle(disk.device);
  }
  assert.equal(disk.queues[0]?.take().length, 8);
});

test('queues are served apart from each other', async () => {
  const disk = new BlockBench(new MemoryBackend(MIB, { content: new Uint8Array(MIB).fill(4) }), { queues: 3 });
  assert.equal(disk.queues.length, 3);
  for (const queue of [2, 0, 1]) {
    assert.equal((await disk.request(VIRTIO_BLK_T.IN, queue, 512, queue)).data[0], 4);
  }
});

test('save and restore with requests under way: they are taken up again and answered once', async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const random = new Random(seed);
    const content = random.bytes(64 * 512);
    const held = new HeldBackend(new MemoryBackend(MIB, { content }));
    const disk = new BlockBench(held);
    const sent = Array.from({ length: 12 }, (_, i) => {
      const type = i % 4 === 3 ? VIRTIO_BLK_T.OUT : VIRTIO_BLK_T.IN;
      return disk.send(type, i * 4, type === VIRTIO_BLK_T.OUT ? random.bytes(1024) : 1024);
    });
    disk.queues[0]?.kick();
    disk.serve();
    const early = held.waiting.splice(random.below(12), random.below(4));
    for (const { go } of early) go();
    await disk.bench.settle(disk.device);
    const answeredEarly = disk.queues[0]?.take() ?? [];
    assert.equal(answeredEarly.length, early.length);

    const saved = JSON.parse(JSON.stringify(save(disk.device.layout, disk.device.state)));
    new Uint8Array(disk.block.buffer).fill(0xa5);
    const stale = held.waiting.splice(0);
    // In a new process, or back in time in the same one, where the old requests are still to be answered.
    const sameProcess = random.oneIn(2);
    if (!sameProcess) disk.device = disk.newDevice();
    restore(disk.device.layout, disk.device.state, saved);
    disk.device.resume();
    if (sameProcess) for (const { go } of stale) go();
    await disk.bench.settle(disk.device);
    assert.equal(disk.queues[0]?.take().length, 0, `seed ${seed}`);
    assert.equal(disk.device.underWay, 12 - early.length);
    while (held.waiting.length > 0) held.waiting.splice(random.below(held.waiting.length), 1)[0]?.go();
    await disk.bench.settle(disk.device);
    const answeredLate = disk.queues[0]?.take() ?? [];
    const ids = [...answeredEarly, ...answeredLate].map(({ id }) => id).sort((a, b) => a - b);
    assert.deepEqual(
      ids,
      sent.map(({ head }) => head).sort((a, b) => a - b),
      `seed ${seed}`,
    );
    for (const [i, request] of sent.entries()) {
      const answer = disk.answer(request, 0);
      assert.equal(answer.status, OK, `seed ${seed}, request ${i}`);
      if (i % 4 !== 3) assert.deepEqual(answer.data, content.slice(i * 2048, i * 2048 + 1024), `seed ${seed}`);
    }
    disk.bench.memory.checkCanaries();
  }
});

test('a saved guest that needs what the disk has not now is refused with a reason', () => {
  const disk = new BlockBench(new MemoryBackend(MIB));
  const saved = save(disk.device.layout, disk.device.state);
  const other = new BlockBench(new HeldBackend(new MemoryBackend(MIB)));
  restore(other.device.layout, other.device.state, saved);
  assert.throws(() => other.device.resume(), { code: 'device-changed' });
});

test('what a driver wrote but never got agreed on does not keep its guest from being restored', () => {
  const disk = new BlockBench(new MemoryBackend(MIB));
  disk.driver.registers.setStatus(0);
  disk.driver.registers.accept(0, 0xffff_ffff);
  const saved = save(disk.device.layout, disk.device.state);
  restore(disk.device.layout, disk.device.state, saved);
  assert.doesNotThrow(() => disk.device.resume());
});

test('a disk that has grown since the guest was saved is announced', () => {
  const disk = new BlockBench(new MemoryBackend(MIB));
  const saved = save(disk.device.layout, disk.device.state);
  const grown = new BlockBench(new MemoryBackend(2 * MIB));
  restore(grown.device.layout, grown.device.state, saved);
  grown.device.resume();
  assert.equal(grown.driver.config(0, 4), 4096);
  assert.equal(grown.bench.line, true);
});
