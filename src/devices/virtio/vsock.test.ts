import assert from 'node:assert/strict';
import { test } from 'node:test';
import { restore, save } from '../../base/struct.ts';
import { TRANSPORTS } from './bench.testing.ts';
import { Random } from './random.testing.ts';
import { VsockGuest, VsockLog } from './vsock.testing.ts';
import { VirtioVsock } from './vsock.ts';
import { VSOCK_BUFFER_BYTES } from './vsock-connection.ts';
import { SHUTDOWN, VIRTIO_VSOCK_OP } from './vsock-packet.ts';
import type { VsockRequest, VsockStream } from './vsock-port.ts';

const { REQUEST, RESPONSE, RST, RW, CREDIT_UPDATE, CREDIT_REQUEST } = VIRTIO_VSOCK_OP;
const SHUT = VIRTIO_VSOCK_OP.SHUTDOWN;

/** A stream that the guest asked for. */
function open(options: ConstructorParameters<typeof VsockGuest>[0] & { bufferBytes?: number } = {}) {
  const guest = new VsockGuest(options);
  const log = new VsockLog();
  let stream: VsockStream | undefined;
  guest.device.listen(1234, (request) => {
    stream = request.accept(log);
  });
  guest.say({ op: REQUEST, ...(options.bufferBytes === undefined ? {} : { bufferBytes: options.bufferBytes }) });
  assert.deepEqual(guest.ops(), ['RESPONSE']);
  assert.ok(stream);
  return { guest, log, stream };
}

test('configuration: the context ID', () => {
  const { driver } = new VsockGuest();
  assert.equal(driver.config(0, 4), 3);
  assert.equal(driver.config(4, 4), 0);
});

test('the guest asks for a stream: bytes go both ways, and each side learns what the other took', () => {
  const { guest, log, stream } = open();
  guest.say({ op: RW, data: Uint8Array.of(1, 2, 3) });
  assert.deepEqual(log.bytes, [1, 2, 3]);
  stream.write(Uint8Array.of(4, 5));
  guest.serve();
  const [said] = guest.heard();
  assert.deepEqual([said?.op, said?.guestPort, said?.hostPort], ['RW', 5000, 1234]);
  assert.deepEqual([...(said?.data ?? [])], [4, 5]);
  assert.deepEqual([said?.bufferBytes, said?.forwardedBytes], [VSOCK_BUFFER_BYTES, 3]);
  assert.equal(log.drainedBytes, 2);
});

test('the host decides later, or refuses; where nobody listens the guest is refused at once', () => {
  const guest = new VsockGuest();
  const requests: VsockRequest[] = [];
  guest.device.listen('any', (request) => void requests.push(request));
  const stop = guest.device.listen(99, (request) => request.refuse());
  guest.say({ op: REQUEST, hostPort: 99 });
  assert.deepEqual(guest.ops(), ['RST']);
  stop();
  guest.say({ op: REQUEST, hostPort: 99 });
  assert.deepEqual(guest.ops(), []);
  const [request] = requests;
  assert.deepEqual([request?.hostPort, request?.guestPort], [99, 5000]);
  request?.accept(new VsockLog());
  guest.serve();
  assert.deepEqual(guest.ops(), ['RESPONSE']);
  const deaf = new VsockGuest();
  deaf.say({ op: REQUEST });
  assert.deepEqual(deaf.ops(), ['RST']);
  assert.equal(deaf.device.streams, 0);
});

test('who accepts a request that the guest has taken back hears of it', () => {
  const guest = new VsockGuest();
  const log = new VsockLog();
  let request: VsockRequest | undefined;
  guest.device.listen(1234, (one) => {
    request = one;
  });
  guest.say({ op: REQUEST });
  guest.say({ op: RST });
  request?.accept(log);
  assert.deepEqual(log.lines, []);
  guest.serve();
  assert.deepEqual(log.lines, ['failed: reset']);
  assert.deepEqual(guest.ops(), []);
});

test('the host asks for a stream: the guest answers, or does not want it', () => {
  const guest = new VsockGuest();
  const log = new VsockLog();
  const stream = guest.device.connect(22, log);
  guest.serve();
  const [asked] = guest.heard();
  assert.deepEqual([asked?.op, asked?.guestPort, asked?.hostPort], ['REQUEST', 22, stream.hostPort]);
  const ports = { guestPort: 22, hostPort: stream.hostPort };
  guest.say({ op: RESPONSE, ...ports });
  assert.deepEqual(log.lines, ['connected']);
  stream.write(Uint8Array.of(7));
  guest.serve();
  assert.deepEqual(guest.ops(), ['RW']);
  const other = new VsockLog();
  const refused = guest.device.connect(23, other);
  guest.serve();
  guest.heard();
  guest.say({ op: RST, guestPort: 23, hostPort: refused.hostPort });
  assert.deepEqual(other.lines, ['failed: refused']);
  assert.equal(guest.device.streams, 1);
});

