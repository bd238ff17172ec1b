/**
 * What a guest must show whose interrupts go through an APLIC: its kernel found the controller, disk, network, console and
 * the other harts interrupt it, and what is read from the disk is what was written.
 */
import assert from 'node:assert/strict';
import type { MachineOptions } from '../../src/host/machine/index.ts';
import { debianImage, Guest } from './guest.testing.ts';

export type WithAplic = 'aplic' | 'aplic-imsic';

/** What the kernel says of its controllers. */
const FOUND: Readonly<Record<WithAplic, readonly RegExp[]>> = {
  aplic: [/riscv-aplic d000000\.interrupt-controller: 96 interrupts directly connected to \d+ CPUs/],
  'aplic-imsic': [
    /riscv-imsic: interrupt-controller@28000000: providing IPIs using interrupt 1/,
    /per-CPU IDs 255 at base address 0x0*28000000/,
    /riscv-aplic d000000\.interrupt-controller: 96 interrupts forwarded to MSI base 0x0*28000000/,
  ],
};

/** A guest of Debian's kernel, or behind firmware, with a disk of its own. */
export async function aplicGuest(
  aia: WithAplic,
  options: Pick<MachineOptions, 'cpus' | 'bios'> & { readonly disk: string },
): Promise<Guest> {
  const { kernel, initrd, commandLine } = await debianImage();
  const { disk, ...rest } = options;
  const drives = [{ file: disk, overlay: true }];
  return await Guest.start({ kernel, initrd, append: commandLine, memoryBytes: 256 << 20, aia, drives, ...rest });
}

/** Interrupts so far, by what they are for, over all harts. */
export function countInterrupts(text: string, name: RegExp): number {
  const line = text.split('\n').find((one) => name.test(one)) ?? '';
  const counts = /:((?:\s+\d+)+)/.exec(line)?.[1] ?? '';
  return counts
    .trim()
    .split(/\s+/)
    .reduce((sum, count) => sum + Number(count), 0);
}

/** A session; ends with the guest running. */
export async function useAplicGuest(guest: Guest, aia: WithAplic, harts: number): Promise<void> {
  const { stdout: messages } = await guest.run('dmesg');
  for (const pattern of FOUND[aia]) assert.match(messages, pattern);
  // Ways to make each thing interrupt, and what shows that it worked.
  const { stdout: work, stderr } = await guest.run(`
    nproc
    dd if=/dev/urandom of=/tmp/data bs=64k count=32 2> /dev/null
    dd if=/tmp/data of=/dev/vda bs=4k oflag=direct 2> /dev/null
    dd if=/dev/vda bs=4k count=512 iflag=direct 2> /dev/null | cmp - /tmp/data && echo same
    ping -c 3 -i 0.2 10.0.2.2 | grep -o '3 packets received'
    echo said > /dev/ttyS0`);
  assert.equal(work, `${harts}\nsame\n3 packets received\n`, stderr);
  const { stdout: interrupts } = await guest.run('cat /proc/interrupts');
  const controller = aia === 'aplic' ? 'APLIC-DIRECT' : 'APLIC-MSI';
  assert.ok(interrupts.includes(controller), interrupts);
  const disk = countInterrupts(interrupts, /virtio3$/);
  assert.ok(disk >= 500, `${disk} interrupts of the disk:\n${interrupts}`);
  for (const name of [/ttyS0$/, /virtio2$/]) assert.ok(countInterrupts(interrupts, name) > 0, `${name}\n${interrupts}`);
  if (harts > 1) assert.ok(countInterrupts(interrupts, /Function call interrupts/) > 10, interrupts);
  const { devices } = (await guest.machine.stats()) as { devices: Record<string, Record<string, number>> };
  const { messages: sent = 0, lostMessages } = devices['aplic@d000000'] ?? {};
  if (aia === 'aplic-imsic') {
    assert.ok(sent >= disk, `${sent} messages`);
    assert.equal(lostMessages, 0);
  }
}
