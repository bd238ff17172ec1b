/**
 * The web console in a real browser, over a guest of a few instructions: people open a terminal, cut a path, throw a switch,
 * lose a host of a cluster (whose guests are names alone), and see what comes of it; with keys alone, in dark and light, on a phone's width; and nobody gets in without a link.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Page } from 'playwright-core';
import { freePort } from '../../src/daemon/cluster/cluster.testing.ts';
import { FakeWorld } from '../../src/daemon/cluster/fake-hands.testing.ts';
import { requires } from '../capability.ts';
import { accessibilityProblems, type ConsoleBed, consoleBed } from './console.testing.ts';

const SECTIONS = ['overview', 'terminal', 'command', 'logs', 'network', 'mechanisms', 'events', 'spec'];
const MECHANISMS = [
  ...['protection-tables', 'nested-virtualization', 'promotion', 'interrupt-relay', 'code-overlay'],
  ...['shadow-tables', 'failover-heartbeats', 'failover-methods', 'network-paths'],
];
const PAGES = [
  ...['#/', '#/new', '#/events'],
  ...SECTIONS.map((section) => `#/p/web/${section}`),
  ...MECHANISMS.map((id) => `#/p/web/mechanisms/${id}`),
  ...['#/cluster', '#/cluster/heartbeats', '#/cluster/methods/worker', '#/cluster/failovers'],
  '#/p/worker/mechanisms/failover-methods',
];

describe('the console in Chromium', requires('chromium'), () => {
  let bed: ConsoleBed;
  let page: Page;
  let errors: string[];
  const requests: string[] = [];
  before(async () => {
    bed = await consoleBed(undefined, { openHands: new FakeWorld().open });
    await bed.client.createPartition({ name: 'web', spec: bed.spec, start: true });
    ({ page, errors } = await bed.open());
    page.on('request', (request) => requests.push(new URL(request.url()).origin));
  });
  after(async () => await bed[Symbol.asyncDispose]());

  const go = async (hash: string): Promise<void> => {
    await page.evaluate(`location.hash = ${JSON.stringify(hash)}`);
    await page.locator('main h1').waitFor();
  };

  /** Pages fill themselves with what the daemon answers. */
  const settled = async (): Promise<void> => await page.waitForTimeout(400);

  test('a link lets in once, and the tab stays in', async () => {
    const link = bed.door.newLink();
    const answer = await page.goto(link);
    const policy = answer?.headers()['content-security-policy'] ?? '';
    assert.match(policy, /default-src 'self'/);
    assert.doesNotMatch(policy, /script-src|unsafe-eval/);
    await page.getByRole('link', { name: 'web' }).waitFor();
    assert.equal(await page.getByText('running').isVisible(), true);
    assert.doesNotMatch(page.url(), /link=/);
    await page.reload();
    await page.getByRole('link', { name: 'web' }).waitFor();
    const other = await bed.open();
    await other.page.goto(link);
    await other.page.getByLabel('Token').fill('a guess');
    await other.page.getByRole('button', { name: 'Sign in' }).click();
    await other.page.getByRole('alert').filter({ hasText: 'token' }).waitFor();
    await other.page.context().close();
  });

  test('a terminal: what is typed reaches the guest, and its answer is seen', async () => {
    await go('#/p/web/terminal');
    await page.getByRole('status').filter({ hasText: 'Joined to web' }).waitFor();
    await page.keyboard.type('HAL');
    await page.locator('.xterm-rows').filter({ hasText: 'IBM' }).waitFor();
    await go('#/p/web/logs');
    await page.getByRole('log').filter({ hasText: 'IBM' }).waitFor();
  });

  test('another path is preferred, a path is cut: the mapping in the drawing follows', async () => {
    await go('#/p/web/network');
    const inForce = (uplink: string) =>
      page.locator(`.wire[data-kind="in-force"][data-to$="${uplink}"]`).waitFor({ state: 'attached' });
    await inForce('lan0');
    await page.getByRole('button', { name: /Prefer .*lan1/ }).click();
    await inForce('lan1');
    await page.getByRole('button', { name: /Prefer .*lan0/ }).click();
    await inForce('lan0');
    bed.segments[0]?.cut();
    await inForce('lan1');
    await page.locator('.node[data-name$="lan0"][data-condition="down"]').waitFor();
    await page.getByRole('img', { name: /lan0 is down/ }).waitFor();
    await page
      .getByRole('region', { name: /Path events/ })
      .getByText('carrier-lost')
      .first()
      .waitFor();
    await go('#/p/web/events');
    await page
      .getByRole('region', { name: /Events/ })
      .getByText('path', { exact: true })
      .first()
      .waitFor();
  });

  /** The latest value of a line, by its legend: `12.5 k/s`. */
  const latest = async (chart: string, series: string): Promise<number> => {
    const text = await page.locator(`[data-chart="${chart}"] [data-series="${series}"]`).textContent({ timeout: 5000 });
    const [, value = 'NaN', unit = ''] = /^([\d.]+) ?([kMG]?)/.exec(text ?? '') ?? [];
    return Number(value) * ({ k: 1e3, M: 1e6, G: 1e9 }[unit] ?? 1);
  };
  const reaches = async (chart: string, series: string, is: (value: number) => boolean): Promise<void> => {
    while (!is(await latest(chart, series).catch(() => Number.NaN))) await page.waitForTimeout(200);
  };

  test('promotion is switched off, and the charts move; the difference is measured', async () => {
    await go('#/p/web/overview');
    await reaches('promoted-work', 'accesses', (value) => value > 1000);
    await go('#/p/web/mechanisms/promotion');
    await page.getByRole('button', { name: 'auto', pressed: true }).waitFor();
    const sites = page.getByRole('region', { name: /Sites that are promoted/ });
    await sites.getByText(/^lbu/).first().waitFor();
    await page.getByRole('button', { name: 'off' }).click();
    await page.getByRole('button', { name: 'off', pressed: true }).waitFor();
    await page.getByText('No site is promoted now.').waitFor();
    await page
      .getByRole('region', { name: 'The difference, measured' })
      .getByText(/times as much|from nothing/)
      .first()
      .waitFor();
    await go('#/p/web/overview');
    await reaches('promoted-work', 'accesses', (value) => value === 0);
    await reaches('exits', 'mmio', (value) => value > 1000);
    await bed.client.setSwitches('web', { promotion: 'auto' });
    await reaches('promoted-work', 'accesses', (value) => value > 1000);
  });

  test('a switch of the start asks, and starts the guest again', async () => {
    await go('#/p/web/mechanisms/code-overlay');
    await page.getByRole('button', { name: 'on', exact: true, pressed: true }).waitFor();
    await page.getByRole('button', { name: 'off', exact: true }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Start again' }).click();
    await page.getByRole('button', { name: 'off', exact: true, pressed: true }).waitFor();
    assert.equal((await bed.client.getPartition('web')).spec?.overlay, false);
  });

  test('verbs: paused, gone on, stopped at once, started, as it happens', async () => {
    await go('#/');
    const row = page.getByRole('row').filter({ hasText: 'web' });
    const is = (state: string) => row.locator(`[data-state="${state}"]`).waitFor();
    await is('running');
    await row.getByRole('button', { name: 'Pause web' }).click();
    await is('paused');
    await row.getByRole('button', { name: 'Resume web' }).click();
    await is('running');
    await bed.client.killPartition('web');
    await is('exited');
    await row.getByRole('button', { name: 'Start web' }).click();
    await is('running');
  });

  const capacity = { cores: 4, memoryBytes: 4 * 2 ** 30, diskBytes: 2 ** 34 };
  const local = async (): Promise<string> => `127.0.0.1:${await freePort()}`;
  let token = '';

  test('a daemon in no cluster says how to begin one; when that is done the page shows it', async () => {
    await go('#/cluster');
    await page.getByText('kage cluster init').waitFor();
    ({ token } = await bed.client.initCluster({ address: await local(), name: 'a', capacity }));
    await page.getByText('1 host in · no guests · a leads').waitFor();
  });

  test('a host joins, and dies: heartbeats, methods and the failover of its guest, as they are', async () => {
    const other = await bed.neighbour();
    await other.client.joinCluster({ token, address: await local(), name: 'b', capacity });
    await page.getByText('2 hosts in · no guests · a leads').waitFor();
    await bed.client.drainHost('a');
    const failover = { recoveryTimeMs: 60_000, priority: 7 };
    await bed.client.createPartition({ name: 'worker', spec: { ...bed.spec, failover }, start: true });
    await page.getByRole('button', { name: 'Undo the drain of a' }).click();
    await page.getByRole('button', { name: 'Drain a', exact: true }).waitFor();
    const guests = page.getByRole('region', { name: 'Guests' });
    const row = guests.getByRole('row').filter({ has: page.getByRole('link', { name: 'worker', exact: true }) });
    await row.getByText('cold on a', { exact: true }).waitFor();
    await page.keyboard.press('2');
    await page.getByRole('img', { name: /a, one of 2 hosts, sends a heartbeat to 1 of them/ }).waitFor();
    await page.locator('.exchange[data-kind="measured"]').waitFor({ state: 'attached' });
    await page.keyboard.press('3');
    await page
      .getByRole('region', { name: /What each method/ })
      .getByText('in force')
      .waitFor();
    await go('#/p/worker/mechanisms/failover-methods');
    await page.getByRole('button', { name: 'auto', pressed: true }).waitFor();
    await page.getByRole('button', { name: 'fixed:warm' }).click();
    await page.getByText('warm on a: fixed', { exact: true }).waitFor();
    await go('#/p/worker/mechanisms/failover-heartbeats');
    await page.getByRole('button', { name: 'constant', pressed: true }).waitFor();
    await page.getByRole('button', { name: 'direct' }).click();
    await page.getByRole('button', { name: 'direct', pressed: true }).waitFor();
    await page.getByRole('button', { name: 'constant' }).click();
    await go('#/cluster/failovers/worker');
    await page.getByText('No failover of worker').waitFor();
    await other.end();
    await page.locator('li[data-step="first-beat"]').waitFor();
    const steps = page.locator('ol.steps li');
    const told = await steps.evaluateAll((all) => all.map((one) => one.getAttribute('data-step')));
    for (const step of ['last-sign', 'suspected', 'claimed', 'gate-raised', 'starting', 'started', 'first-beat'])
      assert.ok(told.includes(step), `${step}: ${told}`);
    assert.equal(await page.locator('svg.timeline rect[data-step]').count(), told.length);
    await page
      .getByRole('img', { name: /worker went from b to a, and was back \S+ s after the last sign of b/ })
      .waitFor();
    await page.keyboard.press('1');
    await page.getByText('1 host in, 1 not').waitFor();
    await row.getByText('there is no other host').first().waitFor();
  });

  test('with keys alone', async () => {
    await go('#/p/web/events');
    await page.keyboard.press('?');
    await page.getByRole('dialog', { name: 'Keys' }).waitFor();
    await page.keyboard.press('Escape');
    await page.getByRole('dialog', { name: 'Keys' }).waitFor({ state: 'detached' });
    await page.keyboard.press('p');
    await page.getByRole('heading', { name: 'Partitions' }).waitFor();
    await page.keyboard.press('j');
    assert.equal(await focused(page), 'web');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'web' }).waitFor();
    await page.keyboard.press('2');
    await page.getByRole('status').filter({ hasText: 'Joined' }).waitFor();
    await page.keyboard.type('?p12');
    await page.locator('.xterm-rows').filter({ hasText: '@q23' }).waitFor();
    await page.keyboard.press('Shift+Escape');
    assert.equal(await focused(page), 'Terminal');
    await page.keyboard.press('Tab');
    assert.equal(await focused(page), 'Command');
    await page.keyboard.press('Enter');
    await page.getByRole('textbox', { name: 'Command' }).waitFor();
    await go('#/');
    await page.reload();
    await page.getByRole('link', { name: 'web' }).waitFor();
    await page.keyboard.press('Tab');
    assert.equal(await focused(page), 'Skip to content');
    const outline = await page.evaluate('getComputedStyle(document.activeElement).outlineStyle');
    assert.equal(outline, 'solid');
  });

  test('dark and light follow the system, until they are switched', async () => {
    const ground = () => page.evaluate('getComputedStyle(document.body).backgroundColor');
    const dark = await ground();
    await page.emulateMedia({ colorScheme: 'light' });
    const light = await ground();
    assert.notEqual(light, dark);
    await page.getByRole('button', { name: 'Switch to dark' }).click();
    assert.equal(await ground(), dark);
    await page.reload();
    assert.equal(await ground(), dark);
    await page.keyboard.press('t');
    assert.equal(await ground(), light);
  });

  for (const scheme of ['dark', 'light'] as const) {
    test(`names, roles and contrast of every page, ${scheme}`, async () => {
      await page.evaluate(`document.documentElement.dataset.theme = '${scheme}'`);
      const problems: string[] = [];
      for (const hash of PAGES) {
        await go(hash);
        await settled();
        problems.push(...(await accessibilityProblems(page)).map((problem) => `${hash}: ${problem}`));
      }
      assert.deepEqual(problems, []);
    });
  }

  test('over TLS the daemon asks for its token', async () => {
    const { url, token } = bed.tls;
    const remote = await bed.open();
    await remote.page.goto(url);
    await remote.page.getByLabel('Token').fill(token);
    await remote.page.keyboard.press('Enter');
    await remote.page.getByRole('link', { name: 'web' }).click();
    await remote.page.getByRole('link', { name: 'Terminal' }).click();
    await remote.page.getByRole('status').filter({ hasText: 'Joined to web' }).waitFor();
    await remote.page.keyboard.type('HAL');
    await remote.page.locator('.xterm-rows').filter({ hasText: 'IBM' }).waitFor();
    await remote.page.context().close();
  });

  test('every page fits the width of a phone', async () => {
    await page.setViewportSize({ width: 360, height: 700 });
    for (const hash of PAGES) {
      await go(hash);
      await settled();
      const beyond: number = await page.evaluate('document.documentElement.scrollWidth - innerWidth');
      assert.ok(beyond <= 0, `${hash} is ${beyond} pixels too wide`);
    }
  });

  test('nothing came from elsewhere, and nothing went wrong', () => {
    assert.deepEqual([...new Set(requests)], [new URL(bed.door.newLink()).origin]);
    // What is asked of a partition between its end and its start is answered with an error; the page says so.
    assert.deepEqual(
      errors.filter((error) => !/status of (401|403|404|409)/.test(error)),
      [],
    );
  });
});

async function focused(page: Page): Promise<string> {
  return await page.evaluate("document.activeElement?.textContent ?? ''");
}
