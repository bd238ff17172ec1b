import assert from 'node:assert/strict';
import { test } from 'node:test';
import { restore, save } from '../../base/struct.ts';
import { Bench } from './bench.testing.ts';
import { type ConsoleIo, VirtioConsole } from './console.ts';
import { type Buffer, FakeDriver, type FakeQueue } from './fake-driver.testing.ts';
import { Random } from './random.testing.ts';

const MULTIPORT = 1;
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const bytes = (of: string) => new TextEncoder().encode(of);

interface Message {
  readonly id: number;
  readonly event: number;
  readonly value: number;
  readonly extra: number[];
}

/** The driver of Linux's virtio_console, as far as the device can tell. */
class Guest {
  readonly bench = new Bench(VirtioConsole.layout, { frames: 1024 });
  device: VirtioConsole;
  readonly driver: FakeDriver;
  queues: FakeQueue[] = [];
  readonly log: string[] = [];
  readonly io: ConsoleIo;
  readonly #rooms = new Map<string, Buffer>();

  constructor(options: Partial<ConsoleIo> = {}) {
    this.io = { ...this.bench.io, ...options };
    this.device = this.newDevice();
    this.bench.start(this.device);
    this.driver = new FakeDriver(this.bench);
  }

  newDevice(): VirtioConsole {
    const device = this.bench.plug(new VirtioConsole(this.bench.wiring, this.io));
    for (const [i, port] of device.ports.entries()) {
      port.onData = (data) => this.log.push(`${i}: ${text(data)}`);
      port.onOpen = () => this.log.push(`${i} opens`);
      port.onClose = () => this.log.push(`${i} closes`);
      port.onDrain = () => this.log.push(`${i} drains`);
    }
    return device;
  }

  queue(index: number): FakeQueue {
    const queue = this.queues[index];
    assert.ok(queue);
    return queue;
  }

  start(without: readonly number[] = []): this {
    this.queues = this.driver.start(without);
    if (without.includes(MULTIPORT)) return this;
    for (let i = 0; i < 16; i++) this.room(2, 256);
    this.queue(2).kick();
    this.control(0, 0, 1);
    return this;
  }

  serve(): void {
    assert.ok(this.bench.serve(this.device), 'the device keeps ringing');
  }

  room(queue: number, sizeBytes: number): void {
    const room = this.driver.room(sizeBytes);
    this.#rooms.set(`${queue}.${this.queue(queue).add([], [room])}`, room);
  }

  control(id: number, event: number, value: number): void {
    const message = new Uint8Array(8);
    const data = new DataView(message.buffer);
    data.setUint32(0, id, true);
    data.setUint16(4, event, true);
    data.setUint16(6, value, true);
    this.send(3, message);
  }

  send(queue: number, data: Uint8Array): void {
    this.queue(queue).add([this.driver.buffer(data)]);
    this.queue(queue).kick();
    this.serve();
  }

  received(queue: number): Uint8Array[] {
    return this.queue(queue)
      .take()
      .map(({ id, writtenBytes }) => {
        const room = this.#rooms.get(`${queue}.${id}`);
        assert.ok(room);
        return this.bench.memory.bytes(room.gpa, writtenBytes);
      });
  }

  messages(): Message[] {
    return this.received(2).map((message) => {
      const data = new DataView(message.buffer);
      return {
        id: data.getUint32(0, true),
        event: data.getUint16(4, true),
        value: data.getUint16(6, true),
        extra: [...message.subarray(8)],
      };
    });
  }

  /** Both ports up and open, as after Linux's probe and an agent's open. */
  up(): this {
    this.start();
    for (const id of [0, 1]) this.control(id, 3, 1);
    this.control(0, 6, 1);
    this.control(1, 6, 1);
    this.messages();
    this.log.length = 0;
    return this;
  }
}

test('configuration: two ports, their queues and no more', () => {
  const guest = new Guest();
  assert.equal(guest.driver.config(4, 4), 2);
  assert.deepEqual(
    [0, 1, 2, 3, 4, 5, 6, 7].map((i) => guest.driver.queueSizeMax(i)),
    [64, 64, 64, 64, 64, 64, 0, 0],
  );
});

