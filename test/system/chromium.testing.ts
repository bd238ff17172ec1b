/** Debian's Chromium, as tests of pages want it: a browser that has never been used, and what goes wrong in its page. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { type BrowserContext, chromium, type Page } from 'playwright-core';

const FLAGS = [
  ...['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'],
  ...['--disable-background-networking', '--disable-component-update', '--disable-sync'],
];

export interface ChromiumOptions {
  /** Where its profile is made. */
  readonly folder: string;
  /** How long the page is waited for. */
  readonly limitMs: number;
  readonly width?: number;
  readonly colorScheme?: 'light' | 'dark';
  readonly ignoreHTTPSErrors?: boolean;
}

export interface ChromiumPage {
  readonly context: BrowserContext;
  readonly page: Page;
  readonly errors: string[];
}

export async function openChromium(options: ChromiumOptions): Promise<ChromiumPage> {
  const { folder, limitMs, width = 1100, ...more } = options;
  const context = await chromium.launchPersistentContext(mkdtempSync(join(folder, 'profile-')), {
    executablePath: spawnSync('sh', ['-c', 'command -v chromium'], { encoding: 'utf8' }).stdout.trim(),
    ...{ args: FLAGS, viewport: { width, height: 760 } },
    ...more,
  });
  const [page = await context.newPage()] = context.pages();
  page.setDefaultTimeout(limitMs);
  const errors: string[] = [];
  page.on('pageerror', (error) => errors.push(String(error)));
  page.on('console', (message) => {
    if (message.type() === 'error') errors.push(message.text());
  });
  return { context, page, errors };
}
