import assert from 'node:assert/strict';
import { test } from 'node:test';
import { restore, save } from '../../base/struct.ts';
import { Bench } from './bench.testing.ts';
import { FakeDriver, type FakeQueue } from './fake-driver.testing.ts';
import { VirtioP9 } from './p9.ts';
import { P9_MESSAGE_BYTES_MAX, type P9Server } from './p9-port.ts';
import { STATUS } from './spec.ts';

/** Answers with what it was asked, backwards; at once, or when it is let. */
class FakeServer implements P9Server {
  readonly tag = new TextEncoder().encode('/work');
  readonly waiting: (() => void)[] = [];
  isSlow = false;
  resets = 0;
  asked = 0;

  reset(): void {
    this.resets++;
  }

  refuse(request: Uint8Array, reply: Uint8Array): number {
    reply.set([0xee, request[0] ?? 0]);
    return 2;
  }

  answer(request: Uint8Array, reply: Uint8Array): number | Promise<number> {
    this.asked++;
    const answer = (): number => {
      const backwards = request.toReversed().subarray(0, reply.length);
      reply.set(backwards);
      return backwards.length;
    };
    if (!this.isSlow) return answer();
    return new Promise((resolve) => this.waiting.push(() => resolve(answer())));
  }
}

function setUp() {
  const bench = new Bench(VirtioP9.layout, { frames: 1024 });
  const server = new FakeServer();
  const make = () => new VirtioP9(bench.wiring, { ...bench.io, server });
  const device = bench.start(make());
  const driver = new FakeDriver(bench);
  const queue = driver.start()[0];
  assert.ok(queue);
  bench.serve(device);
  return { bench, server, make, device, driver, queue };
}

const message = (first: number, sizeBytes = 8): Uint8Array =>
  Uint8Array.from({ length: sizeBytes }, (_, i) => first + i);

/** Offers a message, with room for its answer. */
function send(driver: FakeDriver, queue: FakeQueue, bytes: Uint8Array, roomBytes = 64) {
  const room = driver.room(roomBytes);
  const head = queue.add([driver.buffer(bytes)], [room], true);
  queue.kick();
  return { head, room };
}

test('the tag is what the guest reads, and a feature says that it is there', () => {
  const { bench, device, driver } = setUp();
  assert.ok(driver.offered().has(0));
  const { registers } = bench;
  assert.equal(driver.config(0, 2), 5);
  const tag = Array.from({ length: 5 }, (_, i) => driver.config(2 + i, 1));
  assert.equal(String.fromCharCode(...tag), '/work');
  assert.equal(driver.config(7, 1), 0);
  assert.equal(device.deviceId, 9);
  registers.setConfig(2, 1, 0x41);
  assert.equal(driver.config(2, 1), 0x2f);
});

test('messages are answered at once, cut as the driver likes; the used length is the answer’s', () => {
  const { bench, device, driver, queue } = setUp();
  const parts = [driver.buffer(message(1, 3)), driver.buffer(message(4, 6))];
  const room = [driver.room(4), driver.room(60)];
  queue.add(parts, room, true);
  queue.kick();
  bench.serve(device);
  assert.deepEqual(
    queue.take().map((used) => used.writtenBytes),
    [9],
  );
  const [first, second] = room;
  assert.ok(first && second);
  assert.deepEqual(
    [...bench.memory.bytes(first.gpa, 4), ...bench.memory.bytes(second.gpa, 5)],
    [9, 8, 7, 6, 5, 4, 3, 2, 1],
  );
  assert.deepEqual(device.counters, { messages: 1, receivedBytes: 9, sentBytes: 9 });
});

test('answers come in the order of the server, and an answer never goes beyond its room', async () => {
  const { bench, server, device, driver, queue } = setUp();
  server.isSlow = true;
  const one = send(driver, queue, message(1, 20), 11);
  const two = send(driver, queue, message(50));
  bench.serve(device);
  assert.equal(device.underWay, 2);
  assert.equal(queue.take().length, 0);
  server.waiting[1]?.();
  await bench.settle(device);
  assert.deepEqual(
    queue.take().map((used) => used.id),
    [two.head],
  );
  server.waiting[0]?.();
  await bench.settle(device);
  assert.deepEqual(queue.take(), [{ id: one.head, writtenBytes: 11 }]);
  assert.equal(device.underWay, 0);
  bench.memory.checkCanaries();
});

test('what the guest changes after its message has no effect on it', async () => {
  const { bench, server, device, driver, queue } = setUp();
  server.isSlow = true;
  const bytes = driver.buffer(message(1));
  const room = driver.room(64);
  queue.add([bytes], [room]);
  queue.kick();
  bench.serve(device);
  bench.memory.setBytes(bytes.gpa, new Uint8Array(8));
  server.waiting[0]?.();
  await bench.settle(device);
  assert.deepEqual([...bench.memory.bytes(room.gpa, 8)], [8, 7, 6, 5, 4, 3, 2, 1]);
});

