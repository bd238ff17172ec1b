/**
 * AIA's interrupt controllers in whole machines: random programs log the same registers here and in QEMU 10; Debian's
 * kernel runs its disk, network, console and the interrupts between harts over them, also in a machine made of a
 * snapshot. Other numbers of harts, direct delivery, and OpenSBI in front are test/long/aia.ts.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { requires } from '../capability.ts';
import { programPath } from '../toolbox.ts';
import { aplicGuest, useAplicGuest } from './aia-session.testing.ts';
import { aiaTrace } from './aia-trace.testing.ts';
import { Guest } from './guest.testing.ts';

const folder = mkdtempSync(join(tmpdir(), 'kagemusha-aia-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const SEEDS = (process.env['SEEDS'] ?? '1,2').split(',').map(Number);
const OPERATIONS = 600;

async function inQemu(bios: string, aia: string): Promise<readonly string[]> {
  const { stdout } = await promisify(execFile)(
    programPath('qemu-system-riscv64'),
    [
      ...['-M', `virt,aia=${aia}`, '-smp', '2', '-m', '64M', '-bios', bios],
      ...['-display', 'none', '-monitor', 'none', '-serial', 'stdio'],
    ],
    { timeout: 60_000, maxBuffer: 1 << 24 },
  );
  return stdout.trim().split('\n');
}

async function here(bios: string, aia: 'aplic' | 'aplic-imsic'): Promise<readonly string[]> {
  await using guest = await Guest.start({ bios, aia, cpus: 2, memoryBytes: 64 << 20, network: false }, 60_000);
  assert.deepEqual(await guest.machine.exited, { reason: 'poweroff', code: 0 });
  return guest.console.trim().split('\n');
}

describe('random programs log what they log in QEMU', requires('qemu'), () => {
  for (const aia of ['aplic', 'aplic-imsic'] as const) {
    for (const seed of SEEDS) {
      test(`${aia}, seed ${seed}`, async () => {
        const { image, log } = aiaTrace({ seed, operations: OPERATIONS, messages: aia === 'aplic-imsic' });
        const bios = join(folder, `${aia}-${seed}.bin`);
        writeFileSync(bios, image);
        const theirs = await inQemu(bios, aia);
        const ours = await here(bios, aia);
        assert.equal(theirs.length, log.length);
        const at = log.findIndex((_, i) => ours[i] !== theirs[i]);
        const before = log
          .slice(Math.max(0, at - 12), at)
          .map((what, i) => `${what}: ${theirs[Math.max(0, at - 12) + i]}`);
        assert.equal(at, -1, `${[...before, log[at]].join('\n')}: ${ours[at]}, QEMU ${theirs[at]}`);
        assert.ok(new Set(ours).size > 12, 'something happened');
      });
    }
  }
});

describe("Debian's kernel with APLIC and IMSIC, two harts", requires('apt'), () => {
  const harts = 2;
  const file = join(folder, 'aia.kage');

  test('has its interrupts by messages', async () => {
    const disk = join(folder, 'disk.raw');
    writeFileSync(disk, '');
    truncateSync(disk, 4 << 20);
    await using guest = await aplicGuest('aplic-imsic', { cpus: harts, disk });
    await useAplicGuest(guest, 'aplic-imsic', harts);
    await guest.machine.snapshot(file);
  });

  test('and in a machine made of its snapshot', async () => {
    await using guest = await Guest.restore(file, { name: 'aia-restored' });
    await useAplicGuest(guest, 'aplic-imsic', harts);
  });
});
