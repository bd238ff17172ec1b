import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { linuxImage } from '../machine/boot/boot.testing.ts';

const folder = mkdtempSync(join(tmpdir(), 'kagemusha-bad-input-'));
const runtime = join(folder, 'runtime');
const at = (name: string) => join(folder, name);
let port = 0;
let server: Server;

before(async () => {
  for (const path of [runtime, at('state')]) mkdirSync(path, { mode: 0o700 });
  writeFileSync(at('good'), linuxImage());
  writeFileSync(at('large'), linuxImage({ imageSize: 64n << 20n }));
  writeFileSync(at('truncated'), linuxImage().subarray(0, 60));
  writeFileSync(at('text'), 'not a kernel\n');
  writeFileSync(at('odd'), 'not a disk\n');
  server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  port = typeof address === 'object' && address !== null ? address.port : 0;
});
after(() => {
  server.close();
  rmSync(folder, { recursive: true, force: true });
});

/** The real command in a process of its own; a machine that starts in spite of all is ended by the time limit. */
async function kage(...args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'kage.ts'), ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, XDG_RUNTIME_DIR: runtime, XDG_STATE_HOME: at('state') },
    timeout: 20_000,
    killSignal: 'SIGKILL',
  });
  const out = { stdout: '', stderr: '' };
  child.stdout.on('data', (bytes) => {
    out.stdout += bytes;
  });
  child.stderr.on('data', (bytes) => {
    out.stderr += bytes;
  });
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, ...out };
}

describe('bad input: one line with what to do, exit code 125, nothing left behind', () => {
  const cases: readonly [what: string, args: () => string[], says: RegExp][] = [
    ['a kernel that is missing', () => ['--kernel', at('none')], /kernel .*none does not exist\. Name a readable file/],
    ['a kernel that is a folder', () => ['--kernel', folder], /is a folder/],
    ['a kernel that is cut off', () => ['--kernel', at('truncated')], /truncated/],
    ['a kernel that is none', () => ['--kernel', at('text')], /kernel .*text/],
    ['a kernel of another architecture', () => ['--kernel', process.execPath], /riscv64/],
    ['firmware of another architecture', () => ['--bios', process.execPath], /riscv64/],
    [
      'an initrd that is missing',
      () => ['--kernel', at('good'), '--initrd', at('none')],
      /initrd .*none does not exist/,
    ],
    [
      'a disk that is missing',
      () => ['--kernel', at('good'), '--drive', `file=${at('none')}`],
      /no disk .*none\. .*truncate/,
    ],
    ['a disk that is a folder', () => ['--kernel', at('good'), '--drive', folder], /directory/],
    ['a disk of an odd size', () => ['--kernel', at('good'), '--drive', at('odd')], /multiple of 512/],
    ['too little memory', () => ['--kernel', at('large'), '-m', '8M'], /memory.*(-m|--memory) \d+M/],
    ['too much memory', () => ['--kernel', at('good'), '-m', '1T'], /memory/],
    [
      'a published port in use',
      () => ['--kernel', at('good'), '-p', `127.0.0.1:${port}:80`],
      /in use by another program/,
    ],
    ['a published port that is none', () => ['--kernel', at('good'), '-p', 'web'], /published port "web"/],
    ['an unknown extension', () => ['--kernel', at('good'), '--cpu', 'rv64,zfoo=off'], /no extension 'zfoo'/],
    ['a shadow model that is none', () => ['--shadow-model', 'some'], /Choose fence or tracked/],
    ['too many shadows', () => ['--shadows', '65'], /--shadows/],
    ['ASIDs of too many bits', () => ['--asid-bits', '17'], /--asid-bits/],
    ['a promotion that is none', () => ['--promotion', 'some'], /Choose off, auto or always/],
    ['an unknown flag', () => ['--frobnicate'], /unknown option '--frobnicate'/],
    ['the same in the background', () => ['-d', '--kernel', at('none')], /kernel .*none does not exist/],
  ];
  for (const [what, args, says] of cases) {
    test(what, async () => {
      const before = readdirSync(folder).toSorted();
      const { code, stdout, stderr } = await kage('run', ...args());
      assert.match(stderr, says);
      assert.match(stderr, /^kage: [^\n]+\.\n$/);
      assert.deepEqual([code, stdout], [125, '']);
      assert.deepEqual(readdirSync(folder).toSorted(), before);
      assert.deepEqual(
        readdirSync(runtime).flatMap((name) => readdirSync(join(runtime, name))),
        [],
      );
    });
  }

  test('a disk that cannot be written', async () => {
    // The system lets nobody, root included, write to a program that runs.
    const disk = at('disk');
    copyFileSync('/bin/sleep', disk);
    truncateSync(disk, Math.ceil(statSync(disk).size / 512) * 512);
    const sleeping = spawn(disk, ['60'], { stdio: 'ignore' });
    await once(sleeping, 'spawn');
    const { code, stderr } = await kage('run', '--kernel', at('good'), '--drive', `file=${disk}`);
    sleeping.kill();
    assert.match(stderr, /^kage: [^\n]*disk[^\n]+\.\n$/);
    assert.doesNotMatch(stderr, /bug/);
    assert.equal(code, 125);
  });
});
