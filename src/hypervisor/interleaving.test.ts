/**
 * Random programs on several harts, in turns, against the reference machine in the same turns; some seconds long.
 * test/long/interleaving.ts runs as long as one likes. The seeds are fixed, so that a failure is everybody's.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { translating } from '../translator/translation.testing.ts';
import { Interleaving } from './interleaving.testing.ts';

for (const { name, options, translation, programs } of [
  { name: 'two, interpreted', options: { harts: 2 }, translation: undefined, programs: 16 },
  { name: 'two, translated each by its own thread', options: { harts: 2 }, translation: {}, programs: 24 },
  { name: 'three, translated by one thread', options: { harts: 3, threads: 'one' }, translation: {}, programs: 16 },
  {
    name: 'four, translated twice',
    options: { harts: 4 },
    translation: { secondThreshold: 4, batch: 3 },
    programs: 32,
  },
  { name: 'two, translated in memory64', options: { width: 64 }, translation: {}, programs: 12 },
  {
    name: 'two with guests, translated',
    options: { cpu: 'rv64,h=on,smstateen=on' },
    translation: { promotion: 'always' },
    programs: 24,
  },
  { name: 'two, with little code memory', options: { codeBytes: 600_000 }, translation: {}, programs: 16 },
] as const) {
  test(`harts on random programs end each turn as on the reference machine: ${name}`, () => {
    const interleaving = new Interleaving({
      ...options,
      ...(translation ? { translate: translating(translation) } : {}),
    });
    for (let seed = 1; seed <= programs; seed++) assert.equal(interleaving.run(seed), undefined);
    const { progress } = interleaving;
    const text = JSON.stringify(progress);
    assert.ok(progress.steps > programs * 4000, text);
    assert.ok(progress.givenUp < programs / 2, text);
    for (const happened of [progress.unaware, progress.shootdowns, progress.fences]) assert.ok(happened > 10, text);
    if (translation) assert.ok(interleaving.regionsMade > programs, `${interleaving.regionsMade} regions`);
  });
}
