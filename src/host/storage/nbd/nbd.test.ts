import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BlockBackend } from '../../../devices/index.ts';
import { blockBackendSuite } from '../../../devices/virtio/block-backend.testing.ts';
import { Random } from '../../../devices/virtio/random.testing.ts';
import { ForkableDisk } from '../forkable-disk.ts';
import { FakeNbdServer, type FakeOptions, words } from './fake-server.testing.ts';
import { isNbdUri, openNbd } from './index.ts';
import { CMD, REPLY, SIMPLE_REPLY_MAGIC, STRUCTURED_REPLY_MAGIC } from './protocol.ts';
import { parseNbdUri } from './uri.ts';

const folder = mkdtempSync(join(tmpdir(), 'kagemusha-nbd-'));
after(() => rmSync(folder, { recursive: true }));
let count = 0;

async function serve(options: Partial<FakeOptions> = {}): Promise<FakeNbdServer> {
  const random = new Random(count);
  const server = new FakeNbdServer({ path: join(folder, `${count++}`), sizeBytes: 1 << 20, random, ...options });
  await server.start();
  return server;
}

const uriOf = (server: FakeNbdServer) => `nbd+unix:///disk?socket=${server.options.path}`;

async function withDisk(
  options: Partial<FakeOptions>,
  reconnectDelaySeconds: number,
  body: (disk: BlockBackend, server: FakeNbdServer) => Promise<void>,
): Promise<void> {
  const server = await serve(options);
  const { disk, close } = await openNbd(uriOf(server), { reconnectDelaySeconds });
  try {
    await body(disk, server);
  } finally {
    await close().catch(() => {});
    await server.kill();
  }
}

const kinds: [string, Partial<FakeOptions>][] = [
  ['structured replies', {}],
  ['simple replies', { structured: false }],
  ['no GO', { knowsGo: false, structured: false }],
  ['neither trim nor zeros', { flags: 5 }],
  ['blocks of 4096', { blockBytes: 4096 }],
];
for (const [name, options] of kinds) {
  blockBackendSuite(`NBD, ${name}`, async (content) => {
    const blockBytes = options.blockBytes ?? 512;
    const sizeBytes = Math.ceil(content.length / blockBytes) * blockBytes;
    const server = await serve({ ...options, sizeBytes });
    const { disk, close } = await openNbd(uriOf(server));
    await disk.write(0, [content]);
    return {
      // The suite's disk has its own size.
      backend: sizeBytes === content.length ? disk : sized(disk, content.length),
      close: async () => {
        await close();
        await server.kill();
      },
    };
  });
}

function sized(disk: BlockBackend, sizeBytes: number): BlockBackend {
  return {
    ...{ sizeBytes, readOnly: disk.readOnly },
    read: (offset, into) => disk.read(offset, into),
    write: (offset, from) => disk.write(offset, from),
    flush: () => disk.flush(),
  };
}

test('NBD: names of servers and exports', () => {
  assert.deepEqual(parseNbdUri('nbd://host/a%20b'), {
    address: { host: 'host', port: 10809 },
    exportName: 'a b',
    tls: false,
  });
  assert.deepEqual(parseNbdUri('nbds://[::1]:99'), { address: { host: '::1', port: 99 }, exportName: '', tls: true });
  assert.deepEqual(parseNbdUri('nbd+unix:///x?socket=/a/b'), {
    address: { path: '/a/b' },
    exportName: 'x',
    tls: false,
  });
  for (const bad of ['nbd+unix:///x', 'nbd://', 'nbd://host:99999', 'nbd://h/%zz']) {
    assert.throws(() => parseNbdUri(bad), { code: 'nbd-uri' }, bad);
  }
  assert.deepEqual(['nbd://x', 'NBDS+UNIX:///', 'nbd.img', './nbd://x'].map(isNbdUri), [true, true, false, false]);
});

