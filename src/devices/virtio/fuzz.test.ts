import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TRANSPORTS } from './bench.testing.ts';
import { fuzz } from './fuzz.testing.ts';
import { FUZZED_DEVICES } from './fuzz-subjects.testing.ts';

/** For each transport. */
const SEEDS = 40;
const STEPS = 400;

for (const kind of FUZZED_DEVICES)
  for (const transport of TRANSPORTS) {
    test(`${kind} over ${transport}: ${SEEDS} hostile drivers neither break nor stop it, nor touch what is not theirs`, async () => {
      let used = 0;
      const met = new Set<string>();
      for (let seed = 1; seed <= SEEDS; seed++) {
        try {
          const outcome = await fuzz(kind, transport, seed, STEPS);
          used += outcome.usedBuffers;
          for (const what of Object.keys(outcome.violations)) met.add(what);
        } catch (error) {
          throw new Error(`${kind} over ${transport}, seed ${seed}`, { cause: error });
        }
      }
      // The fuzzer must get through to the queues, by honest buffers and by broken ones.
      assert.ok(used > SEEDS, `only ${used} buffers came back`);
      for (const what of ['dma', 'chain-order', 'avail-index', 'descriptor-index', 'queue-setup']) {
        assert.ok(met.has(what), `no driver met ${what}`);
      }
    });
  }
