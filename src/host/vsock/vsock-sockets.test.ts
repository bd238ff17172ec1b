import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import type { VsockEvents, VsockRequest, VsockStream } from '../../devices/index.ts';
import { type VsockDoor, VsockSockets } from './vsock-sockets.ts';

const folder = mkdtempSync(join(tmpdir(), 'kagemusha-vsock-'));
after(() => rmSync(folder, { recursive: true, force: true }));
let count = 0;
const newPath = (): string => join(folder, `v${++count}`);

/** The guest's end of a stream: what the host did with it. */
class GuestStream implements VsockStream {
  readonly guestPort: number;
  readonly hostPort: number;
  readonly events: VsockEvents;
  readonly log: string[] = [];
  text = '';
  bytes = 0;
  /** Bytes written are with the guest at once. */
  takes = true;
  isPaused = false;
  #news: (() => void)[] = [];

  constructor(guestPort: number, hostPort: number, events: VsockEvents) {
    this.guestPort = guestPort;
    this.hostPort = hostPort;
    this.events = events;
  }

  write(bytes: Uint8Array): void {
    this.bytes += bytes.length;
    if (bytes.length < 1000) this.text += new TextDecoder().decode(bytes);
    const byteCount = bytes.length;
    if (this.takes) setImmediate(() => this.events.drained?.(byteCount));
    this.#happened();
  }

  end(): void {
    this.#note('end');
  }

  reset(): void {
    this.#note('reset');
  }

  pause(): void {
    this.isPaused = true;
    this.#happened();
  }

  resume(): void {
    this.isPaused = false;
    this.#happened();
  }

  async until(holds: (stream: this) => boolean): Promise<void> {
    while (!holds(this)) await new Promise<void>((resolve) => this.#news.push(resolve));
  }

  #note(what: string): void {
    this.log.push(what);
    this.#happened();
  }

  #happened(): void {
    for (const resolve of this.#news.splice(0)) resolve();
  }
}

class FakeDoor implements VsockDoor {
  readonly streams: GuestStream[] = [];
  readonly answered: string[] = [];
  #handler: ((request: VsockRequest) => void) | undefined;
  /** Ports of the guest's on which somebody listens. */
  readonly #ports: readonly number[];

  constructor(ports: readonly number[] = [80]) {
    this.#ports = ports;
  }

  connect(guestPort: number, events: VsockEvents): VsockStream {
    const stream = new GuestStream(guestPort, 2 ** 30 + this.streams.length, events);
    this.streams.push(stream);
    setImmediate(() => (this.#ports.includes(guestPort) ? events.connected?.() : events.failed('refused')));
    return stream;
  }

  listen(_port: number | 'any', handler: (request: VsockRequest) => void): () => void {
    this.#handler = handler;
    return () => undefined;
  }

  /** The guest asks for a port of the host's. */
  ask(hostPort: number): Promise<GuestStream | 'refused'> {
    return new Promise((resolve) => {
      this.#handler?.({
        ...{ hostPort, guestPort: 1000 },
        accept: (events) => {
          const stream = new GuestStream(1000, hostPort, events);
          resolve(stream);
          return stream;
        },
        refuse: () => resolve('refused'),
      });
    });
  }
}

async function setUp(door = new FakeDoor()) {
  const sockets = await VsockSockets.listen(newPath());
  sockets.attach(door);
  return { sockets, door, path: sockets.path };
}

/** Reads until there is a whole line. */
async function line(socket: Socket): Promise<string> {
  let text = '';
  while (!text.includes('\n')) text += String((await once(socket, 'data'))[0]);
  return text;
}

