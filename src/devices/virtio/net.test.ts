import assert from 'node:assert/strict';
import { test } from 'node:test';
import { restore, save } from '../../base/struct.ts';
import { Bench } from './bench.testing.ts';
import { FakeDriver } from './fake-driver.testing.ts';
import { VirtioNet } from './net.ts';
import { partialFrame } from './net-frames.testing.ts';
import type { FrameOffload, GuestOffload } from './net-port.ts';
import { VIRTIO_NET_F } from './net-state.ts';
import { Random } from './random.testing.ts';

const MAC = Uint8Array.of(0x52, 0x54, 0, 1, 2, 3);
const { CSUM, GUEST_CSUM, GUEST_TSO4, GUEST_TSO6, HOST_TSO4, HOST_TSO6, MRG_RXBUF } = VIRTIO_NET_F;
const ALL = { checksum: true, largePacketBytes: 65535, largePacketBytes6: 65535 };
const NONE = { checksum: false, largePacketBytes: 0, largePacketBytes6: 0 };

interface Sent {
  readonly frame: number[];
  readonly offload: FrameOffload | undefined;
}

function setUp(options: { offloads?: boolean; without?: number[]; mtuBytes?: number; frames?: number } = {}) {
  const bench = new Bench(VirtioNet.layout, { frames: options.frames ?? 256 });
  const sent: Sent[] = [];
  const offloads: GuestOffload[] = [];
  const news = { room: 0, onSend: undefined as ((frame: Uint8Array) => void) | undefined };
  const io = {
    ...bench.io,
    mac: MAC,
    offloads: options.offloads ?? false,
    ...(options.mtuBytes === undefined ? {} : { mtuBytes: options.mtuBytes }),
    port: {
      send: (frame: Uint8Array, offload?: FrameOffload) => {
        sent.push({ frame: [...frame], offload });
        news.onSend?.(frame);
      },
    },
    events: {
      offload: (offload: GuestOffload) => void offloads.push(offload),
      room: () => {
        news.room++;
      },
    },
  };
  const device = new VirtioNet(bench.wiring, io);
  bench.start(device);
  const driver = new FakeDriver(bench);
  const [rx, tx] = driver.start(options.without);
  assert.ok(rx && tx);
  bench.serve(device);
  const header = (flags = 0, gso = 0, size = 0, start = 0, at = 0) => {
    const bytes = new Uint8Array(12);
    const data = new DataView(bytes.buffer);
    bytes[0] = flags;
    bytes[1] = gso;
    data.setUint16(4, size, true);
    data.setUint16(6, start, true);
    data.setUint16(8, at, true);
    return driver.buffer(bytes);
  };
  const transmit = (frame: Uint8Array, head = header()) => {
    tx.add([head, driver.buffer(frame)]);
    tx.kick();
    bench.serve(device);
    tx.take();
  };
  return { bench, device, driver, rx, tx, sent, offloads, news, header, transmit, io };
}

test('configuration: address, link up, MTU', () => {
  const { driver } = setUp({ mtuBytes: 9000 });
  assert.deepEqual(
    Array.from({ length: 6 }, (_, i) => driver.config(i, 1)),
    [...MAC],
  );
  assert.equal(driver.config(6, 2), 1);
  assert.equal(driver.config(10, 2), 9000);
});

test('features: offloads only where the host’s side understands them', () => {
  const plain = setUp().driver.offered();
  for (const bit of [CSUM, GUEST_CSUM, GUEST_TSO4, GUEST_TSO6, HOST_TSO4, HOST_TSO6]) assert.ok(!plain.has(bit));
  const rich = setUp({ offloads: true }).driver.offered();
  for (const bit of [CSUM, GUEST_CSUM, GUEST_TSO4, GUEST_TSO6, HOST_TSO4, HOST_TSO6]) assert.ok(rich.has(bit));
});

test('features that need another are refused without it', () => {
  const { driver, device } = setUp({ offloads: true });
  assert.equal(driver.negotiate([HOST_TSO4]), false);
  assert.equal(driver.negotiate([GUEST_TSO4]), false);
  assert.equal(driver.negotiate([CSUM, HOST_TSO6, GUEST_CSUM, GUEST_TSO4]), true);
  assert.equal(device.violations.negotiation, 2);
});

