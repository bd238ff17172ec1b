/**
 * PCI Express in whole machines: Debian's lspci says of host bridge and root ports what it says in QEMU 10; Debian runs
 * with its console, disk, network and entropy behind root ports, by INTx and by messages; a card goes and comes back
 * while it runs; and all of that in a machine made of a snapshot.
 *
 * Debian's kernel for riscv64 is built without pciehp (CONFIG_HOTPLUG_PCI): what that driver does to a slot, setpci does
 * here.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { bootInQemu } from '../../src/host/images/qemu.testing.ts';
import type { PciOptions } from '../../src/host/machine/index.ts';
import { requires } from '../capability.ts';
import { debianImage, Guest } from './guest.testing.ts';
import { MOUNT_PACKAGES, PackagesGuest, packagesDisk } from './guest-packages.testing.ts';

const folder = mkdtempSync(join(tmpdir(), 'kagemusha-pci-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const PACKAGES = ['pciutils'] as const;
const LIMIT_MS = 240_000;
const LSPCI = ['lspci', '-nnvvv'] as const;

/** Two root ports, one with a card. */
const TWO_PORTS: PciOptions = {
  ports: [
    { id: 'rp0', device: 1, func: 0, slot: 3 },
    { id: 'rp1', device: 2, func: 0, slot: 4 },
  ],
  functions: [{ id: 'rng1', kind: 'rng', port: 'rp0', device: 0, func: 0 }],
};
const THE_SAME_IN_QEMU = [
  'pcie-root-port,id=rp0,bus=pcie.0,chassis=1,slot=3,addr=1.0',
  'pcie-root-port,id=rp1,bus=pcie.0,chassis=2,slot=4,addr=2.0',
  'virtio-rng-pci,bus=rp0',
];

/** Slot Control and Slot Status of a root port, as setpci names them. */
const SLOT = { control: 'CAP_EXP+18.w', status: 'CAP_EXP+1a.w' } as const;

/** Of numbers that the kernel makes up by what else there is: the Linux interrupt. */
function comparable(text: string): string[] {
  return text
    .replaceAll(/IRQ \d+/g, 'IRQ n')
    .split('\n')
    .map((line) => line.trimEnd());
}

describe('Debian with two root ports and a card', requires('apt', 'qemu'), () => {
  let guest: PackagesGuest;
  before(async () => {
    guest = await PackagesGuest.start(PACKAGES, { pci: TWO_PORTS, aia: 'aplic-imsic' }, 2 * LIMIT_MS);
  });
  after(() => guest[Symbol.asyncDispose]());

  test('lspci says of host bridge, root ports and the card what it says in QEMU', async () => {
    const disk = await packagesDisk(PACKAGES);
    const { kernel, initrd, commandLine } = await debianImage();
    const qemu = await bootInQemu({
      ...{ kernel, initrd, commandLine, memory: '512M', disks: [disk], limitMs: LIMIT_MS },
      ...{ machine: 'aia=aplic-imsic', devices: THE_SAME_IN_QEMU },
    });
    let theirs: string;
    try {
      await qemu.session.run({ argv: ['sh', '-c', MOUNT_PACKAGES] });
      const { stdout } = await qemu.session.run({ argv: ['chroot', '/tmp/packages', ...LSPCI] });
      theirs = Buffer.from(stdout).toString();
    } finally {
      await qemu.kill();
    }
    const { stdout: ours } = await guest.run(LSPCI);
    assert.match(theirs, /00:01\.0 PCI bridge \[0604\]: Red Hat, Inc\. QEMU PCIe Root port \[1b36:000c\]/);
    assert.deepEqual(comparable(ours), comparable(theirs));
  });

  test('the card is asked for: the guest lets it go, and has it again', async () => {
    const { machine } = guest.guest;
    const card = async () => (await machine.pci()).ports[0]?.card;
    const inGuest = async (script: string) => (await guest.guest.run(`chroot /tmp/packages ${script}`)).stdout.trim();
    const sysfs = async (script: string) => (await guest.guest.run(`cd /sys/bus/pci; ${script}`)).stdout.trim();
    assert.equal(await sysfs('cat devices/0000:01:00.0/device'), '0x1044');

    await machine.changeSlot('rp0', 'unplug');
    assert.equal(await card(), 'leaving');
    assert.equal(Number.parseInt(await inGuest(`setpci -s 01.0 ${SLOT.status}`), 16) & 1, 1, 'the button was pressed');
    await sysfs('echo 1 > devices/0000:01:00.0/remove');
    await inGuest(`setpci -s 01.0 ${SLOT.control}=07c0`);
    assert.equal(await card(), 'out');
    assert.equal(Number.parseInt(await inGuest(`setpci -s 01.0 ${SLOT.status}`), 16) & 0x48, 8, 'it has left');
    await sysfs('echo 1 > rescan');
    assert.equal(await sysfs('ls devices | grep -c 01:00.0'), '0');

    await machine.changeSlot('rp0', 'plug');
    await inGuest(`setpci -s 01.0 ${SLOT.control}=01c0`);
    await sysfs('echo 1 > rescan');
    assert.equal(await sysfs('cat devices/0000:01:00.0/device'), '0x1044');
    assert.equal(await sysfs('basename $(readlink devices/0000:01:00.0/driver)'), 'virtio-pci');
    const before = (await machine.pci()).ports[0]?.functions[0]?.messages ?? 0;
    await sysfs(
      'echo virtio_rng.1 > /sys/class/misc/hw_random/rng_current; cat /sys/class/misc/hw_random/rng_available',
    );
    const { ports } = await machine.pci();
    assert.deepEqual([ports[0]?.card, ports[0]?.power, ports[0]?.indicators.power], ['in', 'on', 'on']);
    assert.ok((ports[0]?.functions[0]?.messages ?? 0) >= before);
  });

  test('the card is pulled out: it is gone; nothing that the guest does to it harms', async () => {
    const { machine } = guest.guest;
    // Linux's virtio driver waits for ever for the reset of a card that is not there (vp_reset): it lets go before.
    await guest.guest.run('echo 0000:01:00.0 > /sys/bus/pci/drivers/virtio-pci/unbind');
    await machine.changeSlot('rp0', 'pull');
    const { stdout } = await guest.guest.run(`
      chroot /tmp/packages setpci -s 01:00.0 COMMAND
      echo 1 > /sys/bus/pci/devices/0000:01:00.0/remove
      ls /sys/bus/pci/devices | grep -c 01:00.0; echo alive`);
    assert.equal(stdout, 'ffff\n0\nalive\n');
    await assert.rejects(machine.changeSlot('rp0', 'pull'), /there is no card in rp0/);
    await assert.rejects(machine.changeSlot('rp1', 'plug'), /there is no card for rp1/);
    await assert.rejects(machine.changeSlot('rp9', 'plug'), /there is no root port rp9/);
  });
});