test('the ports introduce themselves in the order that Linux expects', () => {
  const guest = new Guest().start();
  assert.deepEqual(
    guest.messages().map(({ id, event, value }) => [id, event, value]),
    [
      [0, 1, 1],
      [1, 1, 1],
    ],
  );
  guest.control(0, 3, 1);
  assert.deepEqual(guest.messages(), [
    { id: 0, event: 4, value: 1, extra: [] },
    { id: 0, event: 6, value: 1, extra: [] },
  ]);
  guest.control(1, 3, 1);
  assert.deepEqual(guest.messages(), [
    { id: 1, event: 7, value: 1, extra: [...bytes('org.kagemusha.agent.0')] },
    { id: 1, event: 6, value: 1, extra: [] },
  ]);
});

test('messages wait for control buffers, and none is lost or doubled', () => {
  const guest = new Guest();
  guest.queues = guest.driver.start();
  guest.control(0, 0, 1);
  guest.control(0, 0, 1);
  const seen: number[][] = [];
  for (let i = 0; i < 3; i++) {
    guest.room(2, 64);
    guest.queue(2).kick();
    guest.serve();
    seen.push(...guest.messages().map(({ id, event }) => [id, event]));
  }
  assert.deepEqual(seen, [
    [0, 1],
    [1, 1],
  ]);
});

test('guest to host: bytes in order, open before the first and close after the last', () => {
  const guest = new Guest().start();
  guest.control(1, 3, 1);
  // All three queues are notified before the device looks.
  const { driver } = guest;
  const open = driver.buffer(Uint8Array.of(1, 0, 0, 0, 6, 0, 1, 0));
  const close = driver.buffer(Uint8Array.of(1, 0, 0, 0, 6, 0, 0, 0));
  guest.queue(3).add([open]);
  guest.queue(3).kick();
  guest.serve();
  guest.queue(5).add([driver.buffer(bytes('one ')), driver.buffer(bytes('two'))]);
  guest.queue(5).kick();
  guest.queue(3).add([close]);
  guest.queue(3).kick();
  guest.serve();
  assert.deepEqual(guest.log, ['1 opens', '1: one two', '1 closes']);
  assert.equal(guest.queue(5).take().length, 1);
});

test('a chain longer than the scratch comes in several pieces', () => {
  const guest = new Guest().up();
  const sent = new Random(1).bytes(150_000);
  const got: number[] = [];
  const port = guest.device.ports[1];
  assert.ok(port);
  port.onData = (data) => void got.push(...data);
  guest.send(5, sent);
  assert.deepEqual(Uint8Array.from(got), sent);
});

test('a chain longer than any console’s stops the device', () => {
  const guest = new Guest().up();
  const room = guest.driver.room(1 << 20);
  guest.queue(5).add([room, room]);
  guest.queue(5).kick();
  guest.serve();
  assert.deepEqual(guest.device.violations, { 'chain-bytes': 1 });
});

test('host to guest: bytes fill the buffers that are there, the rest follows', () => {
  const guest = new Guest().up();
  const port = guest.device.ports[0];
  assert.ok(port);
  guest.room(0, 4);
  guest.queue(0).kick();
  assert.equal(port.send(bytes('hello')), 5);
  guest.serve();
  assert.deepEqual(guest.received(0).map(text), ['hell']);
  guest.room(0, 4);
  assert.equal(guest.queue(0).kick(), true, 'the device asked for a buffer');
  guest.serve();
  assert.deepEqual(guest.received(0).map(text), ['o']);
});

test('flow control to the guest: send takes what fits, drain tells when to go on', () => {
  const guest = new Guest().up();
  const port = guest.device.ports[1];
  assert.ok(port);
  assert.equal(port.send(new Uint8Array(5000)), 4096);
  assert.equal(port.send(new Uint8Array(1)), 0);
  guest.serve();
  assert.deepEqual(guest.log, []);
  guest.room(4, 1000);
  guest.queue(4).kick();
  guest.serve();
  assert.deepEqual(guest.log, ['1 drains']);
  assert.equal(port.send(new Uint8Array(5000)), 1000);
});

