/**
 * Firmware from Debian's packages in machine mode: OpenSBI, which starts U-Boot in supervisor mode with the dynamic
 * information's next address, and U-Boot alone. Both come to U-Boot's prompt, take commands, and power off.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { fetchFirmware } from '../../src/host/debian/index.ts';
import type { MachineOptions } from '../../src/host/machine/index.ts';
import { requires } from '../capability.ts';
import { Guest } from './guest.testing.ts';

const prompt = /\n=> $/;

/** Stops U-Boot's countdown, and uses its prompt; `before` must be on the console by then. */
async function useUBoot(options: MachineOptions, before: readonly RegExp[], memory: RegExp): Promise<void> {
  await using guest = await Guest.start({ memoryBytes: 256 << 20, ...options });
  for (const pattern of before) await guest.shows(pattern);
  await guest.shows(/U-Boot 20\d\d\.\d\d/);
  await guest.shows(/Hit any key to stop autoboot/);
  guest.type(' ');
  await guest.shows(prompt);
  guest.type('version\n');
  assert.match(await guest.shows(prompt), /^version\r\nU-Boot 20\d\d\.\d\d\S*deb\d+u?\d* /);
  guest.type('bdinfo\n');
  assert.match(await guest.shows(prompt), memory);
  guest.type('setenv answer 6; setexpr answer $answer * 7; echo it is 0x$answer\n');
  await guest.shows(/it is 0x2a\b/);
  await guest.shows(prompt);
  guest.type('poweroff\n');
  assert.deepEqual(await guest.machine.exited, { reason: 'poweroff', code: 0 });
}

describe("Debian's firmware comes to its prompt in machine mode", requires('apt'), () => {
  const memory = /start\s+= 0x0*80000000[\s\S]*size\s+= 0x0*10000000/;

  test('OpenSBI, and U-Boot behind it in supervisor mode', async () => {
    const { openSbiDynamic, uBootSupervisor } = await fetchFirmware();
    await useUBoot(
      { bios: openSbiDynamic, kernel: uBootSupervisor },
      [/OpenSBI v1\.\d/, /Platform HART Count\s*: 1\r?\n/, /Domain0 Next Mode\s*: S-mode/],
      memory,
    );
  });

  test('OpenSBI counts four harts', async () => {
    const { openSbiDynamic, uBootSupervisor } = await fetchFirmware();
    await useUBoot(
      { bios: openSbiDynamic, kernel: uBootSupervisor, cpus: 4 },
      [/Platform HART Count\s*: 4\r?\n/],
      memory,
    );
  });

  test('U-Boot alone', async () => {
    const { uBoot } = await fetchFirmware();
    await useUBoot({ bios: uBoot }, [], memory);
  });
});