test('NBD: what was acknowledged and not flushed is there again when the server is back without it', async () => {
  await withDisk({}, 30, async (disk, server) => {
    await disk.write(0, [new Uint8Array(1024).fill(1)]);
    await disk.flush();
    await disk.write(512, [new Uint8Array(512).fill(2)]);
    await disk.write(4096, [new Uint8Array(512).fill(3)]);
    await disk.writeZeroes?.(0, 512);
    await server.kill();
    assert.equal(server.durable[512], 1);
    await server.start();
    const bytes = new Uint8Array(8192);
    await disk.read(0, [bytes]);
    assert.deepEqual([bytes[0], bytes[512], bytes[1023], bytes[4096]], [0, 2, 2, 3]);
    await disk.flush();
    assert.deepEqual([server.durable[0], server.durable[512], server.durable[4096]], [0, 2, 3]);
  });
});

test('NBD: what a flush has covered is not sent again', async () => {
  await withDisk({}, 30, async (disk, server) => {
    await disk.write(0, [new Uint8Array(512).fill(1)]);
    await disk.flush();
    await server.kill();
    server.commands.length = 0;
    await server.start();
    await disk.read(0, [new Uint8Array(512)]);
    assert.deepEqual(server.commands, [CMD.READ]);
  });
});

test('NBD: requests under way wait for a server that is back in time', async () => {
  await withDisk({}, 30, async (disk, server) => {
    server.isMute = true;
    const write = Promise.resolve(disk.write(0, [new Uint8Array(512).fill(7)]));
    while (!server.commands.includes(CMD.WRITE)) await sleep(1);
    await server.kill();
    const read = new Uint8Array(512);
    server.isMute = false;
    await server.start();
    await write;
    await disk.read(0, [read]);
    assert.equal(read[0], 7);
  });
});

test('NBD: without a delay requests fail while the server is gone, and work when it is back', async () => {
  await withDisk({}, 0, async (disk, server) => {
    await disk.write(0, [new Uint8Array(512).fill(9)]);
    await server.kill();
    const read = async () => await disk.read(0, [new Uint8Array(512)]);
    await assert.rejects(read(), { code: 'nbd-gone' });
    await assert.rejects(async () => await disk.flush(), { code: 'nbd-gone' });
    await server.start();
    for (;;) {
      try {
        await read();
        break;
      } catch {
        await sleep(5);
      }
    }
    await disk.flush();
    assert.equal(server.durable[0], 9);
  });
});

test('NBD: a twin of such a disk begins with what is on it, and writes elsewhere', async () => {
  await withDisk({}, 0, async (disk, server) => {
    const first = new ForkableDisk(disk, async () => {});
    await first.write(0, [new Uint8Array(512).fill(1)]);
    const twin = await first.prepareTwin();
    twin.freeze();
    await first.write(0, [new Uint8Array(512).fill(2)]);
    await twin.backend.write(512, [new Uint8Array(512).fill(3)]);
    const seen = async (backend: BlockBackend) => {
      const bytes = new Uint8Array(1024);
      await backend.read(0, [bytes]);
      return [bytes[0], bytes[512]];
    };
    assert.deepEqual(
      [await seen(first), await seen(twin.backend)],
      [
        [2, 0],
        [1, 3],
      ],
    );
    await twin.close();
    await first.flush();
    assert.deepEqual([server.durable[0], server.durable[512]], [2, 0]);
  });
});

test('NBD: another export in its place is not written to', async () => {
  await withDisk({}, 30, async (disk, server) => {
    await server.kill();
    server.options = { ...server.options, sizeBytes: 1 << 21 };
    await server.start();
    await assert.rejects(async () => await disk.write(0, [new Uint8Array(512)]), { code: 'nbd-changed' });
  });
});

test('NBD: what the server cannot do is an error of that request alone', async () => {
  await withDisk({}, 0, async (disk, server) => {
    server.error = { command: CMD.WRITE, code: 28 };
    await assert.rejects(async () => await disk.write(512, [new Uint8Array(512)]), /ENOSPC at 512/);
    server.error = undefined;
    await disk.write(512, [new Uint8Array(512).fill(1)]);
    assert.equal(server.commands.filter((command) => command === CMD.WRITE).length, 2);
  });
});

test('NBD: more than is kept is flushed before more is acknowledged', async () => {
  await withDisk({ sizeBytes: 64 << 20 }, 0, async (disk, server) => {
    const chunk = new Uint8Array(4 << 20).fill(5);
    for (let at = 0; at < 40 << 20; at += chunk.length) await disk.write(at, [chunk]);
    assert.ok(server.commands.includes(CMD.FLUSH));
    assert.equal(server.durable[(32 << 20) - 1], 5);
  });
});

