import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Bench, TRANSPORTS, type TransportKind } from './bench.testing.ts';
import { ECHO_SERVICE_CHAINS, EchoDevice } from './echo-device.testing.ts';
import { FakeDriver, type FakeQueue } from './fake-driver.testing.ts';
import { FRAME_BYTES } from './fake-memory.testing.ts';
import { Random } from './random.testing.ts';
import { STATUS, VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC, type Violation } from './spec.ts';

function setUp(without: readonly number[] = [], queueSize = 16, transport: TransportKind = 'mmio') {
  const bench = new Bench(EchoDevice.layout, { transport });
  const device = new EchoDevice(bench.wiring, bench.io, queueSize);
  bench.start(device);
  const driver = new FakeDriver(bench);
  const queue = driver.start(without)[0];
  assert.ok(queue);
  bench.serve(device);
  return { bench, device, driver, queue };
}

for (const indirect of [false, true]) {
  test(`a chain of many buffers is two runs of bytes, ${indirect ? 'indirect' : 'direct'}`, () => {
    const { bench, device, driver, queue } = setUp();
    const random = new Random(7);
    const sent = random.bytes(3 * FRAME_BYTES);
    const cuts = [0, 1, 5, 5, 4000, 4100, 9000, sent.length];
    const readable = cuts.slice(1).map((end, i) => driver.buffer(sent.subarray(cuts[i], end)));
    const writable = [driver.room(17), driver.room(2 * FRAME_BYTES), driver.room(FRAME_BYTES)];
    queue.add(readable, writable, indirect);
    queue.kick();
    bench.serve(device);
    assert.deepEqual(
      queue.take().map((used) => used.writtenBytes),
      [sent.length],
    );
    const got = writable.flatMap((buffer) => [...bench.memory.bytes(buffer.gpa, buffer.sizeBytes)]);
    assert.deepEqual(Uint8Array.from(got.slice(0, sent.length)), sent);
    bench.memory.checkCanaries();
  });
}

test('rings wrap: 70,000 chains through a queue of 16 and past 2^16 indexes', () => {
  const { bench, device, driver, queue } = setUp();
  const from = driver.buffer(Uint8Array.of(1));
  const to = driver.room(1);
  let returned = 0;
  for (let i = 0; i < 70_000 / 8; i++) {
    for (let k = 0; k < 8; k++) queue.add([from], [to]);
    queue.kick();
    bench.serve(device);
    returned += queue.take().length;
  }
  assert.equal(returned, 70_000);
});

interface Mischief {
  readonly what: Violation;
  readonly by: string;
  readonly without?: readonly number[];
  commit(queue: FakeQueue, driver: FakeDriver): void;
}

