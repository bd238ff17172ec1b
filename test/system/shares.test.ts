/**
 * Folders of the host in Debian's guest: programs find in them what they find in the guest's own tmpfs, and leave there what
 * the host has; nobody gets out of them; they come along into snapshots and twins.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { MachineOptions } from '../../src/host/machine/index.ts';
import { requires } from '../capability.ts';
import { crossCompile } from '../cross-compile.ts';
import { kageCommand } from '../kage-command.ts';
import { debianImage, Guest } from './guest.testing.ts';

const MiB = 2 ** 20;
const SECRET = 'what no guest is to read';
const folder = mkdtempSync(join(tmpdir(), 'kagemusha-shares-'));
after(() => rmSync(folder, { recursive: true, force: true }));

async function options(more: MachineOptions): Promise<MachineOptions> {
  const { kernel, initrd, commandLine } = await debianImage();
  return { kernel, initrd, append: commandLine, memoryBytes: 256 * MiB, network: false, ...more };
}

function made(name: string): string {
  const path = join(folder, name);
  mkdirSync(path);
  return path;
}

/** Of everything below that is no folder: name, mode, number of names, size; as `stat` in the guest says it. */
function listing(path: string): string[] {
  const names = (readdirSync(path, { recursive: true, encoding: 'buffer' }) as Buffer[]).map((name) =>
    name.toString('latin1'),
  );
  const lines = names.flatMap((name) => {
    const stat = lstatSync(Buffer.from(join(path, name), 'latin1'));
    if (stat.isDirectory()) return [];
    return [`./${name} ${(stat.mode & 0o7777).toString(8)} ${stat.nlink} ${stat.size}`];
  });
  return lines.sort();
}

async function listed(guest: Guest, path: string): Promise<string[]> {
  const { stdout } = await guest.machine.exec([
    ...['sh', '-c', `cd ${path} && find . ! -type d -exec stat -c '%n %a %h %s' {} +`],
  ]);
  return Buffer.from(stdout).toString('latin1').trim().split('\n').sort();
}