test('a frame from the guest reaches the port, wherever the driver cut it', () => {
  const { bench, device, driver, tx, sent } = setUp();
  const frame = new Random(1).bytes(100);
  const whole = driver.buffer(Uint8Array.of(...new Uint8Array(12), ...frame));
  for (const cut of [1, 11, 12, 13, 111]) {
    tx.add([
      { gpa: whole.gpa, sizeBytes: cut },
      { gpa: whole.gpa + cut, sizeBytes: 112 - cut },
    ]);
  }
  tx.kick();
  bench.serve(device);
  assert.equal(sent.length, 5);
  for (const { frame: got, offload } of sent) {
    assert.deepEqual(got, [...frame]);
    assert.equal(offload, undefined);
  }
  assert.deepEqual(
    tx.take().map((used) => used.writtenBytes),
    [0, 0, 0, 0, 0],
  );
});

test('frames that no link carries are dropped and counted; the device goes on', () => {
  const { device, transmit, sent, header } = setUp();
  transmit(new Uint8Array(13));
  transmit(new Uint8Array(1519));
  transmit(new Uint8Array(60), header(1, 0, 0, 34, 16));
  transmit(new Uint8Array(60), header(0, 1, 1460));
  assert.equal(device.counters.sentDropped, 4);
  transmit(new Uint8Array(1518));
  assert.equal(sent.length, 1);
  assert.deepEqual(device.violations, {});
});

test('a chain that is shorter than the header stops the device', () => {
  const { bench, device, driver, tx } = setUp();
  tx.add([driver.room(11)]);
  tx.kick();
  bench.serve(device);
  assert.deepEqual(device.violations, { 'chain-format': 1 });
});

test('offloads from the guest: partial checksum and segmentation, within the frame', () => {
  const { device, transmit, sent, header } = setUp({ offloads: true });
  transmit(new Uint8Array(60), header(1, 0, 0, 34, 16));
  transmit(new Uint8Array(64 * 1024), header(1, 1, 1460, 34, 16));
  transmit(new Uint8Array(64 * 1024), header(1, 4, 1440, 54, 16));
  assert.deepEqual(
    sent.map(({ offload }) => offload),
    [
      { checksumValid: true, segmentBytes: 0 },
      { checksumValid: true, segmentBytes: 1460 },
      { checksumValid: true, segmentBytes: 1440 },
    ],
  );
  transmit(new Uint8Array(60), header(1, 0, 0, 50, 9));
  transmit(new Uint8Array(60), header(1, 1, 0, 34, 16));
  transmit(new Uint8Array(60), header(0, 1, 1460));
  transmit(new Uint8Array(60), header(1, 3, 1460, 34, 16));
  assert.equal(device.counters.sentDropped, 4);
});

