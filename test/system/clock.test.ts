/**
 * The instruction clock under Debian's stock kernel: it finds no root file system, panics, and reboots. Its own time
 * stamps, its random numbers and its interrupts follow from the instructions and the seed, so two runs say the same,
 * character by character, and end at the same instruction, whether hot code is translated or not, and whether sensitive
 * instructions are promoted or leave the engine each time.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ExitStatus } from '../../src/host/machine/index.ts';
import type { PromotionMode } from '../../src/machine/index.ts';
import { requires } from '../capability.ts';
import { isThorough } from '../thorough.ts';
import { debianImage, Guest } from './guest.testing.ts';

interface Run {
  readonly status: ExitStatus;
  readonly console: string;
  readonly instructions: readonly number[];
}

interface Stats {
  readonly vcpus: readonly { readonly instructions: number }[];
  readonly promotion: { readonly accesses: number; readonly calls: number; readonly executions: number };
}

async function boot(
  seed: number,
  cpus: number,
  options: { translate?: boolean; promotion?: PromotionMode; codeMemoryBytes?: number } = {},
  look: (stats: Stats) => void = () => {},
): Promise<Run> {
  const { kernel } = await debianImage();
  await using guest = await Guest.start({
    ...{
      kernel,
      append: 'console=ttyS0 panic=-1 cryptomgr.notests',
      network: false,
      clock: 'instructions',
      seed,
      cpus,
    },
    memoryBytes: 256 << 20,
    translate: true,
    ...options,
  });
  const status = await guest.machine.exited;
  const stats = (await guest.machine.stats()) as unknown as Stats;
  look(stats);
  return { status, console: guest.console, instructions: stats.vcpus.map((vcpu) => vcpu.instructions) };
}

describe("Debian's kernel by the instruction clock", requires('apt'), () => {
  test('the same seed gives the same run, another seed another', async () => {
    const first = await boot(7, 2);
    assert.deepEqual(first.status, { reason: 'reboot', code: 0 });
    assert.match(first.console, /\[ {4}\d\.\d{6}\] smp: Brought up 1 node, 2 CPUs/);
    assert.match(first.console, /Kernel panic - not syncing: VFS: Unable to mount root fs/);
    // The same seed, again and again. Translated or interpreted: nothing that the guest can see tells.
    assert.deepEqual(await boot(7, 2, { translate: false }), first);
    // Nor does it when nothing is promoted and code memory is full, which it is again and again.
    assert.deepEqual(await boot(7, 2, { promotion: 'off', codeMemoryBytes: 4 << 20 }), first);
    // With every sensitive instruction promoted at once.
    const promoted = await boot(7, 2, { promotion: 'always' }, ({ promotion }) => {
      const { accesses, calls, executions } = promotion;
      for (const count of [accesses, calls, executions]) assert.ok(count > 100, JSON.stringify(promotion));
    });
    assert.deepEqual(promoted, first);
    if (isThorough)
      for (const one of [{}, { promotion: 'off' }, { codeMemoryBytes: 4 << 20 }] as const)
        assert.deepEqual(await boot(7, 2, one), first);
    assert.notDeepEqual((await boot(8, 2)).instructions, first.instructions);
  });
});
