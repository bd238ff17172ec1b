/**
 * Programs of the host and of Debian's guest talk over vsock, by the unix sockets that Firecracker's users know, over either
 * transport; a restored guest has the device, and new streams.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import type { MachineOptions } from '../../src/host/machine/index.ts';
import { requires } from '../capability.ts';
import { debianImage, Guest } from './guest.testing.ts';
import { executable } from './guest-program.testing.ts';

const folder = mkdtempSync(join(tmpdir(), 'kagemusha-vsock-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const ECHO_PORT = 5000;
const HOST_PORT = 53;
const MiB = 2 ** 20;

/** socket(AF_VSOCK, SOCK_STREAM, 0) to s0. */
const SOCKET = `
    li a0, 40
    li a1, 1
    li a2, 0
    li a7, 198
    ecall
    mv s0, a0`;
/** struct sockaddr_vm. */
const address = (port: number, cid: number): string => `
    .balign 4
address:
    .half 40, 0
    .word ${port}, ${cid}, 0`;

/** Echoes what comes to its port, a client at a time. */
const server = executable(`
    ${SOCKET}
    la a1, address
    li a2, 16
    li a7, 200
    ecall
    mv a0, s0
    li a1, 4
    li a7, 201
    ecall
    li t0, -4096
    add sp, sp, t0
next:
    mv a0, s0
    li a1, 0
    li a2, 0
    li a7, 202
    ecall
    mv s1, a0
more:
    mv a0, s1
    mv a1, sp
    li a2, 4096
    li a7, 63
    ecall
    blez a0, done
    mv s2, a0
    mv s3, sp
rest:
    mv a0, s1
    mv a1, s3
    mv a2, s2
    li a7, 64
    ecall
    blez a0, done
    add s3, s3, a0
    sub s2, s2, a0
    bnez s2, rest
    j more
done:
    mv a0, s1
    li a7, 57
    ecall
    j next
    ${address(ECHO_PORT, 0xffff_ffff)}`);

/** Says "ping" to the host's port, and shows what it hears. Its status is 1 where nobody is there. */
const client = executable(`
    ${SOCKET}
    la a1, address
    li a2, 16
    li a7, 203
    ecall
    bnez a0, nobody
    mv a0, s0
    la a1, ping
    li a2, 4
    li a7, 64
    ecall
    addi sp, sp, -64
more:
    mv a0, s0
    mv a1, sp
    li a2, 64
    li a7, 63
    ecall
    mv a2, a0
    blez a0, done
    li a0, 1
    mv a1, sp
    li a7, 64
    ecall
    j more
done:
    li a0, 0
    li a7, 93
    ecall
nobody:
    li a0, 1
    li a7, 93
    ecall
ping:
    .asciz "ping"
    ${address(HOST_PORT, 2)}`);

async function options(more: MachineOptions): Promise<MachineOptions> {
  const { kernel, initrd, commandLine } = await debianImage();
  return { kernel, initrd, append: commandLine, memoryBytes: 256 * MiB, network: false, ...more };
}

async function install(guest: Guest): Promise<void> {
  await guest.machine.ready();
  assert.equal((await guest.run('modprobe vmw_vsock_virtio_transport && test -e /dev/vsock')).code, 0);
  for (const [name, stdin] of [
    ['server', server],
    ['client', client],
  ] as const)
    assert.equal((await guest.run(`cat > /tmp/${name} && chmod +x /tmp/${name}`, { stdin })).code, 0);
  await guest.run('/tmp/server > /dev/null 2>&1 & sleep 1');
}

/** What comes back of `bytes` from the guest's port. */
async function echo(path: string, bytes: Uint8Array): Promise<Buffer> {
  const socket = connect(path);
  const chunks: Buffer[] = [];
  let size = 0;
  let greeting = '';
  const done = Promise.withResolvers<void>();
  socket.on('data', (chunk: Buffer) => {
    let rest = chunk;
    if (!greeting.includes('\n')) {
      const text = chunk.toString('latin1');
      const end = text.indexOf('\n') + 1;
      greeting += text.slice(0, end);
      rest = chunk.subarray(end);
      if (end > 0) socket.write(bytes);
    }
    chunks.push(rest);
    size += rest.length;
    if (size >= bytes.length) done.resolve();
  });
  socket.on('close', () => done.reject(new Error(`closed after "${greeting}" and ${size} bytes`)));
  socket.write(`CONNECT ${ECHO_PORT}\n`);
  await done.promise;
  assert.match(greeting, /^OK \d+\n$/);
  socket.destroy();
  return Buffer.concat(chunks);
}