describe('the host connects to the guest', () => {
  test('CONNECT and OK; bytes go both ways, and so do the ends', async () => {
    const { sockets, door, path } = await setUp();
    const socket = connect({ path, allowHalfOpen: true });
    socket.write('CONN');
    await once(socket, 'connect');
    socket.write('ECT 80\nhello ');
    assert.equal(await line(socket), `OK ${2 ** 30}\n`);
    socket.write('guest');
    const [stream] = door.streams;
    assert.ok(stream);
    assert.equal(stream.guestPort, 80);
    await stream.until(({ text }) => text === 'hello guest');
    stream.events.data(new TextEncoder().encode('hello host\n'));
    assert.equal(await line(socket), 'hello host\n');
    socket.end();
    await stream.until(({ log }) => log.includes('end'));
    stream.events.ended();
    await once(socket, 'close');
    assert.deepEqual(stream.log, ['end']);
    sockets.close();
  });

  test('a port on which nobody listens closes the connection', async () => {
    const { sockets, path } = await setUp();
    const socket = connect(path);
    socket.write('CONNECT 81\n');
    const chunks: Buffer[] = [];
    socket.on('data', (bytes) => chunks.push(Buffer.from(bytes)));
    await once(socket, 'close');
    assert.equal(Buffer.concat(chunks).length, 0);
    sockets.close();
  });

  for (const words of [
    'HELLO 80\n',
    'CONNECT\n',
    'CONNECT 4294967296\n',
    'CONNECT -1\n',
    `CONNECT ${'0'.repeat(20)}`,
    '\n',
  ])
    test(`what is no request closes the connection: ${JSON.stringify(words)}`, async () => {
      const { sockets, door, path } = await setUp();
      const socket = connect(path);
      socket.on('error', () => undefined);
      socket.resume();
      socket.write(words);
      await once(socket, 'close');
      assert.equal(door.streams.length, 0);
      sockets.close();
    });

  test('a client that leaves before it has asked is forgotten', async () => {
    const { sockets, door, path } = await setUp();
    const socket = connect(path);
    socket.resume();
    socket.end('CONNECT 8');
    await once(socket, 'close');
    assert.equal(door.streams.length, 0);
    sockets.close();
  });

  test('who comes before the guest is there waits', async () => {
    const sockets = await VsockSockets.listen(newPath());
    const socket = connect(sockets.path);
    socket.write('CONNECT 80\n');
    await once(socket, 'connect');
    await new Promise((resolve) => setImmediate(resolve));
    sockets.attach(new FakeDoor());
    assert.match(await line(socket), /^OK /);
    socket.destroy();
    sockets.close();
  });

  test('a client that breaks off resets the stream; a guest that does closes the socket', async () => {
    const { sockets, door, path } = await setUp();
    const one = connect(path);
    one.write('CONNECT 80\n');
    await line(one);
    one.destroy();
    const stream = door.streams[0] as GuestStream;
    // Its end comes as the end of its bytes; that it hears nothing any more shows when the guest speaks.
    const speak = setInterval(() => stream.events.data(Uint8Array.of(1)), 1);
    await stream.until(({ log }) => log.includes('reset'));
    clearInterval(speak);
    const other = connect(path);
    other.write('CONNECT 80\n');
    await line(other);
    door.streams[1]?.events.failed('reset');
    other.resume();
    await once(other, 'close');
    sockets.close();
  });

  test('neither side outruns the other', async () => {
    const { sockets, door, path } = await setUp();
    const socket = connect(path);
    socket.write('CONNECT 80\n');
    await line(socket);
    socket.pause();
    const stream = door.streams[0] as GuestStream;
    stream.takes = false;
    const much = Buffer.alloc(8 << 20);
    socket.write(much);
    // Of what the host writes, no more is taken than the guest has taken, and a bound.
    await stream.until(({ bytes }) => bytes >= 256 << 10);
    for (let quiet = 0; quiet < 20; quiet++) await new Promise((resolve) => setImmediate(resolve));
    assert.ok(stream.bytes < 1 << 20, `${stream.bytes} bytes`);
    stream.takes = true;
    stream.events.drained?.(stream.bytes);
    await stream.until(({ bytes }) => bytes === much.length);
    // And the guest is told to wait when the socket is full.
    const piece = new Uint8Array(1 << 16);
    let said = 0;
    while (!stream.isPaused) {
      stream.events.data(piece);
      said += piece.length;
      assert.ok(said < 16 << 20);
    }
    let heard = 0;
    socket.on('data', (bytes) => {
      heard += bytes.length;
    });
    socket.resume();
    await stream.until(({ isPaused }) => !isPaused);
    while (heard < said) await once(socket, 'data');
    socket.destroy();
    sockets.close();
  });
});

describe('the guest connects to the host', () => {
  test('a socket beside ours serves its port; without one, the guest is refused', async () => {
    const { sockets, door, path } = await setUp();
    const server = createServer((socket) => {
      socket.on('data', (bytes) => socket.end(`${bytes}!`));
    });
    await new Promise<void>((resolve) => server.listen(`${path}_53`, resolve));
    assert.equal(await door.ask(54), 'refused');
    const stream = await door.ask(53);
    assert.ok(stream !== 'refused');
    stream.events.data(new TextEncoder().encode('name'));
    await stream.until(({ text, log }) => text === 'name!' && log.includes('end'));
    stream.events.ended();
    server.close();
    sockets.close();
  });

  test('what is no socket refuses', async () => {
    const { sockets, door, path } = await setUp();
    writeFileSync(`${path}_53`, '');
    assert.equal(await door.ask(53), 'refused');
    sockets.close();
  });
});

describe('the socket', () => {
  test('goes when it is closed, with all connections', async () => {
    const { sockets, path } = await setUp();
    const socket = connect(path);
    socket.write('CONNECT 80\n');
    await line(socket);
    sockets.close();
    socket.resume();
    await once(socket, 'close');
    assert.ok(!existsSync(path));
  });

  test('one that somebody listens on stays theirs; one that was left behind is replaced', async () => {
    const { sockets, path } = await setUp();
    await assert.rejects(VsockSockets.listen(path), { code: 'vsock-in-use' });
    sockets.close();
    // A process that dies leaves its socket: Node removes ours, so it is made as a file that nobody listens on.
    const left = newPath();
    const code = `require('net').createServer().listen(${JSON.stringify(left)}, () => process.kill(process.pid, 'SIGKILL'))`;
    spawnSync(process.execPath, ['-e', code]);
    assert.ok(existsSync(left));
    const again = await VsockSockets.listen(left);
    again.close();
    const file = newPath();
    writeFileSync(file, 'of somebody');
    await assert.rejects(VsockSockets.listen(file), { code: 'vsock-in-use' });
    assert.equal(readFileSync(file, 'utf8'), 'of somebody');
  });

  test('a path that cannot be is an error that says so', async () => {
    await assert.rejects(VsockSockets.listen(join(folder, 'x'.repeat(120))), { code: 'bad-vsock' });
    await assert.rejects(VsockSockets.listen(join(folder, 'none', 'v')), { code: 'bad-vsock' });
  });
});