test('a new driver is a new conversation; answers to the one before touch nothing', async () => {
  const { bench, server, device, driver, queue } = setUp();
  const before = server.resets;
  server.isSlow = true;
  const { room } = send(driver, queue, message(1));
  bench.serve(device);
  const [again] = driver.start();
  bench.serve(device);
  assert.equal(server.resets, before + 1);
  server.waiting[0]?.();
  await bench.settle(device);
  assert.equal(again?.take().length, 0);
  assert.deepEqual([...bench.memory.bytes(room.gpa, 8)], new Array(8).fill(0));
  assert.equal(device.underWay, 0);
  server.isSlow = false;
  send(driver, again as FakeQueue, message(7));
  bench.serve(device);
  assert.equal(again?.take().length, 1);
});

const mischiefs: [string, Parameters<VirtioP9['violated']>[0], (driver: FakeDriver, queue: FakeQueue) => void][] = [
  ['no header', 'chain-format', (driver, queue) => queue.add([driver.buffer(message(1, 6))], [driver.room(64)])],
  [
    'no room for an error',
    'chain-format',
    (driver, queue) => queue.add([driver.buffer(message(1))], [driver.room(10)]),
  ],
  [
    'a message beyond all bounds',
    'chain-bytes',
    (driver, queue) =>
      queue.add([driver.room(P9_MESSAGE_BYTES_MAX), driver.buffer(message(1))], [driver.room(64)], true),
  ],
  [
    'a message that is no memory',
    'dma',
    (driver, queue) => queue.add([{ gpa: 0x1000, sizeBytes: 8 }], [driver.room(64)]),
  ],
  [
    'an answer that is no memory',
    'dma',
    (driver, queue) => queue.add([driver.buffer(message(1))], [{ gpa: 0x1000, sizeBytes: 64 }]),
  ],
];
for (const [what, violation, commit] of mischiefs)
  test(`${what} stops the device until the driver begins anew`, () => {
    const { bench, device, driver, queue } = setUp();
    commit(driver, queue);
    queue.forceKick();
    bench.serve(device);
    assert.deepEqual(device.violations, { [violation]: 1 });
    assert.ok(driver.status() & STATUS.DEVICE_NEEDS_RESET);
    const [again] = driver.start();
    send(driver, again as FakeQueue, message(1));
    bench.serve(device);
    assert.equal(again?.take().length, 1);
  });

test('a buffer that is offered twice before it comes back stops the device', () => {
  const { bench, server, device, driver, queue } = setUp();
  server.isSlow = true;
  const { head } = send(driver, queue, message(1));
  bench.serve(device);
  queue.offer(head);
  queue.forceKick();
  bench.serve(device);
  assert.deepEqual(device.violations, { 'head-in-flight': 1 });
});

test('while much is under way, more waits in the queue, and none is lost', async () => {
  const { bench, server, device, driver, queue } = setUp();
  server.isSlow = true;
  const room = driver.room(P9_MESSAGE_BYTES_MAX);
  for (let i = 0; i < 100; i++) queue.add([driver.buffer(message(1))], [room], true);
  queue.kick();
  bench.serve(device);
  assert.ok(device.underWay > 10 && device.underWay < 70, `${device.underWay} under way`);
  let returned = 0;
  while (server.waiting.length > 0) {
    server.waiting.shift()?.();
    await bench.settle(device);
    returned += queue.take().length;
  }
  assert.equal(returned, 100);
  assert.equal(server.asked, 100);
});

test('saved and restored: what waits in the queue is done, and what was taken and not answered is refused once', () => {
  const { bench, server, make, device, driver, queue } = setUp();
  server.isSlow = true;
  const { head, room } = send(driver, queue, message(1));
  bench.serve(device);
  send(driver, queue, message(100));
  const saved = JSON.parse(JSON.stringify(bench.models.map(({ layout, state }) => save(layout, state))));
  bench.scrub();
  bench.line = false;
  server.isSlow = false;
  const resets = server.resets;
  const other = bench.plug(make());
  for (const [i, { layout, state }] of bench.models.entries()) restore(layout, state, saved[i]);
  other.resume();
  bench.serve(other);
  assert.equal(server.resets, resets, 'the conversation goes on');
  const used = queue.take();
  assert.deepEqual(
    used.map(({ writtenBytes }) => writtenBytes),
    [2, 8],
  );
  assert.equal(used[0]?.id, head);
  assert.deepEqual([...bench.memory.bytes(room.gpa, 2)], [0xee, 1]);
});