const bulk = Uint8Array.from({ length: 3 << 20 }, (_, i) => (i * 7919) >> 3);

describe('streams between host and guest', { ...requires('apt'), timeout: 480_000 }, () => {
  for (const pci of [false, true])
    test(`over ${pci ? 'PCI' : 'virtio-mmio'}: both ways, in bulk, refused, several at a time`, async () => {
      const path = join(folder, `v${pci}`);
      await using guest = await Guest.start(await options({ vsock: { socket: path }, ...(pci ? { pci } : {}) }));
      await install(guest);
      const all = await Promise.all(
        [bulk, bulk.subarray(0, 100_000), Uint8Array.of(1)].map((bytes) => echo(path, bytes)),
      );
      assert.deepEqual(
        all.map((bytes) => bytes.length),
        [bulk.length, 100_000, 1],
      );
      assert.ok(all[0]?.equals(bulk));
      assert.equal((await guest.run('/tmp/client')).code, 1, 'nobody listens on the host');
      const host = createServer((socket) => {
        socket.once('data', (bytes) => socket.end(`${bytes} pong`));
      });
      host.listen(`${path}_${HOST_PORT}`);
      await once(host, 'listening');
      const { code, stdout } = await guest.run('/tmp/client');
      assert.deepEqual([code, stdout], [0, 'ping pong']);
      host.close();
      const deaf = connect(path);
      deaf.resume();
      deaf.write('CONNECT 5999\n');
      await once(deaf, 'close');
    });

  test('a twin and another guest of the machine: the one has nobody on the host, the other a path of its own', async () => {
    const path = join(folder, 'original');
    const other = join(folder, 'other');
    const room = { partitions: 3, memoryBytes: 768 * MiB };
    await using guest = await Guest.start(await options({ vsock: { socket: path }, room }));
    await install(guest);
    const host = createServer((socket) => {
      socket.once('data', (bytes) => socket.end(`${bytes} pong`));
    });
    host.listen(`${path}_${HOST_PORT}`);
    await once(host, 'listening');
    await using twin = Guest.of(await guest.machine.fork());
    assert.equal((await twin.run('/tmp/client')).code, 1);
    assert.equal((await guest.run('/tmp/client')).stdout, 'ping pong');
    assert.ok((await echo(path, bulk)).equals(bulk));
    const { room: _, ...own } = await options({ vsock: { socket: other } });
    await using partition = Guest.of(await guest.machine.createPartition(own));
    await install(partition);
    const both = await Promise.all([echo(other, bulk), echo(path, bulk)]);
    assert.ok(both.every((bytes) => bytes.equals(bulk)));
    await assert.rejects(guest.machine.createPartition(own), { code: 'vsock-in-use' });
    host.close();
  });

  test('a restored guest lost its streams, and makes new ones', async () => {
    const path = join(folder, 'first');
    const again = join(folder, 'again');
    const file = join(folder, 'guest.kage');
    await using guest = await Guest.start(await options({ vsock: { socket: path, cid: 77 } }));
    await install(guest);
    await echo(path, Uint8Array.of(1));
    await guest.machine.snapshot(file);
    await using restored = await Guest.restore(file, { name: 'vsock-again', vsock: { socket: again, cid: 77 } });
    await restored.machine.ready();
    // The guest resets what it has when it comes to read that it was restored: a stream made just before that, too.
    const echoed = await echo(again, bulk).catch((error: NodeJS.ErrnoException) => {
      assert.equal(error.code, 'ECONNRESET');
      return echo(again, bulk);
    });
    assert.ok(echoed.equals(bulk));
    assert.ok((await echo(path, bulk)).equals(bulk));
  });
});