const mischiefs: Mischief[] = [
  { what: 'descriptor-index', by: 'a head beyond the table', commit: (queue) => queue.offer(16) },
  {
    what: 'descriptor-index',
    by: 'a next beyond the table',
    commit: (queue, driver) => {
      queue.setDescriptor(0, driver.room(8).gpa, 8, 1, 16);
      queue.offer(0);
    },
  },
  {
    what: 'chain-length',
    by: 'a descriptor that is its own next',
    commit: (queue, driver) => {
      queue.setDescriptor(0, driver.room(8).gpa, 8, 1, 0);
      queue.offer(0);
    },
  },
  {
    what: 'chain-order',
    by: 'readable after writable',
    commit: (queue, driver) => {
      queue.setDescriptor(0, driver.room(8).gpa, 8, 3, 1);
      queue.setDescriptor(1, driver.room(8).gpa, 8, 0, 0);
      queue.offer(0);
    },
  },
  {
    what: 'chain-bytes',
    by: 'more than 2^32 bytes',
    commit: (queue, driver) => {
      queue.setDescriptor(0, driver.room(8).gpa, 0xffff_ffff, 1, 1);
      queue.setDescriptor(1, driver.room(8).gpa, 2, 0, 0);
      queue.offer(0);
    },
  },
  {
    what: 'avail-index',
    by: 'an index 17 ahead of a queue of 16',
    commit: (queue, driver) => driver.memory.setU16(queue.available + 2, 17),
  },
  {
    what: 'dma',
    by: 'a buffer that is not memory',
    commit: (queue) => {
      queue.setDescriptor(0, 0x1000, 8, 1, 1);
      queue.setDescriptor(1, 0x1000, 8, 2, 0);
      queue.offer(0);
    },
  },
  {
    what: 'dma',
    by: 'an address of 2^52 and more',
    commit: (queue) => {
      queue.setDescriptor(0, 2 ** 52, 8, 0, 0);
      queue.offer(0);
    },
  },
  {
    what: 'dma',
    by: 'a buffer that runs over the end of memory',
    commit: (queue, driver) => {
      const end = driver.memory.base + driver.memory.sizeBytes;
      queue.setDescriptor(0, end - 4, 8, 1, 1);
      queue.setDescriptor(1, end - 4, 8, 2, 0);
      queue.offer(0);
    },
  },
  {
    what: 'dma',
    by: 'a frame that the device may not write',
    commit: (queue, driver) => {
      const to = driver.memory.allocate(FRAME_BYTES, FRAME_BYTES);
      driver.memory.forbid(to, 'write');
      queue.add([driver.buffer(Uint8Array.of(1, 2))], [{ gpa: to, sizeBytes: 2 }]);
    },
  },
  {
    what: 'dma',
    by: 'a frame that the device may not read',
    commit: (queue, driver) => {
      const from = driver.memory.allocate(FRAME_BYTES, FRAME_BYTES);
      driver.memory.forbid(from, 'both');
      queue.add([{ gpa: from, sizeBytes: 2 }], [driver.room(2)]);
    },
  },
  {
    what: 'dma',
    by: 'a used ring whose frame becomes read-only',
    commit: (queue, driver) => {
      queue.add([driver.buffer(Uint8Array.of(1))], [driver.room(1)]);
      driver.memory.forbid(queue.used, 'write');
    },
  },
  {
    what: 'dma',
    by: 'an indirect table that is not memory',
    commit: (queue) => {
      queue.setDescriptor(0, 0x1000, 32, 4, 0);
      queue.offer(0);
    },
  },
  {
    what: 'indirect',
    by: 'an indirect table without the feature',
    without: [VIRTIO_F_INDIRECT_DESC],
    commit: (queue, driver) => {
      queue.setDescriptor(0, driver.room(32).gpa, 32, 4, 0);
      queue.offer(0);
    },
  },
  {
    what: 'indirect',
    by: 'INDIRECT together with NEXT',
    commit: (queue, driver) => {
      queue.setDescriptor(0, driver.room(32).gpa, 32, 5, 1);
      queue.offer(0);
    },
  },
  {
    what: 'indirect',
    by: 'an empty table',
    commit: (queue, driver) => {
      queue.setDescriptor(0, driver.room(32).gpa, 0, 4, 0);
      queue.offer(0);
    },
  },
  {
    what: 'indirect',
    by: 'half a descriptor',
    commit: (queue, driver) => {
      queue.setDescriptor(0, driver.room(32).gpa, 24, 4, 0);
      queue.offer(0);
    },
  },
  {
    what: 'indirect',
    by: 'a table longer than the queue',
    commit: (queue, driver) => {
      queue.setDescriptor(0, driver.room(17 * 16).gpa, 17 * 16, 4, 0);
      queue.offer(0);
    },
  },
  {
    what: 'indirect',
    by: 'a table within a table',
    commit: (queue, driver) => {
      const inner = driver.room(16);
      const table = driver.room(16);
      driver.memory.setU64(table.gpa, inner.gpa);
      driver.memory.setU32(table.gpa + 8, 16);
      driver.memory.setU16(table.gpa + 12, 4);
      queue.setDescriptor(0, table.gpa, 16, 4, 0);
      queue.offer(0);
    },
  },
  {
    what: 'descriptor-index',
    by: 'a next beyond the indirect table',
    commit: (queue, driver) => {
      const table = driver.room(32);
      driver.memory.setU64(table.gpa, driver.room(8).gpa);
      driver.memory.setU32(table.gpa + 8, 8);
      driver.memory.setU16(table.gpa + 12, 1);
      driver.memory.setU16(table.gpa + 14, 2);
      queue.setDescriptor(0, table.gpa, 32, 4, 0);
      queue.offer(0);
    },
  },
  {
    what: 'chain-length',
    by: 'a loop within the indirect table',
    commit: (queue, driver) => {
      const table = driver.room(32);
      driver.memory.setU64(table.gpa, driver.room(8).gpa);
      driver.memory.setU32(table.gpa + 8, 8);
      driver.memory.setU16(table.gpa + 12, 1);
      queue.setDescriptor(0, table.gpa, 32, 4, 0);
      queue.offer(0);
    },
  },
];

for (const { what, by, without, commit } of mischiefs) {
  test(`${by}: ${what}, counted once, NEEDS_RESET, nothing written`, () => {
    const { bench, device, driver, queue } = setUp(without);
    commit(queue, driver);
    const used = bench.memory.u16(queue.used + 2);
    queue.forceKick();
    assert.ok(bench.serve(device));
    assert.deepEqual(device.violations, { [what]: 1 });
    assert.equal(driver.status() & STATUS.DEVICE_NEEDS_RESET, STATUS.DEVICE_NEEDS_RESET);
    assert.equal(bench.memory.u16(queue.used + 2), used);
    queue.forceKick();
    assert.ok(bench.serve(device));
    assert.deepEqual(device.violations, { [what]: 1 });
    bench.memory.checkCanaries();
  });
}