test('a connection without a driver fails, later than the call', () => {
  const guest = new VsockGuest({ isDown: true });
  const log = new VsockLog();
  guest.device.connect(22, log);
  assert.deepEqual(log.lines, []);
  guest.serve();
  assert.deepEqual(log.lines, ['failed: no-driver']);
});

test('no more is sent than the guest has room for; it is asked once how much that is', () => {
  const { guest, log, stream } = open({ bufferBytes: 100 });
  stream.write(new Uint8Array(250).fill(1));
  guest.serve();
  const first = guest.heard();
  assert.deepEqual(
    first.map(({ op, data }) => [op, data.length]),
    [
      ['RW', 100],
      ['CREDIT_REQUEST', 0],
    ],
  );
  assert.equal(log.drainedBytes, 100);
  guest.say({ op: CREDIT_UPDATE, bufferBytes: 100, forwardedBytes: 30 });
  assert.deepEqual(
    guest.heard().map(({ op, data }) => [op, data.length]),
    [
      ['RW', 30],
      ['CREDIT_REQUEST', 0],
    ],
  );
  guest.say({ op: CREDIT_UPDATE, bufferBytes: 1000, forwardedBytes: 130 });
  assert.deepEqual(
    guest.heard().map(({ op, data }) => [op, data.length]),
    [['RW', 120]],
  );
  // A guest that takes its buffer back, or counts wrongly, gets nothing, and is not asked over and over.
  guest.say({ op: CREDIT_UPDATE, bufferBytes: 0, forwardedBytes: 250 });
  stream.write(new Uint8Array(10));
  for (let i = 0; i < 10; i++) {
    guest.say({ op: CREDIT_UPDATE, bufferBytes: 0, forwardedBytes: 250 });
    guest.say({ op: CREDIT_UPDATE, bufferBytes: 1, forwardedBytes: 0xffff_ff00 });
  }
  assert.deepEqual(guest.ops(), ['CREDIT_REQUEST']);
  guest.say({ op: CREDIT_UPDATE, bufferBytes: 4, forwardedBytes: 250 });
  assert.equal(guest.heard()[0]?.data.length, 4);
});

test('while the host pauses, the guest fills the buffer and no more; then it is told of room', () => {
  const { guest, log, stream } = open();
  stream.pause();
  const piece = new Uint8Array(1 << 16).fill(9);
  for (let i = 0; i < 4; i++) guest.say({ op: RW, data: piece });
  assert.equal(log.bytes.length, 0);
  guest.say({ op: CREDIT_REQUEST });
  assert.equal(guest.heard()[0]?.forwardedBytes, 0);
  stream.resume();
  guest.serve();
  assert.equal(log.bytes.length, 4 << 16);
  const update = guest.heard().at(-1);
  assert.deepEqual([update?.op, update?.forwardedBytes], ['CREDIT_UPDATE', 4 << 16]);
  stream.pause();
  for (let i = 0; i < 4; i++) guest.say({ op: RW, data: piece });
  guest.say({ op: RW, data: Uint8Array.of(1) });
  assert.deepEqual(log.lines, ['failed: reset']);
  assert.deepEqual(guest.ops(), ['RST']);
  assert.deepEqual(guest.device.violations, {});
});

test('the guest ends first, then the host: the last word is the guest’s RST', () => {
  const { guest, log, stream } = open();
  guest.say({ op: RW, data: Uint8Array.of(1) });
  guest.say({ op: SHUT, flags: SHUTDOWN.SEND });
  assert.deepEqual(log.lines, ['ended']);
  stream.write(Uint8Array.of(2));
  stream.end();
  guest.serve();
  assert.deepEqual(
    guest.heard().map(({ op, flags }) => [op, flags]),
    [
      ['RW', 0],
      ['SHUTDOWN', SHUTDOWN.BOTH],
    ],
  );
  guest.say({ op: RST });
  assert.deepEqual(log.lines, ['ended']);
  assert.equal(guest.device.streams, 0);
  assert.deepEqual(guest.ops(), []);
});