test('flow control to the host: while paused, the guest’s buffers stay in its queue', () => {
  const guest = new Guest().up();
  const port = guest.device.ports[1];
  assert.ok(port);
  port.onData = (data) => {
    guest.log.push(text(data));
    port.pause();
  };
  for (const word of ['one', 'two', 'three']) guest.queue(5).add([guest.driver.buffer(bytes(word))]);
  guest.queue(5).kick();
  guest.serve();
  assert.deepEqual(guest.log, ['one']);
  assert.equal(guest.queue(5).take().length, 1);
  port.resume();
  guest.serve();
  assert.deepEqual(guest.log, ['one', 'two']);
  port.resume();
  guest.serve();
  port.resume();
  guest.serve();
  assert.deepEqual(guest.log, ['one', 'two', 'three']);
  guest.queue(5).add([guest.driver.buffer(bytes('four'))]);
  assert.equal(guest.queue(5).kick(), true, 'the device asks for notifications again');
});

test('a plain port takes nothing while the guest has it closed; a console keeps what is typed', () => {
  const guest = new Guest().start();
  const [console, agent] = guest.device.ports;
  assert.equal(agent?.send(bytes('early')), 0);
  assert.equal(console?.send(bytes('typed')), 5);
  guest.control(0, 3, 1);
  guest.room(0, 16);
  guest.queue(0).kick();
  guest.serve();
  assert.deepEqual(guest.received(0), []);
  guest.control(0, 6, 1);
  assert.deepEqual(guest.received(0).map(text), ['typed']);
});

test('a closed port forgets what it had not delivered', () => {
  const guest = new Guest().up();
  const port = guest.device.ports[1];
  port?.send(bytes('stale'));
  guest.serve();
  guest.control(1, 6, 0);
  guest.control(1, 6, 1);
  guest.room(4, 16);
  guest.queue(4).kick();
  guest.serve();
  assert.deepEqual(guest.received(4), []);
  port?.send(bytes('fresh'));
  guest.serve();
  assert.deepEqual(guest.received(4).map(text), ['fresh']);
});

test('a reset closes the ports before the next driver opens them', () => {
  const guest = new Guest().up();
  guest.start();
  for (const id of [0, 1]) {
    guest.control(id, 3, 1);
    guest.control(id, 6, 1);
  }
  assert.deepEqual(guest.log, ['0 closes', '1 closes', '0 opens', '1 opens']);
});

test('the guest hears whether anybody listens; without, bytes are discarded and counted', () => {
  const guest = new Guest().up();
  const port = guest.device.ports[1];
  assert.ok(port);
  port.setConnected(false);
  port.setConnected(false);
  guest.serve();
  assert.deepEqual(
    guest.messages().map(({ id, event, value }) => [id, event, value]),
    [[1, 6, 0]],
  );
  guest.send(5, bytes('nobody'));
  assert.deepEqual(guest.log, []);
  assert.equal(port.discardedBytes, 6);
  port.setConnected(true);
  guest.serve();
  assert.equal(guest.messages()[0]?.value, 1);
});

test('a new size is told once, columns first, with a new configuration', () => {
  const guest = new Guest().up();
  guest.device.resize(132, 43);
  guest.device.resize(132, 43);
  guest.serve();
  assert.deepEqual(guest.messages(), [{ id: 0, event: 5, value: 1, extra: [132, 0, 43, 0] }]);
  assert.equal(guest.driver.config(0, 2), 132);
  assert.equal(guest.driver.config(2, 2), 43);
  const old = new Guest({ resizeRowsFirst: true }).up();
  old.device.resize(132, 43);
  old.serve();
  assert.deepEqual(old.messages()[0]?.extra, [43, 0, 132, 0]);
});

