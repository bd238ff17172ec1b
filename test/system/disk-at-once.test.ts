/**
 * A raw disk of a Debian guest on two harts and two processors, whose small transfers are done by the vCPUs' threads while the
 * I/O thread flushes: both write and read their halves past the guest's cache, and the file on the host is what they wrote. Then
 * the disk's right to memory is taken away, and the very next transfer is refused.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import type { BoardStats } from '../../src/machine/index.ts';
import { requires } from '../capability.ts';
import { debianImage, Guest } from './guest.testing.ts';

type Devices = Pick<BoardStats, 'devices'>;

const MIB = 1 << 20;
const PART_BYTES = 2 * MIB;
const RAM = 0x8000_0000;
const MEMORY_BYTES = 256 * MIB;

const LOAD = `
  for part in 0 1; do
    (
      dd if=/dev/urandom of=/tmp/part$part bs=64k count=32
      dd if=/tmp/part$part of=/dev/vda bs=4k seek=$((part * 512)) oflag=direct conv=notrunc
      for i in $(seq 0 31); do
        dd if=/tmp/part$part of=/dev/vda bs=64k count=1 skip=$i seek=$((part * 32 + i)) oflag=direct conv=notrunc,fsync
      done
      dd if=/dev/vda bs=4k skip=$((part * 512)) count=512 iflag=direct | cmp - /tmp/part$part && echo same >> /tmp/answers
    ) 2> /dev/null &
  done
  wait
  cat /tmp/answers
  sha256sum /tmp/part0 /tmp/part1 | cut -c1-64`;

const LOST = `
  dd if=/dev/vda of=/dev/null bs=4k count=1 iflag=direct < /dev/null > /dev/null 2>&1 &
  sleep 1
  kill -0 $! && echo waits`;

describe('a raw disk of a Debian guest', requires('apt'), () => {
  const folder = mkdtempSync(join(tmpdir(), 'kagemusha-disk-'));
  after(() => rmSync(folder, { recursive: true }));

  test('small transfers are done at once, on several harts, and obey the disk’s rights', async (t) => {
    const file = join(folder, 'disk');
    writeFileSync(file, '');
    truncateSync(file, 2 * PART_BYTES);
    const { kernel, initrd, commandLine } = await debianImage();
    const machine = { kernel, initrd, append: commandLine, memoryBytes: MEMORY_BYTES, cpus: 2, processors: 2 };
    await using guest = await Guest.start({ ...machine, network: false, drives: [{ file }] });
    const { stdout, stderr } = await guest.run(LOAD);
    const [first, second, ...sums] = stdout.trim().split('\n');
    assert.deepEqual([first, second], ['same', 'same'], stderr);
    const bytes = readFileSync(file);
    const parts = [0, 1].map((i) => bytes.subarray(i * PART_BYTES, (i + 1) * PART_BYTES));
    assert.deepEqual(
      sums,
      parts.map((part) => createHash('sha256').update(part).digest('hex')),
    );
    const { devices } = (await guest.machine.stats()) as Devices;
    const disk = devices['disk0'] ?? {};
    t.diagnostic(JSON.stringify(disk));
    const { atOnce = 0, writes = 0, flushes = 0, errors = 0 } = disk;
    assert.ok(atOnce > 1000 && writes >= 1024 && flushes >= 64, JSON.stringify(disk));
    assert.equal(errors, 0);

    const memory = { start: RAM, end: RAM + MEMORY_BYTES };
    await guest.machine.protect({ action: 'deny', domains: ['device:disk0'], rights: 'rw', ...memory });
    // It does not come back: the device needs a reset.
    const lost = await guest.run(LOST);
    assert.equal(lost.stdout, 'waits\n', lost.stderr);
    const { domains } = await guest.machine.protection();
    const refused = domains.find(({ name }) => name === 'device:disk0')?.violations;
    assert.ok(refused !== undefined && refused.load + refused.store > 0, JSON.stringify(refused));
    const then = ((await guest.machine.stats()) as Devices).devices['disk0'] ?? {};
    assert.deepEqual([then['atOnce'], then['reads']], [atOnce, disk['reads']]);
  });
});
