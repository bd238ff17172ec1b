/**
 * Debian's kernel with an APLIC that delivers directly and with one that sends messages, one hart and four, over the
 * built-in SBI and behind OpenSBI: each boots, and its disk, network, console and harts interrupt it.
 *
 *   node test/long/aia.ts        about two minutes
 */
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fetchFirmware } from '../../src/host/debian/index.ts';
import { aplicGuest, useAplicGuest } from '../system/aia-session.testing.ts';

const folder = mkdtempSync(join(tmpdir(), 'kagemusha-aia-'));
const disk = join(folder, 'disk.raw');
writeFileSync(disk, '');
truncateSync(disk, 4 << 20);
const { openSbiDynamic } = await fetchFirmware();
try {
  for (const aia of ['aplic', 'aplic-imsic'] as const) {
    for (const cpus of [1, 4]) {
      for (const bios of [undefined, openSbiDynamic]) {
        const started = performance.now();
        await using guest = await aplicGuest(aia, { cpus, disk, ...(bios === undefined ? {} : { bios }) });
        await useAplicGuest(guest, aia, cpus);
        const seconds = ((performance.now() - started) / 1000).toFixed(1);
        const over = bios === undefined ? 'built-in SBI' : 'OpenSBI';
        process.stdout.write(`${aia}, harts ${cpus}, ${over}: booted and used in ${seconds} s\n`);
      }
    }
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