test('a size that is known before the driver starts comes with the introduction', () => {
  const guest = new Guest();
  guest.device.resize(80, 24);
  guest.serve();
  guest.start();
  guest.messages();
  guest.control(0, 3, 1);
  assert.deepEqual(
    guest.messages().map(({ event }) => event),
    [4, 5, 6],
  );
});

test('a driver without MULTIPORT has port 0 alone', () => {
  const guest = new Guest().start([MULTIPORT]);
  guest.serve();
  assert.deepEqual(guest.log, ['0 opens']);
  guest.send(1, bytes('plain'));
  assert.deepEqual(guest.log, ['0 opens', '0: plain']);
  guest.room(0, 8);
  guest.queue(0).kick();
  guest.device.ports[0]?.send(bytes('back'));
  guest.serve();
  assert.deepEqual(guest.received(0).map(text), ['back']);
});

test('messages about what does not exist are counted, not believed', () => {
  const guest = new Guest().up();
  guest.control(9, 6, 1);
  guest.control(0, 99, 1);
  guest.send(3, Uint8Array.of(1, 2, 3));
  assert.equal(guest.device.state.strangeMessages, 3);
  assert.deepEqual(guest.device.violations, {});
});

test('a control buffer that is too small for a message stops the device', () => {
  const guest = new Guest();
  guest.queues = guest.driver.start();
  guest.room(2, 4);
  guest.control(0, 0, 1);
  assert.deepEqual(guest.device.violations, { 'chain-format': 1 });
});

test('save and restore: open ports stay open, no input is lost, the connection is told again', () => {
  const guest = new Guest().up();
  guest.device.ports[1]?.send(bytes('half way'));
  const saved = JSON.parse(JSON.stringify(save(guest.device.layout, guest.device.state)));
  new Uint8Array(guest.bench.block.buffer).fill(0x5a);
  guest.device = guest.newDevice();
  restore(guest.device.layout, guest.device.state, saved);
  guest.device.resume();
  guest.serve();
  assert.deepEqual(guest.log, ['0 opens', '1 opens']);
  guest.room(4, 16);
  guest.queue(4).kick();
  guest.serve();
  assert.deepEqual(guest.received(4).map(text), ['half way']);
  assert.deepEqual(
    guest.messages().map(({ id, event, value }) => [id, event, value]),
    [
      [0, 6, 1],
      [1, 6, 1],
    ],
  );
  guest.send(5, bytes('answer'));
  assert.equal(guest.log.at(-1), '1: answer');
});

test('property: both streams arrive whole under random sizes, pauses and buffers', () => {
  for (let seed = 1; seed <= 20; seed++) {
    const random = new Random(seed);
    const guest = new Guest().up();
    const port = guest.device.ports[1];
    assert.ok(port);
    const toGuest = random.bytes(8000);
    const toHost = random.bytes(8000);
    const atHost: number[] = [];
    const atGuest: number[] = [];
    let offered = 0;
    let sent = 0;
    port.onData = (data) => {
      atHost.push(...data);
      if (random.oneIn(4)) port.pause();
    };
    for (let step = 0; step < 4000 && (atHost.length < 8000 || atGuest.length < 8000); step++) {
      switch (random.below(6)) {
        case 0:
          sent += port.send(toGuest.subarray(sent, sent + random.below(900)));
          break;
        case 1: {
          const part = toHost.subarray(offered, offered + 1 + random.below(500));
          if (part.length === 0 || guest.queue(5).freeDescriptors === 0) break;
          guest.queue(5).add([guest.driver.buffer(part)]);
          offered += part.length;
          guest.queue(5).kick();
          break;
        }
        case 2:
          if (guest.queue(4).freeDescriptors > 0) guest.room(4, 1 + random.below(300));
          guest.queue(4).kick();
          break;
        case 3:
          port.resume();
          break;
        default:
          guest.serve();
      }
      guest.queue(5).take();
      for (const got of guest.received(4)) atGuest.push(...got);
    }
    assert.deepEqual(Uint8Array.from(atGuest), toGuest, `seed ${seed}`);
    assert.deepEqual(Uint8Array.from(atHost), toHost, `seed ${seed}`);
  }
});