test('the host ends first; the guest closes and gets an RST for an answer', () => {
  const { guest, log, stream } = open();
  stream.write(Uint8Array.of(2));
  stream.end();
  stream.write(Uint8Array.of(3));
  guest.serve();
  assert.deepEqual(
    guest.heard().map(({ op, flags, data }) => [op, flags, data.length]),
    [
      ['RW', 0, 1],
      ['SHUTDOWN', SHUTDOWN.SEND, 0],
    ],
  );
  guest.say({ op: RW, data: Uint8Array.of(8) });
  guest.say({ op: SHUT, flags: SHUTDOWN.BOTH });
  assert.deepEqual(guest.ops(), ['RST']);
  assert.deepEqual(log.bytes, [8]);
  assert.deepEqual(log.lines, ['ended']);
  assert.equal(guest.device.streams, 0);
});

test('what the guest sent before it closed waits for a host that pauses', () => {
  const { guest, log, stream } = open();
  stream.pause();
  guest.say({ op: RW, data: Uint8Array.of(1, 2) });
  guest.say({ op: SHUT, flags: SHUTDOWN.BOTH });
  assert.deepEqual(guest.ops(), ['RST']);
  assert.deepEqual([log.bytes.length, log.lines.length], [0, 0]);
  // A new stream of the same ports is another one.
  guest.say({ op: REQUEST });
  assert.deepEqual(guest.ops(), ['RESPONSE']);
  stream.resume();
  guest.serve();
  assert.deepEqual([log.bytes, log.lines], [[1, 2], ['ended']]);
});

test('bytes for a guest that reads no more are gone, and nobody waits for them', () => {
  const { guest, log, stream } = open({ bufferBytes: 10 });
  stream.write(new Uint8Array(30));
  guest.serve();
  guest.say({ op: SHUT, flags: SHUTDOWN.RCV, bufferBytes: 10 });
  stream.write(new Uint8Array(5));
  guest.serve();
  assert.equal(log.drainedBytes, 35);
  assert.deepEqual(log.lines, []);
});

test('the host gives up: the guest gets an RST, and nothing more comes of it', () => {
  const { guest, log, stream } = open();
  stream.reset();
  stream.write(Uint8Array.of(1));
  guest.serve();
  assert.deepEqual(guest.ops(), ['RST']);
  guest.say({ op: RW, data: Uint8Array.of(1) });
  assert.deepEqual(guest.ops(), ['RST']);
  assert.deepEqual(log.lines, []);
});

test('packets that make no sense: of others they are passed over, of unknown streams refused, of known ones their end', () => {
  const { guest, log } = open();
  guest.say({ op: RW, sourceCid: 4, data: Uint8Array.of(1) });
  guest.say({ op: REQUEST, destinationCid: 1 });
  guest.say({ op: RST, guestPort: 1 });
  assert.deepEqual(guest.ops(), []);
  guest.say({ op: RW, guestPort: 1 });
  guest.say({ op: REQUEST, guestPort: 1, type: 2 });
  guest.say({ op: 77, guestPort: 1 });
  assert.deepEqual(
    guest.heard().map(({ op, type }) => [op, type]),
    [
      ['RST', 1],
      ['RST', 2],
      ['RST', 1],
    ],
  );
  assert.deepEqual(log.lines, []);
  guest.say({ op: REQUEST });
  assert.deepEqual(guest.ops(), ['RST']);
  assert.deepEqual(log.lines, ['failed: reset']);
  assert.deepEqual(guest.device.violations, {});
});

const broken: [string, (guest: VsockGuest) => void][] = [
  [
    'a packet shorter than its header',
    (guest) => {
      guest.queue(1).add([guest.driver.room(43)]);
      guest.queue(1).kick();
    },
  ],
  ['a length beyond its chain', (guest) => guest.whisper({ op: RW, data: Uint8Array.of(1), lengthBytes: 2 })],
];
for (const [what, offend] of broken) {
  test(`${what} stops the device`, () => {
    const { guest } = open();
    offend(guest);
    guest.queue(1).forceKick();
    guest.serve();
    assert.deepEqual(guest.device.violations, { 'chain-format': 1 });
  });
}

test('a receive buffer without room for a header, or for a byte, stops the device', () => {
  for (const roomBytes of [43, 44]) {
    const guest = new VsockGuest({ roomBytes });
    guest.device.listen(1234, (request) => request.accept(new VsockLog()).write(Uint8Array.of(1)));
    guest.say({ op: REQUEST });
    assert.deepEqual(guest.device.violations, { 'chain-format': 1 });
  }
});

test('streams take turns: one that has much to say holds no other up', () => {
  const guest = new VsockGuest();
  const streams: VsockStream[] = [];
  guest.device.listen(1234, (request) => void streams.push(request.accept(new VsockLog())));
  for (const guestPort of [1, 2]) guest.say({ op: REQUEST, guestPort });
  guest.heard();
  streams[0]?.write(new Uint8Array(40_000));
  streams[1]?.write(new Uint8Array(40_000));
  guest.serve();
  const ports = guest.heard().map(({ guestPort }) => guestPort);
  assert.deepEqual(ports.slice(0, 6), [1, 2, 1, 2, 1, 2]);
});