test('a frame for the guest: header, one buffer, interrupt', () => {
  const { bench, device, driver, rx } = setUp();
  const room = driver.room(2048);
  rx.add([], [room]);
  rx.kick();
  bench.serve(device);
  assert.equal(device.receive(new Random(2).bytes(60)), true);
  assert.equal(rx.take().length, 0);
  bench.serve(device);
  assert.equal(rx.take()[0]?.writtenBytes, 72);
  assert.deepEqual([...bench.memory.bytes(room.gpa, 12)], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
  assert.deepEqual(bench.memory.bytes(room.gpa + 12, 60), new Random(2).bytes(60));
  assert.equal(driver.takeInterrupt() & 1, 1);
});

test('a large frame is merged from several buffers, each used as far as it was written', () => {
  const { bench, device, driver, rx } = setUp();
  const rooms = [100, 300, 1024, 4096].map((size) => driver.room(size));
  for (const room of rooms) rx.add([], [room]);
  rx.kick();
  const frame = new Random(3).bytes(1500);
  device.receive(frame);
  bench.serve(device);
  assert.deepEqual(
    rx.take().map((used) => used.writtenBytes),
    [100, 300, 1024, 1512 - 1424],
  );
  assert.equal(bench.memory.bytes(rooms[0]?.gpa ?? 0, 12)[10], 4);
  const got = rooms.flatMap((room) => [...bench.memory.bytes(room.gpa, room.sizeBytes)]).slice(12, 1512);
  assert.deepEqual(Uint8Array.from(got), frame);
});

test('a frame waits until there are buffers enough, and none is returned meanwhile', () => {
  const { bench, device, driver, rx } = setUp();
  rx.add([], [driver.room(500)]);
  rx.kick();
  device.receive(new Uint8Array(1500).fill(1));
  bench.serve(device);
  assert.equal(rx.take().length, 0);
  rx.add([], [driver.room(500)]);
  assert.equal(rx.kick(), true, 'the device asked for more buffers');
  bench.serve(device);
  assert.equal(rx.take().length, 0);
  rx.add([], [driver.room(2000)]);
  rx.kick();
  bench.serve(device);
  assert.equal(rx.take().length, 3);
});

test('without mergeable buffers a frame that does not fit is dropped and its buffer kept', () => {
  const { bench, device, driver, rx } = setUp({ without: [MRG_RXBUF] });
  rx.add([], [driver.room(200)]);
  rx.kick();
  device.receive(new Uint8Array(1500));
  device.receive(new Uint8Array(100).fill(7));
  bench.serve(device);
  assert.equal(device.counters.receivedDropped, 1);
  assert.equal(rx.take()[0]?.writtenBytes, 112);
});

test('a receive buffer without room for the header stops the device', () => {
  for (const without of [[], [MRG_RXBUF]]) {
    const { bench, device, driver, rx } = setUp({ without });
    rx.add([], [driver.room(8)]);
    rx.kick();
    device.receive(new Uint8Array(100));
    bench.serve(device);
    assert.deepEqual(device.violations, { 'chain-format': 1 });
  }
});

for (const version of [4, 6] as const)
  test(`offloads to the guest are in the header where the driver takes them: TCP over IPv${version}`, () => {
    const { bench, device, driver, rx, offloads } = setUp({ offloads: true });
    assert.deepEqual(offloads, [ALL]);
    const room = driver.room(66_000);
    rx.add([], [room]);
    rx.kick();
    const { frame, transportAt } = partialFrame({ version, payload: new Uint8Array(60_000) });
    device.receive(frame, { checksumValid: true, segmentBytes: 1460 });
    bench.serve(device);
    const data = new DataView(bench.memory.bytes(room.gpa, 12).buffer);
    assert.deepEqual(
      [data.getUint8(0), data.getUint8(1), data.getUint16(2, true), data.getUint16(4, true)],
      [1, version === 4 ? 1 : 4, transportAt + 20, 1460],
    );
    assert.deepEqual(
      [data.getUint16(6, true), data.getUint16(8, true), data.getUint16(10, true)],
      [transportAt, 16, 1],
    );
    assert.deepEqual(bench.memory.bytes(room.gpa + 12, frame.length), frame);
  });

const partials = [4, 6].flatMap((version) =>
  (['tcp', 'udp'] as const).flatMap((protocol) =>
    [[], [5]].flatMap((vlans) => [0, 1, 33].map((bytes) => ({ version: version as 4 | 6, protocol, vlans, bytes }))),
  ),
);
for (const { version, protocol, vlans, bytes } of partials) {
  const what = `IPv${version}, ${protocol} with ${bytes} bytes, ${vlans.length} tags`;
  const { frame, transportAt, checksumAt, checksum } = partialFrame({
    ...{ version, protocol, vlans, payload: new Random(bytes).bytes(bytes) },
    ...(version === 4 ? { optionBytes: 8 } : {}),
  });
  const receive = (without: number[]) => {
    const { bench, device, driver, rx } = setUp({ offloads: true, without: [VIRTIO_NET_F.CTRL_VLAN, ...without] });
    const room = driver.room(2000);
    rx.add([], [room]);
    rx.kick();
    device.receive(frame, { checksumValid: true, segmentBytes: 0 });
    bench.serve(device);
    return {
      header: new DataView(bench.memory.bytes(room.gpa, 12).buffer),
      got: bench.memory.bytes(room.gpa + 12, frame.length),
    };
  };

  test(`a partial checksum is the driver's to finish where it can: ${what}`, () => {
    const { header, got } = receive([]);
    assert.deepEqual(got, frame);
    assert.equal(header.getUint8(0), 1);
    assert.deepEqual([header.getUint16(6, true), header.getUint16(8, true)], [transportAt, checksumAt - transportAt]);
  });

  test(`and is finished here where it cannot: ${what}`, () => {
    const { header, got } = receive([GUEST_CSUM, GUEST_TSO4, GUEST_TSO6]);
    assert.equal(new DataView(got.buffer).getUint16(checksumAt), checksum);
    assert.equal(header.getUint8(0), 0);
    const rest = got.slice();
    rest.set(frame.subarray(checksumAt, checksumAt + 2), checksumAt);
    assert.deepEqual(rest, frame);
  });
}

test('large packets that the driver does not take, and what is not what its offload says, are dropped', () => {
  const { bench, device, driver, rx, offloads } = setUp({ offloads: true, without: [GUEST_TSO4] });
  assert.deepEqual(offloads, [{ ...ALL, largePacketBytes: 0 }]);
  rx.add([], [driver.room(66_000)]);
  rx.kick();
  const large = { payload: new Uint8Array(60_000) };
  device.receive(partialFrame(large).frame, { checksumValid: true, segmentBytes: 1460 });
  device.receive(partialFrame({ version: 6, protocol: 'udp' }).frame, { checksumValid: true, segmentBytes: 1460 });
  device.receive(new Uint8Array(60), { checksumValid: true, segmentBytes: 0 });
  bench.serve(device);
  assert.equal(device.counters.receivedDropped, 3);
  assert.equal(rx.take().length, 0);
  device.receive(partialFrame({ ...large, version: 6 }).frame, { checksumValid: true, segmentBytes: 1460 });
  bench.serve(device);
  assert.equal(rx.take().length, 1);
});

test('a full FIFO refuses frames and says when there is room again', () => {
  const { bench, device, driver, rx, news } = setUp();
  let accepted = 0;
  while (device.receive(new Uint8Array(1500))) accepted++;
  assert.ok(accepted > 500);
  bench.serve(device);
  assert.equal(news.room, 0);
  const room = driver.room(2048);
  for (let delivered = 0; delivered < accepted; delivered += rx.take().length) {
    for (let i = 0; i < 64; i++) rx.add([], [room]);
    rx.kick();
    bench.serve(device);
  }
  assert.equal(news.room, 1);
});

test('what is no Ethernet frame is swallowed and counted: nobody waits for it', () => {
  const { device } = setUp();
  assert.equal(device.receive(new Uint8Array(13)), true);
  assert.equal(device.receive(new Uint8Array(70_000)), true);
  assert.equal(device.counters.receivedDropped, 2);
});

test('an answer from within `send` is delivered at the next service', () => {
  const { bench, device, driver, rx, news, transmit } = setUp();
  rx.add([], [driver.room(2048)]);
  rx.kick();
  news.onSend = (frame) => void device.receive(frame);
  transmit(new Uint8Array(60).fill(9));
  bench.serve(device);
  assert.equal(rx.take().length, 1);
});

test('link down: the guest is told, and frames are dropped both ways', () => {
  const { bench, device, driver, transmit, sent, news } = setUp();
  driver.takeInterrupt();
  device.setLinkUp(false);
  bench.serve(device);
  assert.equal(driver.takeInterrupt(), 2);
  assert.equal(driver.config(6, 2), 0);
  transmit(new Uint8Array(60));
  assert.equal(sent.length, 0);
  assert.equal(device.receive(new Uint8Array(60)), false);
  bench.serve(device);
  assert.equal(news.room, 0);
  device.setLinkUp(true);
  bench.serve(device);
  assert.equal(news.room, 1, 'who was refused may send again');
  assert.equal(driver.config(6, 2), 1);
  transmit(new Uint8Array(60));
  assert.equal(sent.length, 1);
});

test('a reset drops what waits and takes the offloads back', () => {
  const { bench, device, driver, offloads, news } = setUp({ offloads: true });
  device.receive(new Uint8Array(60));
  driver.registers.setStatus(0);
  bench.serve(device);
  assert.deepEqual(offloads.at(-1), NONE);
  assert.equal(device.receive(new Uint8Array(60)), false);
  const [rx] = driver.start();
  bench.serve(device);
  assert.equal(news.room, 1, 'who was refused may send again');
  rx?.add([], [driver.room(2048)]);
  rx?.kick();
  bench.serve(device);
  assert.equal(rx?.take().length, 0);
  assert.deepEqual(offloads.at(-1), ALL);
});

test('save and restore: the link goes on, minus the frames that waited', () => {
  const { bench, device, driver, rx, tx, sent, io, offloads } = setUp({ offloads: true });
  rx.add([], [driver.room(2048)]);
  device.receive(new Uint8Array(60));
  tx.add([driver.room(12), driver.room(60)]);
  const saved = JSON.parse(JSON.stringify(save(device.layout, device.state)));
  const other = bench.plug(new VirtioNet(bench.wiring, io));
  restore(other.layout, other.state, saved);
  other.resume();
  bench.serve(other);
  assert.equal(sent.length, 1);
  assert.equal(rx.take().length, 0);
  assert.deepEqual(offloads.at(-1), ALL);
  other.receive(new Uint8Array(61));
  bench.serve(other);
  assert.equal(rx.take()[0]?.writtenBytes, 73);
});
