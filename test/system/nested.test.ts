/**
 * A guest that is a hypervisor: Debian's kernel with its kvm.ko boots a second Linux by our small VMM (guest/vmm), works
 * in its shell, and both switch off. The reference machine runs the same sessions first: what fails there is the
 * VMM's or the session's fault, not our machine's.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { requires } from '../capability.ts';
import { nestedInitrd } from '../nested-guest.ts';
import { isThorough } from '../thorough.ts';
import { debianImage, Guest } from './guest.testing.ts';
import {
  firstLevelWords,
  type NestedOptions,
  type NestedReport,
  nestedSession,
  QemuFirstLevel,
} from './nested.testing.ts';

interface Case {
  readonly name: string;
  readonly session: NestedOptions;
  /** The first level's machine. */
  readonly machine: { readonly cpus?: number; readonly aia?: 'aplic-imsic'; readonly guestFiles?: number };
  /** The interrupt controller that the second level's serial port hangs on. */
  readonly controller: RegExp;
}

const onPlic = /SiFive PLIC\s.*ttyS0/;
const onAplic = /APLIC-MSI.*ttyS0/;
const emulated: Case = {
  name: 'two processors on one, emulated IMSICs',
  session: { cpus: 2, aia: 'emulated' },
  machine: { aia: 'aplic-imsic' },
  controller: onAplic,
};
const hardware: Case = {
  name: 'two processors on two, guest interrupt files',
  session: { cpus: 2, aia: 'hardware' },
  machine: { cpus: 2, aia: 'aplic-imsic', guestFiles: 3 },
  controller: onAplic,
};
/** A PLIC's session is one that nested-life.test.ts has, too. */
const further: readonly Case[] = [
  { name: 'one processor, a PLIC', session: {}, machine: {}, controller: onPlic },
  { name: 'two processors on one, a PLIC', session: { cpus: 2 }, machine: {}, controller: onPlic },
  { name: 'two processors on two, a PLIC', session: { cpus: 2 }, machine: { cpus: 2 }, controller: onPlic },
];

const words = `kage.net=off kage.agent=off ${firstLevelWords}`;

function check(report: NestedReport, { session, controller }: Case): void {
  assert.equal(report.cpus, session.cpus ?? 1);
  assert.match(report.interrupts, controller);
  // It ran on KVM's harts: without H in them, and with its console by exits to the VMM.
  assert.match(report.isa, /: rv64imafdc_/);
  assert.ok(report.exits.mmio > 1000, `${report.exits.mmio} exits`);
}

describe('Linux by KVM in the reference machine', requires('apt', 'cross', 'qemu'), () => {
  for (const one of isThorough ? [hardware, emulated, ...further.slice(0, 1)] : [hardware]) {
    test(one.name, async () => {
      const image = await debianImage();
      const boot = { kernel: image.kernel, initrd: await nestedInitrd(image), append: `${image.commandLine} ${words}` };
      await using level = new QemuFirstLevel({ ...boot, ...one.machine });
      const report = await nestedSession(level, one.session);
      assert.equal(await level.ended, 0);
      check(report, one);
    });
  }
});

describe('Linux by KVM in our machine', requires('apt', 'cross'), () => {
  for (const one of isThorough ? [hardware, emulated, ...further] : [hardware, emulated]) {
    test(one.name, async () => {
      const image = await debianImage();
      const boot = { kernel: image.kernel, initrd: await nestedInitrd(image), append: `${image.commandLine} ${words}` };
      const { cpus = 1, aia = 'none', guestFiles = 0 } = one.machine;
      await using guest = await Guest.start({ ...boot, nested: true, cpus, aia, aiaGuests: guestFiles, agent: false });
      const report = await nestedSession(guest, one.session);
      assert.deepEqual(await guest.machine.exited, { reason: 'poweroff', code: 0 });
      check(report, one);
    });
  }
});

/** The VMM's words, and what it has to say of them; before the module kvm is loaded, and after. */
const wrong: readonly [words: string, message: RegExp][] = [
  ['--kernel /nested/kernel', /vmm: there is no \/dev\/kvm: load the module kvm/],
  ['--kernel /nested/none', /vmm: \/nested\/none cannot be read: No such file or directory/],
  ['--kernel /nested/initrd', /vmm: \/nested\/initrd is no Linux Image for riscv/],
  ['--kernel /nested/kernel --memory 20M', /vmm: \/nested\/kernel needs \d+ MiB of memory, more than there is/],
  ['--kernel /nested/kernel --memory 12X', /vmm: 12X is no size/],
  ['--kernel /nested/kernel --cpus 9', /vmm: 9 is no number of processors: use 1 to 8/],
  ['--kernel /nested/kernel --aia emulated', /vmm: KVM has no AIA here: it needs harts with Ssaia/],
  ['--initrd /nested/initrd', /vmm: no kernel is given/],
];

describe("the VMM's errors", requires('apt', 'cross', 'qemu'), () => {
  test('are a line each and exit code 125', async () => {
    const image = await debianImage();
    const boot = { kernel: image.kernel, initrd: await nestedInitrd(image), append: `${image.commandLine} ${words}` };
    await using level = new QemuFirstLevel(boot);
    for (const [i, [words, message]] of wrong.entries()) {
      await level.shows(/root@l1:~# /);
      level.type(`${i === 1 ? 'modprobe kvm; ' : ''}/nested/vmm ${words}; echo "vmm: ended $?"\n`);
      assert.match(await level.shows(/vmm: ended 125\r?\n/), message);
    }
    level.type('poweroff -f\n');
    assert.equal(await level.ended, 0);
  });
});
