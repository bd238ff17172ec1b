/** Clients that say anything (fuzz.testing.ts): eighty thousand messages of chosen seeds. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { furnish, fuzz } from './fuzz.testing.ts';
import { MESSAGE } from './message.ts';
import { Fixture } from './shares.testing.ts';

/** What is always refused, and what a random client seldom gets to. */
const NEVER = new Set<number>([MESSAGE.lerror, MESSAGE.mknod, MESSAGE.xattrwalk, MESSAGE.xattrcreate, MESSAGE.auth]);

for (const atOnce of ['while-fast', 'never'] as const)
  test(`whatever a client says is answered, and harms nobody (${atOnce})`, { timeout: 120_000 }, async (t) => {
    const done = new Set<number>();
    for (let seed = 1; seed <= 20; seed++) {
      const fixture = new Fixture(t);
      furnish(fixture);
      for (const type of (await fuzz(fixture, seed, atOnce === 'never' ? 1000 : 3000, atOnce)).done) done.add(type);
    }
    for (const [name, type] of Object.entries(MESSAGE))
      assert.ok(done.has(type) !== NEVER.has(type), `${name}: ${done.has(type) ? 'done' : 'never done'}`);
  });
