/**
 * The interrupt relay in whole machines: Debian with its disk, its network and its console among sixteen functions that share
 * one INTx line. With the relay the hypervisor polls no function; with plain wires each interrupt polls all of them, and
 * the guest does the same work.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { PciOptions } from '../../src/host/machine/index.ts';
import type { FabricStats } from '../../src/machine/index.ts';
import { requires } from '../capability.ts';
import { debianImage, Guest } from './guest.testing.ts';
import { packagesDisk } from './guest-packages.testing.ts';

const LIMIT_MS = 120_000;

/** Two devices of eight functions on the root bus, all with INTA: device numbers 1 and 5 are the same line. */
const SIXTEEN: PciOptions = {
  ports: [],
  functions: ['disk0', 'net0', 'console0', 'rng0', ...Array.from({ length: 12 }, (_, i) => `more${i}`)].map(
    (id, i) => ({
      ...{ id, device: i < 8 ? 1 : 5, func: i % 8 },
      ...(id.startsWith('more') ? { kind: 'rng' as const } : {}),
    }),
  ),
};

const LOAD = `
  dd if=/dev/urandom of=/tmp/data bs=64k count=32 2> /dev/null
  ping -c 20 -i 0.01 10.0.2.2 > /tmp/pings &
  for i in $(seq 0 13); do
    echo virtio_rng.$i > /sys/class/misc/hw_random/rng_current 2> /dev/null && dd if=/dev/hwrng bs=16 count=8 of=/dev/null 2> /dev/null
  done &
  dd if=/tmp/data of=/dev/vda bs=4k oflag=direct 2> /dev/null
  dd if=/dev/vda bs=4k count=512 iflag=direct 2> /dev/null | cmp - /tmp/data && echo same
  wait
  grep -o '20 packets received' /tmp/pings`;

describe('sixteen functions of a Debian guest on one line', requires('apt'), () => {
  for (const relay of [true, false]) {
    test(
      relay ? 'with the relay no function is polled' : 'with plain wires each interrupt polls them all',
      async (t) => {
        const { kernel, initrd, commandLine } = await debianImage();
        const drives = [{ file: await packagesDisk(['pciutils']), overlay: true }];
        const machine = { kernel, initrd, append: commandLine, memoryBytes: 256 << 20, drives, cpus: 2 };
        await using guest = await Guest.start({ ...machine, pci: SIXTEEN, relay }, LIMIT_MS);
        const { stdout, stderr } = await guest.run(LOAD);
        assert.equal(stdout, 'same\n20 packets received\n', stderr);
        const { interrupts } = (await guest.machine.stats()) as { interrupts: FabricStats };
        t.diagnostic(JSON.stringify(interrupts));
        const functions = Object.entries(interrupts.requesters);
        assert.equal(functions.length, 16);
        assert.ok(interrupts.interrupts > 1000, `${interrupts.interrupts} interrupts`);
        assert.equal(interrupts.unknown, 0);
        for (const [name, { interrupts: sent, merged, delivered, dropped, polls }] of functions) {
          assert.deepEqual([delivered + merged, dropped], [sent, 0], `${name}: each was delivered`);
          if (relay) assert.equal(polls, 0, name);
          else assert.ok(polls >= interrupts.interrupts / 16, `${name}: ${polls} polls`);
        }
        if (relay) assert.ok(interrupts.polls === 0 && interrupts.pollsAvoided > 16 * 1000);
        else assert.ok(interrupts.polls > 16 * 1000 && interrupts.pollsAvoided === 0);
      },
    );
  }
});