test('NBD: read-only exports, sizes and servers that are not there are said', async () => {
  const server = await serve({ flags: 7 });
  await assert.rejects(openNbd(uriOf(server)), { code: 'disk-not-writable' });
  const { disk, close } = await openNbd(uriOf(server), { readOnly: true });
  assert.equal(disk.discard, undefined);
  await disk.flush();
  await close();
  await server.kill();
  await assert.rejects(openNbd(uriOf(server)), { code: 'nbd-unreachable' });
  const odd = await serve({ sizeBytes: 1000 });
  await assert.rejects(openNbd(uriOf(odd)), { code: 'disk-size' });
  await odd.kill();
});

const cookied = (cookie: bigint, magic: number, middle: readonly (readonly ['u16' | 'u32', number])[]) =>
  Buffer.concat([words(['u32', magic], ...middle, ['u64', cookie])]);
const garbage: [string, (cookie: bigint) => Uint8Array][] = [
  ['no known magic', () => new Uint8Array(64).fill(1)],
  ['an unknown cookie', (cookie) => cookied(cookie + 5n, SIMPLE_REPLY_MAGIC, [['u32', 0]])],
  [
    'data elsewhere',
    (cookie) =>
      Buffer.concat([
        cookied(cookie, STRUCTURED_REPLY_MAGIC, [
          ['u16', 1],
          ['u16', REPLY.OFFSET_DATA],
        ]),
        words(['u32', 520], ['u64', 65536n]),
        new Uint8Array(512),
      ]),
  ],
  [
    'a part of the data',
    (cookie) =>
      Buffer.concat([
        cookied(cookie, STRUCTURED_REPLY_MAGIC, [
          ['u16', 1],
          ['u16', REPLY.OFFSET_DATA],
        ]),
        words(['u32', 264], ['u64', 0n]),
        new Uint8Array(256),
      ]),
  ],
  [
    'an endless error',
    (cookie) =>
      Buffer.concat([
        cookied(cookie, STRUCTURED_REPLY_MAGIC, [
          ['u16', 1],
          ['u16', REPLY.ERROR],
        ]),
        words(['u32', 2 ** 31]),
      ]),
  ],
  [
    'a hole too large',
    (cookie) =>
      Buffer.concat([
        cookied(cookie, STRUCTURED_REPLY_MAGIC, [
          ['u16', 1],
          ['u16', REPLY.OFFSET_HOLE],
        ]),
        words(['u32', 12], ['u64', 0n], ['u32', 2 ** 31]),
      ]),
  ],
];
for (const [name, bytes] of garbage) {
  test(`NBD: a server that answers with ${name} is left`, async () => {
    await withDisk({ garbage: { command: CMD.READ, bytes } }, 0, async (disk) => {
      await assert.rejects(async () => await disk.read(0, [new Uint8Array(512)]), { name: 'HostError' });
    });
  });
}

test('property: servers that die at any time, and forget, under any load: what was acknowledged is there', async () => {
  for (let seed = 1; seed <= 8; seed++) {
    const random = new Random(seed);
    await withDisk({ sizeBytes: 128 * 512, random, structured: random.oneIn(2) }, 60, async (disk, server) => {
      const model = new Uint8Array(disk.sizeBytes);
      const deaths = (async () => {
        for (let i = 0; i < 5; i++) {
          await sleep(random.below(40));
          await server.kill();
          await sleep(random.below(8));
          await server.start();
        }
      })();
      for (let round = 0; round < 40; round++) {
        // Sectors that do not overlap, several at a time.
        const base = random.below(4);
        const writes = Array.from({ length: 6 }, async (_, i) => {
          const sector = base + i * 20 + random.below(16);
          const bytes = random.bytes(512);
          model.set(bytes, sector * 512);
          await disk.write(sector * 512, [bytes]);
        });
        if (random.oneIn(3)) writes.push(Promise.resolve(disk.flush()));
        await Promise.all(writes);
      }
      await deaths;
      const all = new Uint8Array(disk.sizeBytes);
      await disk.read(0, [all]);
      assert.deepEqual(all, model, `seed ${seed}`);
      await disk.flush();
      assert.deepEqual(server.durable, model, `seed ${seed}`);
    });
  }
});