/** A session that uses everything; ends with the guest running. */
async function use(guest: Guest, mode: 'msix' | 'intx'): Promise<void> {
  const { stdout, stderr } = await guest.run(`
    dd if=/dev/urandom of=/tmp/data bs=64k count=16 2> /dev/null
    dd if=/tmp/data of=/dev/vda bs=4k oflag=direct 2> /dev/null
    dd if=/dev/vda bs=4k count=256 iflag=direct 2> /dev/null | cmp - /tmp/data && echo same
    ping -c 3 -i 0.2 10.0.2.2 | grep -o '3 packets received'
    dd if=/dev/hwrng bs=64 count=4 2> /dev/null | wc -c`);
  assert.equal(stdout, 'same\n3 packets received\n256\n', stderr);
  const { ports } = await guest.machine.pci();
  const cards = ports.flatMap(({ functions }) => functions);
  assert.deepEqual(
    cards.map(({ kind }) => kind),
    ['virtio-serial-pci', 'virtio-rng-pci', 'virtio-net-pci', 'virtio-blk-pci'],
  );
  for (const { id, interrupts, messages, asserts } of cards) {
    assert.equal(interrupts, mode, id);
    const [used, unused] = mode === 'msix' ? [messages, asserts] : [asserts, messages];
    assert.ok(used > 0 && unused === 0, `${id}: ${messages} messages, ${asserts} asserts`);
  }
}

describe('Debian with all its devices behind root ports', requires('apt'), () => {
  for (const [aia, mode] of [
    ['none', 'intx'],
    ['aplic-imsic', 'msix'],
  ] as const) {
    const file = join(folder, `${aia}.kage`);

    test(`${aia}: they interrupt by ${mode}`, async () => {
      const { kernel, initrd, commandLine } = await debianImage();
      const disk = await packagesDisk(PACKAGES);
      const drives = [{ file: disk, overlay: true }];
      const machine = { kernel, initrd, append: commandLine, memoryBytes: 256 << 20, aia, drives, cpus: 2 };
      await using guest = await Guest.start({ ...machine, pci: true }, LIMIT_MS);
      await use(guest, mode);
      await guest.machine.snapshot(file);
    });

    test(`${aia}: also in a machine made of its snapshot`, async () => {
      await using guest = await Guest.restore(file, { name: `pci-${aia}` }, LIMIT_MS);
      await use(guest, mode);
    });
  }
});

describe('several guests with PCI Express in a machine', requires('apt'), () => {
  test('a twin, and another partition, have functions of their own', async () => {
    const { kernel, initrd, commandLine } = await debianImage();
    const options = {
      kernel,
      initrd,
      append: commandLine,
      memoryBytes: 256 << 20,
      aia: 'aplic-imsic',
      pci: true,
    } as const;
    const works = async (one: Guest): Promise<void> => {
      const { stdout } = await one.run(`
        ping -c 2 -i 0.2 10.0.2.2 | grep -o '2 packets received'
        dd if=/dev/hwrng bs=64 count=1 2> /dev/null | wc -c`);
      assert.equal(stdout, '2 packets received\n64\n');
    };
    await using guest = await Guest.start({ ...options, room: { partitions: 3 } }, LIMIT_MS);
    await works(guest);
    await using twin = Guest.of(await guest.machine.fork({ name: 'pci-twin' }), LIMIT_MS);
    await using other = Guest.of(await guest.machine.createPartition({ ...options, name: 'pci-other' }), LIMIT_MS);
    for (const one of [twin, other, guest]) await works(one);
    await twin.machine.changeSlot('rp1', 'unplug');
    const cards = async ({ machine }: Guest) => (await machine.pci()).ports.map(({ card }) => card).join(' ');
    assert.equal(await cards(twin), 'in leaving in in');
    for (const one of [guest, other]) assert.equal(await cards(one), 'in in in in');
  });
});