test('a guest that asks without end and reads no answers is not listened to beyond a bound, and loses none', () => {
  const guest = new VsockGuest({ isDown: true });
  guest.queues = guest.driver.start();
  let asked = 0;
  let answered = 0;
  const ask = () => {
    for (let i = 0; i < 60; i++) guest.whisper({ op: REQUEST, guestPort: asked++ });
    guest.queue(1).forceKick();
    guest.serve();
    return guest.queue(1).take().length;
  };
  let taken = 0;
  for (let i = 0; i < 6; i++) taken += ask();
  assert.equal(taken, 256);
  guest.offer(64);
  while (answered < asked) {
    guest.serve();
    const heard = guest.heard();
    assert.ok(heard.every(({ op }) => op === 'RST') && heard.length > 0);
    answered += heard.length;
  }
});

test('a reset of the driver ends all streams', () => {
  const { guest, log } = open();
  guest.driver.registers.setStatus(0);
  guest.serve();
  assert.deepEqual(log.lines, ['failed: reset']);
  assert.equal(guest.device.streams, 0);
  guest.start();
  assert.deepEqual(guest.ops(), []);
});

test('a restored guest is told that its streams are gone, once', () => {
  const { guest } = open();
  const { bench, device, io, driver } = guest;
  const saved = JSON.parse(JSON.stringify(save(device.layout, device.state)));
  const other = bench.plug(new VirtioVsock(bench.wiring, io));
  restore(other.layout, other.state, saved);
  other.resume();
  bench.serve(other);
  const event = driver.buffer(Uint8Array.of(9, 9, 9, 9));
  guest.queue(2).add([], [event]);
  guest.queue(2).add([], [driver.room(4)]);
  guest.queue(2).kick();
  bench.serve(other);
  assert.deepEqual(
    guest
      .queue(2)
      .take()
      .map((used) => used.writtenBytes),
    [4],
  );
  assert.deepEqual([...bench.memory.bytes(event.gpa, 4)], [0, 0, 0, 0]);
});

test('a restored device takes no host port again that a closed socket of the guest may still have', () => {
  const { bench, device, io } = new VsockGuest();
  const first = device.connect(80, new VsockLog());
  const other = bench.plug(new VirtioVsock(bench.wiring, io));
  restore(other.layout, other.state, JSON.parse(JSON.stringify(save(device.layout, device.state))));
  other.resume();
  const again = other.connect(80, new VsockLog());
  assert.equal(again.hostPort, first.hostPort + 1);
});

for (const transport of TRANSPORTS) {
  test(`property, over ${transport}: whatever the sizes, pauses and buffers, both ends get what the other sent`, () => {
    for (let seed = 1; seed <= 12; seed++) echoes(new Random(seed), transport);
  });
}

/** Random bytes each way, with random pauses and room. */
function echoes(random: Random, transport: (typeof TRANSPORTS)[number]): void {
  const bufferBytes = 1 + random.below(5000);
  const roomBytes = 45 + random.below(3000);
  const { guest, log, stream } = open({ transport, frames: 8192, bufferBytes, roomBytes });
  const toGuest = random.bytes(20_000);
  const toHost = random.bytes(20_000);
  const got: number[] = [];
  let written = 0;
  let said = 0;
  // Of the guest: what it took, and how much of what it sent the host has taken.
  let forwarded = 0;
  let known = 0;
  const hear = () => {
    for (const packet of guest.heard()) {
      got.push(...packet.data);
      forwarded += packet.data.length;
      known = packet.forwardedBytes;
    }
  };
  for (let step = 0; step < 5000 && (got.length < toGuest.length || log.bytes.length < toHost.length); step++) {
    if (random.oneIn(3) && written < toGuest.length) {
      const piece = toGuest.subarray(written, written + 1 + random.below(4000));
      stream.write(piece);
      written += piece.length;
    }
    if (random.oneIn(10)) stream.pause();
    if (random.oneIn(4)) stream.resume();
    const room = VSOCK_BUFFER_BYTES - (said - known);
    const data = toHost.subarray(said, said + Math.min(room, random.below(4000)));
    said += data.length;
    guest.say({ op: data.length > 0 ? RW : CREDIT_UPDATE, data, bufferBytes, forwardedBytes: forwarded });
    hear();
  }
  assert.deepEqual(Uint8Array.from(got), toGuest);
  assert.deepEqual(Uint8Array.from(log.bytes), toHost);
  assert.equal(log.drainedBytes, toGuest.length);
}
