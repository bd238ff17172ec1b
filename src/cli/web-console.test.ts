import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { fakePlatform, kage, ownRuntimeFolder, TestTerminal, until } from './terminal.testing.ts';

ownRuntimeFolder({ isEmptyBehindEach: false });

const consolePages = mkdtempSync(join(tmpdir(), 'kagemusha-pages-'));
after(() => rmSync(consolePages, { recursive: true, force: true }));
writeFileSync(join(consolePages, 'index.html'), '<!doctype html><title>The console</title>');

/** A verb that goes on until it is told to end. */
async function going(words: readonly string[], more: object, then: (terminal: TestTerminal) => Promise<void>) {
  const terminal = new TestTerminal();
  const ended = kage([...words], terminal, { ...fakePlatform().platform, ...more });
  try {
    await then(terminal);
  } finally {
    terminal.ending.abort(0);
    assert.equal((await ended).code, 0);
  }
}

const isListening = async (terminal: TestTerminal): Promise<void> =>
  await until(() => terminal.complained.includes('listening'));

describe('kage console', () => {
  test('prints a link, and another when it was used; its page is the daemon’s', async () => {
    await going(['serve'], { consolePages }, async (daemon) => {
      await isListening(daemon);
      await going(['console', '--port', '0'], {}, async (door) => {
        const links = (): string[] => door.printed.trim().split('\n').filter(Boolean);
        await until(() => links().length === 1);
        const { origin, hash } = new URL(links()[0] ?? '');
        assert.match(await (await fetch(origin)).text(), /The console/);
        assert.equal((await fetch(`${origin}/v1/partitions`)).status, 401);
        const body = JSON.stringify({ link: hash.replace('#link=', '') });
        const { token } = (await (await fetch(`${origin}/console/session`, { method: 'POST', body })).json()) as {
          token: string;
        };
        const asked = await fetch(`${origin}/v1/partitions`, { headers: { authorization: `Bearer ${token}` } });
        assert.deepEqual(await asked.json(), { partitions: [] });
        await until(() => links().length === 2);
        assert.notEqual(links()[1], links()[0]);
      });
    });
  });

  test('without a daemon says what to start', async () => {
    const { code, stderr } = await kage(['console', '--port', '0']);
    assert.equal(code, 125);
    assert.match(stderr, /no daemon listens.*kage serve/i);
  });

  test('of a daemon without pages says what is missing', async () => {
    await going(['serve'], {}, async (daemon) => {
      await isListening(daemon);
      const { code, stderr } = await kage(['console', '--port', '0']);
      assert.equal(code, 125);
      assert.match(stderr, /no pages for browsers.*npm run build/);
    });
  });
});
