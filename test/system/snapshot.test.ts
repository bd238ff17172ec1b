/**
 * Debian's stock kernel, made into a file while it works, and made of that file again: nothing of what it says or writes
 * is lost or doubled; what must differ between two of one file differs; time, network and agent go on.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { pullDebianImage } from '../../src/host/images/index.ts';
import type { MachineOptions } from '../../src/host/machine/index.ts';
import { requires } from '../capability.ts';
import { freePort } from './free-port.testing.ts';
import { Guest } from './guest.testing.ts';

const folder = mkdtempSync(join(tmpdir(), 'kagemusha-snapshots-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const path = (name: string): string => join(folder, name);

/** With our own agent, as this release has it. */
async function options(more: MachineOptions): Promise<MachineOptions> {
  const { kernel, initrd, commandLine } = await pullDebianImage();
  return { memoryBytes: 256 << 20, kernel, initrd, append: commandLine, ...more };
}

describe('a snapshot under load', requires('apt'), () => {
  const records = 3000;
  /** Numbers on the console, and each with its number all over 512 bytes on the disk, past the guest's cache. */
  const work = `i=0
    while [ $i -lt ${records} ]; do
      i=$((i + 1))
      echo "<$i>" > /dev/ttyS0
      printf '%512s' $i
    done | dd of=/dev/vda bs=4096 iflag=fullblock oflag=direct 2> /dev/null
    echo "<end>" > /dev/ttyS0`;
  const expected = Array.from({ length: records }, (_, i) => `<${i + 1}>`).join('');
  const check = `i=0; while [ $i -lt ${records} ]; do i=$((i + 1)); printf '%512s' $i; done | cmp - /dev/vda 2>&1 |
    grep -v 'EOF on -'; dd if=/dev/vda bs=512 skip=${records} count=8 2> /dev/null | tr -d '\\0' | wc -c`;
  let guest: Guest;
  const files = [path('early.kage'), path('late.kage')];

  const finishes = async (one: Guest): Promise<void> => {
    while (!Buffer.from(one.machine.consoleHistory()).includes('<end>'))
      await new Promise((resolve) => setTimeout(resolve, 50));
    const said = Buffer.from(one.machine.consoleHistory()).toString('latin1');
    assert.equal([...said.matchAll(/<(\d+)>/g)].map(([word]) => word).join(''), expected, 'on the console');
    const { stdout } = await one.run(check);
    assert.equal(stdout, '0\n', 'on the disk');
  };

  before(async () => {
    writeFileSync(path('disk.raw'), '');
    truncateSync(path('disk.raw'), 8 << 20);
    guest = await Guest.start(await options({ cpus: 2, drives: [{ file: path('disk.raw'), overlay: true }] }));
    await guest.machine.ready();
    await guest.run(`setsid sh -c '${work.replaceAll("'", `'\\''`)}' > /dev/null 2>&1 < /dev/null &`);
  });
  after(() => guest[Symbol.asyncDispose]());

  test('leaves the guest as it was: it writes all that it was to write', async () => {
    await guest.shows(/<300>/);
    await guest.machine.snapshot(files[0] ?? '');
    await guest.shows(/<1700>/);
    await guest.machine.snapshot(files[1] ?? '', { compress: false });
    await finishes(guest);
    await guest.machine.kill();
  });

  for (const [i, file] of files.entries())
    test(`and the ${i === 0 ? 'early' : 'late'} one goes on without a lost or doubled byte`, async () => {
      await using restored = await Guest.restore(file, { name: `restored-${i}` });
      await finishes(restored);
    });
});

describe('guests of one snapshot', requires('apt'), () => {
  const file = path('one.kage');
  let peer: Server;
  let sockets: Socket[] = [];
  let port: number;
  let address: string;
  let takenMs: number;
  let uptime: number;

  before(async () => {
    port = await freePort();
    peer = createServer((socket) => {
      sockets.push(socket);
      socket.on('error', () => {});
    }).listen(0, '127.0.0.1');
    await new Promise((resolve) => peer.once('listening', resolve));
    const at = peer.address();
    assert.ok(typeof at === 'object' && at !== null);
    await using guest = await Guest.start(await options({ cpus: 1, publish: [`127.0.0.1:${port}:80`] }));
    await guest.machine.ready();
    await guest.run(
      `mkdir -p /www && echo page > /www/page && (httpd -h /www) && hostname chosen &&
       (setsid sh -c 'nc 10.0.2.2 ${at.port} > /dev/null; echo $? > /closed' < /dev/zero > /dev/null 2>&1 &)`,
    );
    while (sockets.length === 0) await new Promise((resolve) => setTimeout(resolve, 20));
    ({ stdout: address } = await guest.run('cat /sys/class/net/eth0/address'));
    await guest.machine.snapshot(file);
    takenMs = Date.now();
    uptime = Number((await guest.run('cut -d" " -f1 /proc/uptime')).stdout);
  });
  after(() => {
    for (const socket of sockets) socket.destroy();
    sockets = [];
    peer.close();
  });

  test('draw other random numbers, at once; have the time, their name, address and network', async () => {
    const drawn: string[] = [];
    const generations: string[] = [];
    // So that a clock that stood still shows.
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, takenMs + 4000 - Date.now())));
    for (let i = 0; i < 2; i++) {
      await using guest = await Guest.restore(file, { name: `of-one-${i}` });
      const { stdout } = await guest.run(
        `head -c 16 /dev/urandom | od -An -tx1; cut -d' ' -f1 /proc/uptime; hostname; cat /sys/class/net/eth0/address`,
      );
      const [numbers = '', up, name, mac] = stdout.split('\n');
      const before = Date.now() / 1000;
      const seconds = Number((await guest.run('date +%s')).stdout);
      assert.ok(seconds >= before - 2 && seconds <= Date.now() / 1000 + 1, `it is ${seconds}, and was ${before}`);
      drawn.push(numbers);
      assert.ok(Number(up) >= uptime - 5 && Number(up) < uptime + 60, `up for ${up} s, before ${uptime}`);
      assert.equal(name, 'chosen');
      assert.equal(`${mac}\n`, address);
      generations.push((await guest.run('dmesg | grep -c "reseeded due to virtual machine fork"')).stdout.trim());
      const page = await fetched(port);
      assert.equal(page, 'page\n', 'its port is published again');
      // The connection that it had is one of the past.
      const { stdout: closed } = await guest.run(
        'for i in 1 2 3 4 5 6 7 8 9; do cat /closed 2>/dev/null && break; sleep 1; done',
      );
      assert.notEqual(closed, '', 'its connection is reset');
    }
    assert.match(drawn[0] ?? '', /( [0-9a-f]{2}){16}/);
    assert.notEqual(drawn[0], drawn[1]);
    assert.deepEqual(generations, ['1', '1'], 'and their kernels were told');
  });

  test('can be told apart by name alone, and go on side by side', async () => {
    await using first = await Guest.restore(file, { name: 'side', publish: [] });
    await using second = await Guest.restore(file, { name: 'by-side', publish: [] });
    await first.run('echo first > /who');
    await second.run('echo second > /who');
    assert.deepEqual(
      [(await first.run('cat /who')).stdout, (await second.run('cat /who')).stdout],
      ['first\n', 'second\n'],
    );
    assert.deepEqual([first.machine.info.name, second.machine.info.name], ['side', 'by-side']);
  });
});

describe('the first boot is kept', requires('apt'), () => {
  const inherited = process.env['XDG_CACHE_HOME'];
  let given: MachineOptions;

  before(async () => {
    given = await options({ bootSnapshot: true });
    process.env['XDG_CACHE_HOME'] = path('cache');
  });
  after(() => {
    if (inherited === undefined) delete process.env['XDG_CACHE_HOME'];
    else process.env['XDG_CACHE_HOME'] = inherited;
  });

  const kept = (): string[] => {
    try {
      return readdirSync(path('cache/kagemusha/boots')).map((name) => path(`cache/kagemusha/boots/${name}`));
    } catch {
      return [];
    }
  };
  /** Which boot it is, random bytes, the console; `touch` before the agent has answered. */
  const start = async (more: MachineOptions = {}, touch?: (guest: Guest) => void) => {
    await using guest = await Guest.start({ ...given, ...more });
    touch?.(guest);
    const { stdout } = await guest.run('cat /proc/sys/kernel/random/boot_id; head -c 16 /dev/urandom | od -An -tx1');
    const [boot, numbers] = stdout.split('\n');
    return { boot, numbers, console: Buffer.from(guest.machine.consoleHistory()).toString('latin1') };
  };

  test('and serves the next guests like it, which draw their own numbers', async () => {
    const first = await start();
    assert.equal(kept().length, 1);
    const [second, third] = [await start(), await start({ translate: false, publish: [`${await freePort()}:80`] })];
    assert.deepEqual([second.boot, third.boot], [first.boot, first.boot], 'the same boot');
    assert.equal(new Set([first, second, third].map(({ numbers }) => numbers)).size, 3);
    assert.ok(second.console.includes('BusyBox'), 'it shows what its boot had said');
    assert.equal(kept().length, 1);
  });

  test('but no other guests, and none that asks for a boot of its own', async () => {
    const boots = [await start(), await start({ cpus: 2 }), await start({ bootSnapshot: false })];
    assert.equal(new Set(boots.map(({ boot }) => boot)).size, 3);
    assert.equal(kept().length, 2);
  });

  test('a file that is damaged goes, and another boot takes its place', async () => {
    const { boot } = await start();
    for (const file of kept()) {
      const bytes = readFileSync(file);
      bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
      writeFileSync(file, bytes);
    }
    const anew = await start();
    assert.notEqual(anew.boot, boot);
    assert.equal((await start()).boot, anew.boot);
  });

  test('not if somebody typed meanwhile', async () => {
    for (const file of kept()) rmSync(file);
    await start({}, (guest) => guest.type('echo hello\r'));
    assert.deepEqual(kept(), []);
  });
});

function fetched(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    get({ host: '127.0.0.1', port, path: '/page', agent: false }, (response) => {
      let text = '';
      response.on('data', (bytes: Buffer) => {
        text += bytes.toString();
      });
      response.on('end', () => resolve(text));
    }).on('error', reject);
  });
}
