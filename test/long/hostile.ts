/**
 * Hostile guests for as long as one likes, processors and devices in turn:
 *
 *   node test/long/hostile.ts [--minutes 5] [--seed N]
 *
 * Random bytes as code behind random page tables, with memory32 and memory64, must stay in their frames; a driver
 * that does whatever it likes to the virtio devices must neither break nor stop them, nor reach what is not theirs. The
 * first failure is printed with its seed, and ends the run with status 1: `--seed THAT --minutes 0` shows it again.
 */
import { parseArgs } from 'node:util';
import { fuzz } from '../../src/devices/virtio/fuzz.testing.ts';
import { FUZZED_DEVICES } from '../../src/devices/virtio/fuzz-subjects.testing.ts';
import { Prison } from '../../src/engine/hostile.testing.ts';
import { createDecoder, DEFAULT_EXTENSIONS } from '../../src/isa/index.ts';
import { translating } from '../../src/translator/translation.testing.ts';

const RING_STEPS = 400;

const { values } = parseArgs({
  options: { minutes: { type: 'string', default: '5' }, seed: { type: 'string', default: '1' } },
});
const end = Date.now() + Number(values.minutes) * 60_000;
const translate = translating({ followsCold: true })({ decoder: createDecoder(DEFAULT_EXTENSIONS) });
const prisons = [new Prison(32), new Prison(64), new Prison(32, translate), new Prison(64, translate)];
let seed = Number(values.seed);
let programs = 0;
let drivers = 0;
try {
  do {
    for (const prison of prisons) {
      prison.run(seed);
      programs++;
    }
    for (const kind of FUZZED_DEVICES) {
      await fuzz(kind, seed % 2 === 0 ? 'pci' : 'mmio', seed, RING_STEPS);
      drivers++;
    }
    seed++;
  } while (Date.now() < end);
} catch (error) {
  process.stdout.write(`seed ${seed}: ${error instanceof Error ? error.stack : String(error)}\n`);
  process.exitCode = 1;
}
process.stdout.write(`seeds ${values.seed} to ${seed - 1}: ${programs} programs, ${drivers} drivers\n`);