test('a queue that is longer than a service asks to be served again until it is empty', () => {
  const { bench, device, driver, queue } = setUp([], 64);
  for (let i = 0; i < ECHO_SERVICE_CHAINS; i++) queue.add([driver.buffer(Uint8Array.of(i))], [driver.room(1)], true);
  for (let i = 0; i < 20; i++) queue.add([driver.buffer(Uint8Array.of(i))], [driver.room(1)], true);
  queue.kick();
  device.service();
  assert.equal(queue.take().length, ECHO_SERVICE_CHAINS);
  assert.ok(bench.serve(device));
  assert.equal(queue.take().length, 20);
});

test('event index: one notification wakes the device, further ones wait until it has looked', () => {
  const { bench, device, driver, queue } = setUp();
  const add = () => queue.add([driver.buffer(Uint8Array.of(1))], [driver.room(1)]);
  add();
  assert.equal(queue.kick(), true);
  add();
  assert.equal(queue.kick(), false);
  bench.serve(device);
  assert.equal(queue.take().length, 2);
  add();
  assert.equal(queue.kick(), true);
});

test('event index: an interrupt comes only when the driver’s event is passed', () => {
  const { bench, device, driver, queue } = setUp();
  queue.wantInterruptAfter(3);
  for (let i = 0; i < 3; i++) {
    assert.equal(driver.takeInterrupt(), 0, `after ${i}`);
    queue.add([driver.buffer(Uint8Array.of(1))], [driver.room(1)]);
    queue.forceKick();
    bench.serve(device);
  }
  assert.equal(driver.takeInterrupt(), 1);
});

test('without the event index, flags suppress notifications and interrupts', () => {
  const { bench, device, driver, queue } = setUp([VIRTIO_F_EVENT_IDX]);
  queue.setNoInterrupt(true);
  queue.add([driver.buffer(Uint8Array.of(1))], [driver.room(1)]);
  assert.ok(queue.kick());
  bench.serve(device);
  assert.equal(driver.takeInterrupt(), 0);
  queue.setNoInterrupt(false);
  queue.add([driver.buffer(Uint8Array.of(1))], [driver.room(1)]);
  assert.ok(queue.kick(), 'notifications are asked for again after the service');
  bench.serve(device);
  assert.equal(driver.takeInterrupt(), 1);
  assert.equal(queue.take().length, 2);
});

for (const without of [[], [VIRTIO_F_EVENT_IDX]]) {
  test(`a buffer that comes between the last look and arming is found (${without.length ? 'flags' : 'event index'})`, () => {
    const { bench, device, driver, queue } = setUp(without);
    // The driver adds at the last moment: when the device publishes, it interrupts, and the handler adds another.
    let late = 3;
    bench.onInterrupt = () => {
      if (late === 0) return;
      late--;
      queue.take();
      queue.add([driver.buffer(Uint8Array.of(1))], [driver.room(1)]);
      queue.kick();
    };
    queue.add([driver.buffer(Uint8Array.of(1))], [driver.room(1)]);
    queue.kick();
    bench.serve(device);
    assert.equal(device.state.echoed, 4);
  });
}

for (const transport of TRANSPORTS)
  test(`property, over ${transport}: with random batches, suppressions and delays every chain returns and nobody waits for ever`, () => {
    for (let seed = 1; seed <= 60; seed++) {
      const random = new Random(seed);
      const without = random.oneIn(2) ? [VIRTIO_F_EVENT_IDX] : [];
      const { bench, device, driver, queue } = setUp(without, 16, transport);
      const from = driver.buffer(Uint8Array.of(seed));
      const to = driver.room(1);
      let sent = 0;
      let returned = 0;
      for (let step = 0; step < 300; step++) {
        const room = Math.floor(queue.freeDescriptors / 2);
        for (let n = random.below(room + 1); n > 0; n--, sent++) queue.add([from], [to]);
        queue.kick();
        if (random.oneIn(3)) bench.serve(device);
        // As an interrupt handler: looks only when interrupted.
        if (driver.takeInterrupt() !== 0) returned += queue.take().length;
      }
      for (let calm = 0; calm < 3; calm++) {
        bench.serve(device);
        if (driver.takeInterrupt() !== 0) returned += queue.take().length;
      }
      assert.equal(returned, sent, `seed ${seed}`);
      assert.deepEqual(device.violations, {}, `seed ${seed}`);
    }
  });
