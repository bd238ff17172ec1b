/** Stream sockets as uplinks: two switches joined by one, peers that come and go, peers that make no sense. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import { OperatorError } from '../../../base/errors.ts';
import { FrameDecoder, prefixed } from '../../../network/index.ts';
import { openStreamLink } from './stream-link.ts';

const limit = { timeout: 30_000 };
const folder = mkdtempSync(join(tmpdir(), 'kage-stream-'));
const path = join(folder, 'link.sock');
const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0).reverse()) close();
});
process.once('exit', () => rmSync(folder, { recursive: true, force: true }));

interface End {
  readonly got: Uint8Array[];
  readonly carriers: boolean[];
  send(frame: Uint8Array): boolean;
  close(): void;
  readonly port: number | undefined;
}

async function open(options: Parameters<typeof openStreamLink>[0], mayLeave?: () => boolean): Promise<End> {
  const opened = await openStreamLink(options, mayLeave);
  const got: Uint8Array[] = [];
  const carriers: boolean[] = [];
  opened.join({
    receive: (frame) => {
      got.push(frame.slice());
      return true;
    },
    setCarrier: (up) => carriers.push(up),
    remove: () => {},
  });
  closing.push(() => opened.close());
  return { got, carriers, send: (frame) => opened.link.send(frame), close: () => opened.close(), port: opened.port };
}

async function until(done: () => boolean): Promise<void> {
  while (!done()) await new Promise((resolve) => setTimeout(resolve, 2));
}

const frame = (length: number, seed: number): Uint8Array => Uint8Array.from({ length }, (_, i) => (i * seed) & 255);

test('frames pass both ways, over a path and over TCP', limit, async () => {
  for (const where of [{ path }, { host: '127.0.0.1', port: 0 }]) {
    const one = await open({ kind: 'stream', server: true, ...where });
    const other = await open({ kind: 'stream', ...where, ...(one.port === undefined ? {} : { port: one.port }) });
    await until(() => one.carriers.at(-1) === true && other.carriers.at(-1) === true);
    const frames = [60, 1514, 9014, 65_549].map(frame);
    for (const each of frames) assert.ok(one.send(each) && other.send(each));
    await until(() => one.got.length === 4 && other.got.length === 4);
    assert.deepEqual(one.got, frames);
    assert.deepEqual(other.got, frames);
    one.close();
    assert.equal(one.send(frame(60, 1)), false);
    await until(() => other.carriers.at(-1) === false);
    assert.equal(existsSync(path), false);
    other.close();
  }
});

test(
  'what waits for a peer that does not read leaves in its order, or, behind a deadline, but for one frame, never',
  limit,
  async () => {
    for (const isOver of [false, true]) {
      let mayLeave = true;
      const one = await open({ kind: 'stream', server: true, path }, () => mayLeave);
      const socket = connect(path);
      await until(() => one.carriers.at(-1) === true);
      const got: Uint8Array[] = [];
      const decoder = new FrameDecoder((bytes) => void got.push(bytes.slice()));
      let sent = 0;
      while (one.send(frame(9014, sent))) sent++;
      mayLeave = !isOver;
      socket.on('data', (chunk: Buffer) => decoder.push(new Uint8Array(chunk)));
      await until(() => got.length === sent || isOver);
      if (isOver) await new Promise((resolve) => setTimeout(resolve, 100));
      const [first, second] = [frame(9014, got.length - 1), frame(9014, 0)];
      assert.deepEqual([got.at(-1), got[0]], [first, second]);
      // What the kernel had, and the frame that it had no room for.
      if (isOver) assert.ok(got.length < sent / 2, `${got.length} of ${sent}`);
      socket.destroy();
      one.close();
    }
  },
);

test('who connects tries again; who listens takes the next peer', limit, async () => {
  const client = await open({ kind: 'stream', path, reconnectMs: 10 });
  assert.equal(client.send(frame(60, 1)), false);
  for (let round = 0; round < 3; round += 1) {
    const server = await open({ kind: 'stream', server: true, path });
    await until(() => client.carriers.at(-1) === true);
    server.close();
    await until(() => client.carriers.at(-1) === false);
  }
  assert.equal(client.carriers.filter((up) => up).length, 3);
});

test('a second peer is turned away; the first is not disturbed', limit, async () => {
  const server = await open({ kind: 'stream', server: true, path });
  const first = connect(path);
  await until(() => server.carriers.length === 1);
  const second = connect(path);
  await once(second, 'close');
  first.write(prefixed(frame(60, 3)));
  await until(() => server.got.length === 1);
  first.destroy();
  await until(() => server.carriers.at(-1) === false);
});

test('a peer that has lost the thread is cut off', limit, async () => {
  const server = await open({ kind: 'stream', server: true, path });
  const peer = connect(path);
  peer.on('error', () => {});
  peer.write(Uint8Array.of(0xff, 0xff, 0xff, 0xff));
  await once(peer, 'close');
  await until(() => server.carriers.at(-1) === false);
});

test('for a peer that does not read frames are lost, and nothing piles up', limit, async () => {
  let taken: Socket | undefined;
  const hang: Server = createServer((socket) => {
    taken = socket;
    socket.pause();
  }).listen(path);
  closing.push(() => {
    taken?.destroy();
    hang.close();
  });
  await once(hang, 'listening');
  const client = await open({ kind: 'stream', path });
  await until(() => client.carriers.at(-1) === true);
  const big = frame(60_000, 7);
  let sent = 0;
  while (client.send(big) && sent < 1000) sent += 1;
  assert.ok(sent < 200, `${sent} frames of 60 kB`);
});

test('what lies at the path: a socket that is served, one that is left over, a file', limit, async () => {
  const code = async (): Promise<string> =>
    await openStreamLink({ kind: 'stream', server: true, path }).then(
      (link) => {
        link.close();
        return 'none';
      },
      (error: unknown) => (error instanceof OperatorError ? error.code : String(error)),
    );
  const server = createServer().listen(path);
  await once(server, 'listening');
  assert.equal(await code(), 'address-in-use');
  server.close();
  await once(server, 'close');
  assert.equal(await code(), 'none');
  writeFileSync(path, 'precious');
  assert.equal(await code(), 'address-in-use');
  rmSync(path);
});

test('a decoder of ours reads what we write, as QEMU does', () => {
  const got: number[] = [];
  assert.ok(new FrameDecoder((one) => got.push(one.length)).push(prefixed(frame(1514, 1))));
  assert.deepEqual(got, [1514]);
});
