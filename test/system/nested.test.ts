/**
 * A guest that is a hypervisor: Debian's kernel with its kvm.ko boots a second Linux by our small VMM (guest/vmm), works
 * in its shell, and both switch off. The reference machine runs the same sessions first: what fails there is the
 * VMM's or the session's fault, not our machine's.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { requires } from '../capability.ts';
import { nestedInitrd } from '../nested-guest.ts';
import { debianImage } from './guest.testing.ts';
import { firstLevelWords, type NestedOptions, nestedSession, QemuFirstLevel } from './nested.testing.ts';

interface Case {
  readonly name: string;
  readonly session: NestedOptions;
  /** The first level's machine. */
  readonly machine: { readonly cpus?: number; readonly aia?: 'aplic-imsic'; readonly guestFiles?: number };
  /** The interrupt controller that the second level's serial port hangs on. */
  readonly controller: RegExp;
}

const cases: readonly Case[] = [
  { name: 'one processor, a PLIC', session: {}, machine: {}, controller: /SiFive PLIC\s.*ttyS0/ },
  {
    name: 'two processors on one, emulated IMSICs',
    session: { cpus: 2, aia: 'emulated' },
    machine: { aia: 'aplic-imsic' },
    controller: /APLIC-MSI.*ttyS0/,
  },
  {
    name: 'two processors on two, guest interrupt files',
    session: { cpus: 2, aia: 'hardware' },
    machine: { cpus: 2, aia: 'aplic-imsic', guestFiles: 3 },
    controller: /APLIC-MSI.*ttyS0/,
  },
];

const hasPlace = { concurrency: 1, ...requires('apt', 'cross', 'qemu') };

describe('Linux by KVM in the reference machine', hasPlace, () => {
  for (const { name, session, machine, controller } of cases) {
    test(name, async () => {
      const image = await debianImage();
      await using level = new QemuFirstLevel({
        ...{ kernel: image.kernel, initrd: await nestedInitrd(image), ...machine },
        append: `${image.commandLine} kage.net=off kage.agent=off ${firstLevelWords}`,
      });
      const report = await nestedSession(level, session);
      assert.equal(await level.ended, 0);
      assert.equal(report.cpus, session.cpus ?? 1);
      assert.match(report.interrupts, controller);
      // It ran on KVM's harts: without H in them, and with its console by exits to the VMM.
      assert.match(report.isa, /: rv64imafdc_/);
      assert.ok(report.exits.mmio > 1000, `${report.exits.mmio} exits`);
    });
  }
});