describe('shared folders', requires('apt', 'cross'), () => {
  const work = made('work');
  const outside = made('outside');
  const readOnly = made('read-only');
  let session: Uint8Array;

  before(async () => {
    writeFileSync(join(outside, 'secret'), SECRET);
    writeFileSync(join(readOnly, 'file'), 'as it was');
    const source = fileURLToPath(new URL('../../guest/shares/session.c', import.meta.url));
    session = await crossCompile(join(folder, 'session'), [source]);
    writeFileSync(join(work, 'session'), session, { mode: 0o755 });
    mkdirSync(join(work, 's'));
  });

  test('programs find what they find in any file system of Linux, and the host has what they left', {
    timeout: 240_000,
  }, async (t) => {
    const shares = [
      { host: work, guest: '/share' },
      { host: readOnly, guest: '/media/read only', readOnly: true },
    ];
    await using guest = await Guest.start(await options({ shares, cpus: 2 }));
    const run = async (script: string): Promise<string> => {
      const { code, stdout, stderr } = await guest.run(script);
      assert.equal(code, 0, `${script}: ${stdout} ${stderr}`);
      return stdout;
    };

    await t.test('a session', async () => {
      const expected = await run('mkdir /tmp/s && /share/session /tmp/s');
      const found = await run('/share/session /share/s');
      assert.ok(expected.split('\n').length > 100);
      assert.deepEqual(found.split('\n'), expected.split('\n'));
      const tree = await listed(guest, '/tmp/s');
      assert.deepEqual(await listed(guest, '/share/s'), tree);
      assert.deepEqual(listing(join(work, 's')), tree);
    });

    await t.test('archives go in and out', async () => {
      const script = 'cd /tmp/s && tar c $(ls -A | grep -v sparse) | (mkdir /share/t && cd /share/t && tar x)';
      await run(`${script}; cd /share/t && tar c . | (mkdir /tmp/t && cd /tmp/t && tar x)`);
      assert.deepEqual(await listed(guest, '/share/t'), await listed(guest, '/tmp/t'));
      await run('rm -r /share/t && ! test -e /share/t');
    });

    await t.test('what the host changes is seen, and so is what the guest writes', async () => {
      writeFileSync(join(work, 'both'), 'one');
      assert.equal(await run('cat /share/both'), 'one');
      writeFileSync(join(work, 'both'), 'two, and longer');
      assert.equal(await run('cat /share/both; echo three > /share/both'), 'two, and longer');
      assert.equal(readFileSync(join(work, 'both'), 'utf8'), 'three\n');
      rmSync(join(work, 'both'));
      assert.equal((await guest.run('cat /share/both')).code, 1);
    });

    await t.test('a read-only one is mounted so, and stays so when the guest mounts it otherwise', async () => {
      const place = '"/media/read only"';
      assert.equal(await run(`cat ${place}/file`), 'as it was');
      assert.match(await run('mount'), /media.*read.*only type 9p \(ro,/);
      await run(`mount -o remount,rw ${place}`);
      for (const attempt of ['echo x > file', 'rm file', 'touch new', 'chmod 600 file', 'mkdir d', 'ln file link'])
        assert.match((await guest.run(`cd ${place} && ${attempt}`)).stderr, /Read-only file system/, attempt);
      assert.equal(readFileSync(join(readOnly, 'file'), 'utf8'), 'as it was');
      assert.deepEqual(readdirSync(readOnly), ['file']);
    });

    await t.test('links lead where they lead in the guest; pipes and devices are not made', async () => {
      symlinkSync(join(outside, 'secret'), join(work, 'leak'));
      symlinkSync('../outside', join(work, 'up'));
      for (const path of ['leak', 'up/secret', '../outside/secret'])
        assert.notEqual((await guest.run(`cat /share/${path}`)).code, 0, path);
      await run('echo planted > /tmp/planted; ln -s /tmp/planted /share/mine; test "$(cat /share/mine)" = planted');
      for (const attempt of ['mknod p p', 'mknod d b 8 0'])
        assert.match((await guest.run(`cd /share && ${attempt}`)).stderr, /not permitted/, attempt);
      assert.equal(readFileSync(join(outside, 'secret'), 'utf8'), SECRET);
      assert.deepEqual(readdirSync(outside), ['secret']);
    });

    await t.test('a snapshot takes along what is open', async () => {
      const file = join(folder, 'guest.kage');
      const writer = '{ echo before; while ! test -e /tmp/go; do sleep 0.1; done; echo after; } > /share/open';
      await run(`(${writer}) < /dev/null > /dev/null 2>&1 &`);
      await run('while ! grep -q before /share/open; do sleep 0.1; done; echo gone > /share/gone');
      await run(
        '(exec 5< /share/gone; while ! test -e /tmp/go; do sleep 0.1; done; cat <&5 2> /tmp/said >&2) < /dev/null > /dev/null 2>&1 &',
      );
      await run('sleep 1; cd /share && echo here > here');
      await guest.machine.snapshot(file, { stop: true });
      rmSync(join(work, 'gone'));
      writeFileSync(join(work, 'here'), 'changed meanwhile');
      await using restored = await Guest.restore(file);
      const again = async (script: string): Promise<string> => {
        const { code, stdout, stderr } = await restored.run(script);
        assert.equal(code, 0, `${script}: ${stdout} ${stderr}`);
        return stdout;
      };
      assert.equal(await again('cat /share/here'), 'changed meanwhile');
      await again('touch /tmp/go; while ! grep -q after /share/open; do sleep 0.1; done; sync');
      assert.equal(readFileSync(join(work, 'open'), 'utf8'), 'before\nafter\n');
      // Or it had been read already: then it is in the guest's memory, as it was.
      assert.match(await again('sleep 1; cat /tmp/said'), /^gone\n|Stale|stale/);
      await restored.machine.snapshot(file, { stop: true });
      const [elsewhere, other] = [made('elsewhere'), { host: readOnly, guest: '/media/read only', readOnly: true }];
      writeFileSync(join(elsewhere, 'here'), 'elsewhere');
      const moved = [{ host: elsewhere, guest: '/share' }, other];
      await using third = await Guest.restore(file, { shares: moved });
      assert.equal((await third.run('cat /share/here')).stdout, 'elsewhere');
      await assert.rejects(Guest.restore(file, { shares: [other] }), { code: 'share-changed' });
    });
  });

  test('over PCI Express; twins have the folders that their original has, and what is open there', {
    timeout: 240_000,
  }, async () => {
    const host = made('forked');
    writeFileSync(join(host, 'unlinked'), 'still there');
    const room = { partitions: 3, memoryBytes: 768 * MiB };
    await using guest = await Guest.start(await options({ shares: [{ host, guest: '/share' }], room, pci: true }));
    const hold =
      'exec 5< /share/unlinked; rm /share/unlinked; while ! test -e /tmp/go; do sleep 0.1; done; cat <&5 > /share/$(cat /tmp/go)';
    await guest.run(`(${hold}) < /dev/null > /dev/null 2>&1 &`);
    await guest.run('while test -e /share/unlinked; do sleep 0.1; done');
    await using twin = Guest.of(await guest.machine.fork());
    for (const [who, name] of [
      [guest, 'original'],
      [twin, 'twin'],
    ] as const) {
      await who.run(`echo of-${name} > /tmp/go; while ! test -s /share/of-${name}; do sleep 0.1; done; sync`);
      assert.equal(readFileSync(join(host, `of-${name}`), 'utf8'), 'still there');
      await who.run(`mkdir /share/by-${name}`);
    }
    await guest.machine.kill();
    assert.equal((await twin.run('ls /share')).stdout, 'by-original\nby-twin\nof-original\nof-twin\n');
  });

  test('kage run -v: the folder is there, also where an earlier guest had booted; what is wrong is said', {
    timeout: 240_000,
  }, async () => {
    const [one, two] = [made('one'), made('two')];
    writeFileSync(join(one, 'a'), '');
    writeFileSync(join(two, 'b'), '');
    const run = async (volume: string, ...command: readonly string[]) => {
      const args = [
        kageCommand,
        'run',
        '-q',
        '-m',
        '256',
        '--network=none',
        '--boot-snapshot=on',
        '-v',
        volume,
        '--',
        ...command,
      ];
      const child = spawn(process.execPath, args, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
      let [stdout, stderr] = ['', ''];
      child.stdout.on('data', (bytes) => (stdout += bytes));
      child.stderr.on('data', (bytes) => (stderr += bytes));
      const [code] = await once(child, 'close');
      return { code, stdout, stderr };
    };
    assert.deepEqual(await run('./one:/share', 'ls', '/share'), { code: 0, stdout: 'a\n', stderr: '' });
    assert.deepEqual(await run(`${two}:/share`, 'ls', '/share'), { code: 0, stdout: 'b\n', stderr: '' });
    const wrote = await run(
      `${two}:/share`,
      'sh',
      '-c',
      'echo last > /share/late; mkdir /share/d; cp /share/late /share/d',
    );
    assert.equal(wrote.code, 0);
    assert.equal(readFileSync(join(two, 'd', 'late'), 'utf8'), 'last\n');
    renameSync(join(two, 'd'), join(two, 'e'));
    const missing = await run('./none:/share', 'true');
    assert.equal(missing.code, 125);
    assert.match(missing.stderr, /There is no folder .*none\. Make it first: mkdir -p/);
  });
});
