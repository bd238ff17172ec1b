/**
 * Renews the pictures of docs/console.md: a Debian guest with some work to do, on a daemon of its own, and a cluster; in
 * Debian's Chromium.
 *
 *   node tools/console-screenshots.ts [--out FOLDER] [--only guest|cluster]
 */
import { mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Page } from 'playwright-core';
import { freePort } from '../src/daemon/cluster/cluster.testing.ts';
import { FakeWorld } from '../src/daemon/cluster/fake-hands.testing.ts';
import { findImage, listImages, pullImage, removeImage } from '../src/host/index.ts';
import { type ConsoleBed, consoleBed } from '../test/system/console.testing.ts';
import { root } from './repository.ts';

const MOST_BYTES = 200 << 10;
/** So that charts have something to show. */
const WATCH_MS = 45_000;
const LOOK_MS = 4000;
const GIB = 2 ** 30;
/** What the cluster keeps up, and what that needs. */
const GUESTS = {
  web: { recoveryTimeMs: 30_000, priority: 5, group: 'web' },
  db: { recoveryTimeMs: 5000, dataLossMs: 0, priority: 10 },
  cache: { recoveryTimeMs: 8000, dataLossMs: 10_000, priority: 3 },
  strict: { recoveryTimeMs: 1000, priority: 1 },
};
/** Programs that come and go, and a device that is asked. */
const WORK =
  '(while :; do ls -R /usr/lib >/dev/null; head -c 2000 /dev/hwrng | wc -c; date; cat /proc/interrupts; done) >/dev/null 2>&1 </dev/null &';

const { values } = parseArgs({ options: { out: { type: 'string' }, only: { type: 'string' } } });
const out = values.out ?? join(root, 'docs/console');
mkdirSync(out, { recursive: true });
if (values.only !== 'cluster') await guestShots();
if (values.only !== 'guest') await clusterShots();

async function guestShots(): Promise<void> {
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
  const page = await enter(bed);
  await page.getByRole('link', { name: 'web' }).waitFor();
  await shot(page, 'partitions', '#/');
  await look(page, '#/p/web/overview', WATCH_MS);
  await shot(page, 'overview');
  await look(page, '#/p/web/terminal', LOOK_MS);
  await page.keyboard.type('uname -a; uptime; free -m\n');
  await page.waitForTimeout(LOOK_MS);
  await shot(page, 'terminal');
  segments[0]?.cut();
  await look(page, '#/p/web/network', LOOK_MS);
  await shot(page, 'network');
  await page.getByRole('button', { name: 'Switch to light' }).click();
  await look(page, '#/p/web/mechanisms/promotion', 2 * LOOK_MS);
  await page.getByRole('button', { name: 'off' }).click();
  await page.waitForTimeout(3 * LOOK_MS);
  await shot(page, 'promotion');
  await client.setSwitches('web', { promotion: 'auto' });
  await look(page, '#/p/web/mechanisms/shadow-tables', LOOK_MS);
  await shot(page, 'shadow-tables');
  await look(page, '#/p/web/mechanisms/interrupt-relay', LOOK_MS);
  await shot(page, 'interrupt-relay');
}

/** Three daemons with the cluster's own logic and times; their guests are names alone, which start in no time. */
async function clusterShots(): Promise<void> {
  await using bed = await consoleBed(undefined, { openHands: new FakeWorld().open });
  const { client } = bed;
  const capacity = { cores: 8, memoryBytes: 16 * GIB, diskBytes: 100 * GIB };
  const address = async (): Promise<string> => `127.0.0.1:${await freePort()}`;
  const { token } = await client.initCluster({ address: await address(), name: 'a', capacity });
  const [b, c] = [await bed.neighbour('b'), await bed.neighbour('c')];
  await b.client.joinCluster({ token, address: await address(), name: 'b', capacity });
  await c.client.joinCluster({ token, address: await address(), name: 'c', capacity });
  await client.drainHost('a');
  const { netdevs: _, ...spec } = bed.spec;
  for (const [name, failover] of Object.entries(GUESTS))
    await client.createPartition({ name, spec: { ...spec, memoryBytes: GIB, failover }, start: true });
  await client.drainHost('a', { undo: true });
  const page = await enter(bed);
  await look(page, '#/cluster', 2 * LOOK_MS);
  await shot(page, 'cluster');
  await page.getByRole('button', { name: 'Switch to light' }).click();
  await look(page, '#/cluster/heartbeats', 3 * LOOK_MS);
  await shot(page, 'heartbeats');
  await shot(page, 'methods', '#/cluster/methods/db');
  const { host } = (await client.getPartition('db')).cluster ?? {};
  await (host === 'b' ? b : c).end();
  await look(page, '#/cluster/failovers/db', 2 * LOOK_MS);
  await page.locator('li[data-step="first-beat"]').first().waitFor();
  await shot(page, 'failover');
}

async function enter(bed: ConsoleBed): Promise<Page> {
  const { page } = await bed.open({ width: 1100 });
  await page.goto(bed.door.newLink());
  return page;
}

async function look(page: Page, hash: string, forMs: number): Promise<void> {
  await page.evaluate(`location.hash = ${JSON.stringify(hash)}`);
  await page.waitForTimeout(forMs);
}

async function shot(page: Page, name: string, hash?: string): Promise<void> {
  if (hash !== undefined) await look(page, hash, LOOK_MS);
  const path = join(out, `${name}.png`);
  await page.evaluate('scrollTo(0, 0)');
  await page.screenshot({ path });
  const { size } = statSync(path);
  if (size > MOST_BYTES) throw new Error(`${path} has ${size} bytes, more than ${MOST_BYTES}`);
  process.stdout.write(`${path}: ${size} bytes\n`);
}
