/**
 * Four harts under Debian's kernel: litmus tests of the memory model, atomics, futexes (guest/smp). A compiler that runs
 * four times at once is test/long/parallel-compile.ts.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { requires } from '../capability.ts';
import { programPath } from '../toolbox.ts';
import { debianImage, Guest } from './guest.testing.ts';

const HARTS = 4;
/** Of 512 instances of each litmus test. */
const ROUNDS = 20;
const folder = mkdtempSync(join(tmpdir(), 'kagemusha-smp-'));
after(() => rmSync(folder, { recursive: true, force: true }));

/** The program of guest/smp, static. */
function litmus(): Uint8Array {
  const [source, program] = [join(import.meta.dirname, '../../guest/smp/litmus.c'), join(folder, 'litmus')];
  const flags = ['-std=gnu17', '-O2', '-static', '-pthread', '-Wall', '-Wextra', '-Werror'];
  execFileSync(programPath('riscv64-linux-gnu-gcc'), [...flags, '-o', program, source]);
  return readFileSync(program);
}

describe('four harts', requires('apt', 'cross'), () => {
  test('nothing happens that the memory model forbids, no atomic is lost, and no waker', async () => {
    const { kernel, initrd, commandLine } = await debianImage();
    await using guest = await Guest.start({ kernel, initrd, append: commandLine, cpus: HARTS });
    const put = await guest.run('cat > /tmp/litmus && chmod +x /tmp/litmus', { stdin: litmus() });
    assert.equal(put.code, 0, put.stderr);
    const { code, stdout, stderr } = await guest.run(`nproc; /tmp/litmus ${ROUNDS}`);
    assert.match(stdout, /^4\n/);
    assert.match(stdout, /^all right$/m, stdout + stderr);
    assert.equal(code, 0);
  });
});
