import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { requires } from '../capability.ts';
import { runQcow2Oracle } from './qcow2-oracle.testing.ts';

const folder = mkdtempSync(join(tmpdir(), 'kagemusha-storage-system-'));
after(() => rmSync(folder, { recursive: true }));

test(
  'qcow2: random operations, ours and those of QEMU by turns, with QEMU as the judge',
  requires('disks'),
  async () => {
    for (let seed = 1; seed <= 12; seed++) await runQcow2Oracle(folder, seed);
  },
);
