import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { after, test } from 'node:test';
import type { DriveOptions } from '../machine/machine-api.ts';
import { WarmCheckpoints } from './warm.ts';

const folder = mkdtempSync(join(tmpdir(), 'kagemusha-warm-'));
after(() => rmSync(folder, { recursive: true, force: true }));

/** Snapshots that are files with the name of their base; the clock is turned by hand. */
function warm(
  name: string,
  { keep, fails, drives = [] }: { keep?: number; fails?: () => boolean; drives?: DriveOptions[] },
) {
  let next: (() => void) | undefined;
  const own = join(folder, name);
  const made = new WarmCheckpoints(
    {
      ...{ name, drives },
      snapshot: async (file, { base }) => {
        if (fails?.()) throw new Error('the disk is full');
        writeFileSync(file, base === undefined ? '' : basename(base));
        return { id: '', file, sizeBytes: 10, pages: 1, pausedMs: 2 };
      },
      after: (_ms, act) => {
        next = act;
        return () => {
          next = undefined;
        };
      },
    },
    { folder: own, everyMs: 1000, ...(keep === undefined ? {} : { keep }) },
  );
  const tick = async (): Promise<void> => {
    next?.();
    for (let i = 0; i < 4; i++) await new Promise((resolve) => setImmediate(resolve));
  };
  return {
    made,
    tick,
    files: () => readdirSync(own).sort(),
    latest: () => readlinkSync(join(own, 'latest')),
    isOver: () => next === undefined,
  };
}

const named = (...numbers: readonly number[]): string[] => [
  'latest',
  ...numbers.map((number) => `a-${String(number).padStart(6, '0')}.kage`),
];

test('increments of the last whole one; what is not needed goes, what is needed stays', async () => {
  const { made, tick, files, latest } = warm('a', { keep: 2 });
  const sorted = (list: readonly string[]): string[] => [...list].sort();
  await made.begin();
  assert.deepEqual(files(), sorted(named(1)));
  for (let number = 2; number <= 9; number++) {
    await tick();
    assert.equal(latest(), `a-00000${number}.kage`);
    assert.deepEqual(files(), sorted(named(...new Set([1, number - 1, number]))));
  }
  await tick();
  assert.deepEqual(files(), sorted(named(1, 9, 10)), 'the tenth is whole; the ninth needs the first');
  await tick();
  assert.deepEqual(files(), sorted(named(10, 11)));
  assert.equal(made.report().taken, 11);
});

test('one that fails leaves the latest as it is, and the next is whole', async () => {
  let fails = false;
  const { made, tick, latest } = warm('b', { fails: () => fails });
  await made.begin();
  fails = true;
  await tick();
  assert.equal(latest(), 'b-000001.kage');
  assert.deepEqual([made.report().failed, made.report().why], [1, 'the disk is full']);
  fails = false;
  await tick();
  assert.equal(latest(), 'b-000003.kage');
  assert.equal(made.report().why, undefined);
});

test('the first must succeed; an end is an end; a disk that goes on is refused', async () => {
  const failing = warm('c', { fails: () => true });
  await assert.rejects(failing.made.begin(), /full/);
  assert.ok(failing.isOver());
  const ending = warm('d', {});
  await ending.made.begin();
  ending.made.end();
  assert.ok(ending.isOver());
  assert.throws(() => warm('e', { drives: [{ file: '/srv/disk' }] }), { code: 'warm-disk' });
  warm('f', {
    drives: [
      { file: '/srv/disk', overlay: true },
      { file: '/srv/cd', readOnly: true },
    ],
  });
});
