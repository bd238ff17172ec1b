/**
 * Renews the pictures of docs/console.md: a Debian guest with some work to do, on a daemon of its own, in Debian's Chromium.
 *
 *   node tools/console-screenshots.ts [--out FOLDER]
 */
import { mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { findImage, listImages, pullImage, removeImage } from '../src/host/index.ts';
import { consoleBed } from '../test/system/console.testing.ts';
import { root } from './repository.ts';

const MOST_BYTES = 200 << 10;
/** So that charts have something to show. */
const WATCH_MS = 45_000;
const LOOK_MS = 4000;
/** Programs that come and go, and a device that is asked. */
const WORK =
  '(while :; do ls -R /usr/lib >/dev/null; head -c 2000 /dev/hwrng | wc -c; date; cat /proc/interrupts; done) >/dev/null 2>&1 </dev/null &';

const { values } = parseArgs({ options: { out: { type: 'string' } } });
const out = values.out ?? join(root, 'docs/console');
mkdirSync(out, { recursive: true });
await using bed = await consoleBed({ pull: pullImage, find: findImage, list: listImages, remove: removeImage });
const { client, spec, segments } = bed;
const { netdevs = [] } = spec;
await client.createPartition({
  ...{ name: 'web', restartPolicy: { name: 'on-failure', most: 3 }, start: true },
  spec: { image: 'debian', memoryBytes: 256 << 20, pci: true, protection: true, netdevs },
});
await client.createPartition({ name: 'batch', spec: { image: 'debian', memoryBytes: 512 << 20, cpus: 2 } });
await client.waitReady('web');
await client.exec('web', { argv: ['/bin/sh', '-c', WORK] });
const { page } = await bed.open({ width: 1100 });
await page.goto(bed.door.newLink());
await page.getByRole('link', { name: 'web' }).waitFor();
await shot('partitions', '#/');
await look('#/p/web/overview', WATCH_MS);
await shot('overview');
await look('#/p/web/terminal', LOOK_MS);
await page.keyboard.type('uname -a; uptime; free -m\n');
await page.waitForTimeout(LOOK_MS);
await shot('terminal');
segments[0]?.cut();
await look('#/p/web/network', LOOK_MS);
await shot('network');
await page.getByRole('button', { name: 'Switch to light' }).click();
await look('#/p/web/mechanisms/promotion', 2 * LOOK_MS);
await page.getByRole('button', { name: 'off' }).click();
await page.waitForTimeout(3 * LOOK_MS);
await shot('promotion');
await client.setSwitches('web', { promotion: 'auto' });
await look('#/p/web/mechanisms/shadow-tables', LOOK_MS);
await shot('shadow-tables');
await look('#/p/web/mechanisms/interrupt-relay', LOOK_MS);
await shot('interrupt-relay');

async function look(hash: string, forMs: number): Promise<void> {
  await page.evaluate(`location.hash = ${JSON.stringify(hash)}`);
  await page.waitForTimeout(forMs);
}

async function shot(name: string, hash?: string): Promise<void> {
  if (hash !== undefined) await look(hash, LOOK_MS);
  const path = join(out, `${name}.png`);
  await page.evaluate('scrollTo(0, 0)');
  await page.screenshot({ path });
  const { size } = statSync(path);
  if (size > MOST_BYTES) throw new Error(`${path} has ${size} bytes, more than ${MOST_BYTES}`);
  process.stdout.write(`${path}: ${size} bytes\n`);
}
