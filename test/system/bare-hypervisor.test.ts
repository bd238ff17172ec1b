/**
 * A hypervisor of a few hundred instructions (src/machine/bare-hypervisor.testing.ts) with a guest on each of two harts that
 * run at the same time, and, as the oracle of what it finds, in QEMU.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import {
  BareHypervisor,
  checkHypervisor,
  STAGE_MODES,
  type StageMode,
} from '../../src/machine/bare-hypervisor.testing.ts';
import { START } from '../../src/machine/bare-machine.testing.ts';
import { elf } from '../../src/machine/boot/boot.testing.ts';
import { requires } from '../capability.ts';
import { programPath } from '../toolbox.ts';
import { Guest } from './guest.testing.ts';

const folder = mkdtempSync(join(tmpdir(), 'kagemusha-bare-hypervisor-'));
after(() => rmSync(folder, { recursive: true, force: true }));

function kernelOf(hypervisor: BareHypervisor, mode: StageMode): string {
  const file = join(folder, `${mode}.elf`);
  const content = Buffer.from(hypervisor.bytes).toString('latin1');
  writeFileSync(file, elf({ segments: [{ virtual: BigInt(START), content }] }));
  return file;
}

for (const mode of Object.keys(STAGE_MODES) as StageMode[])
  describe(`a hypervisor with two guests, ${mode}`, () => {
    const hypervisor = new BareHypervisor(mode);
    const kernel = kernelOf(hypervisor, mode);

    for (const combinedShadows of [true, false])
      test(`on harts at the same time, combined shadows ${combinedShadows ? 'on' : 'off'}`, async () => {
        const options = { kernel, nested: true, cpus: 2, memoryBytes: 64 << 20, network: false, combinedShadows };
        await using guest = await Guest.start(options, 60_000);
        assert.deepEqual(await guest.machine.exited, { reason: 'poweroff', code: 0 });
        checkHypervisor(hypervisor, BareHypervisor.memoryOf(guest.console));
      });

    test('in QEMU', requires('qemu'), () => {
      const args = ['-M', 'virt', '-cpu', 'rv64,h=true', '-smp', '2', '-m', '64M', '-nographic', '-kernel', kernel];
      const { stdout, status } = spawnSync(programPath('qemu-system-riscv64'), args, {
        ...{ timeout: 60_000, encoding: 'latin1', stdio: ['ignore', 'pipe', 'inherit'] },
      });
      assert.equal(status, 0, stdout);
      // QEMU sets A and D of a guest's PTE where the second stage lets the table only be read.
      checkHypervisor(hypervisor, BareHypervisor.memoryOf(stdout), { writesTables: true });
    });
  });
