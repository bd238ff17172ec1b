/** The loops of bench/overlay.ts, short and by the instruction clock: who executed what. How fast is the bench's. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { must } from '../src/base/assert.ts';
import { emulating, loops, runLoops } from './overlay-loops.ts';

const TURNS = 1000;
const ROUNDS = 2;
const EXECUTIONS = TURNS * ROUNDS * loops.length;

interface Stats {
  readonly vcpus: readonly {
    readonly instructions: number;
    readonly translated: number;
    readonly exits: Record<string, number>;
  }[];
  readonly translation: { readonly regions: number };
  readonly overlay: Record<'frames' | 'executions' | 'emulations' | 'trapExits', number> & {
    readonly substitutes: Record<'emulate' | 'policy', number>;
    readonly traps: Record<string, number>;
  };
}

for (const translate of [true, false]) {
  describe(`loops of emulated and trapped instructions, ${translate ? 'translated' : 'interpreted'}`, async () => {
    const run = async (options: { cpu?: string; traps?: readonly string[]; overlay?: boolean }) => {
      const clock = { clock: 'instructions', seed: 1, translate, hotThreshold: 20 } as const;
      const { loops: each, stats } = await runLoops(TURNS, ROUNDS, { ...clock, ...options });
      return { results: each.map(({ result }) => result), stats: stats as unknown as Stats };
    };
    const own = await run({ cpu: 'rv64' });

    test('each comes to something of its own', () => {
      assert.equal(new Set(own.results).size, loops.length, String(own.results));
    });

    test('emulated: once by trap with overlays, each time without, and the same comes of it', async () => {
      const [on, off] = [await run({ cpu: emulating }), await run({ cpu: emulating, overlay: false })];
      for (const { results, stats } of [on, off]) {
        assert.deepEqual(results, own.results);
        assert.deepEqual(stats.vcpus[0]?.instructions, own.stats.vcpus[0]?.instructions);
        assert.equal(stats.translation.regions > 0, translate);
      }
      const { overlay, vcpus } = on.stats;
      assert.deepEqual([overlay.substitutes.emulate, vcpus[0]?.exits['illegal']], [loops.length, loops.length]);
      assert.deepEqual([overlay.executions, overlay.emulations], [EXECUTIONS, 0]);
      // Substitutes are translated like instructions that the hart has.
      if (translate) assert.ok(must(vcpus[0]).translated > must(own.stats.vcpus[0]).translated * 0.8);
      assert.deepEqual([off.stats.overlay.frames, off.stats.overlay.executions], [0, 0]);
      assert.deepEqual([off.stats.overlay.emulations, off.stats.vcpus[0]?.exits['illegal']], [EXECUTIONS, EXECUTIONS]);
    });

    test('trapped: the same, and every execution is counted', async () => {
      const traps = loops.map(({ instruction }) => instruction);
      const [on, off] = [await run({ cpu: 'rv64', traps }), await run({ cpu: 'rv64', traps, overlay: false })];
      for (const { results, stats } of [on, off]) {
        assert.deepEqual(results, own.results);
        assert.deepEqual(stats.vcpus[0]?.instructions, own.stats.vcpus[0]?.instructions);
        assert.deepEqual(stats.overlay.traps, Object.fromEntries(traps.map((name) => [name, TURNS * ROUNDS])));
      }
      assert.deepEqual([on.stats.overlay.substitutes.policy, on.stats.overlay.trapExits], [loops.length, loops.length]);
      assert.deepEqual([off.stats.overlay.substitutes.policy, off.stats.overlay.trapExits], [0, EXECUTIONS]);
    });
  });
}
