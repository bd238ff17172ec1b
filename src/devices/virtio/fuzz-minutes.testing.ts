/**
 * The fuzzer for minutes: `node src/devices/virtio/fuzz-minutes.testing.ts [minutes] [first seed]` runs seeds after
 * another over all devices and prints the first failure with its seed (exit code 1), else what was met.
 */
import { FUZZED_DEVICES, fuzz } from './fuzz.testing.ts';

const minutes = Number(process.argv[2] ?? 2);
const first = Number(process.argv[3] ?? Date.now() % 1_000_000_000);
const end = Date.now() + minutes * 60_000;
const met: Record<string, number> = {};
let runs = 0;
let used = 0;
for (let seed = first; Date.now() < end; seed++) {
  for (const kind of FUZZED_DEVICES) {
    try {
      const outcome = await fuzz(kind, seed, 200 + (seed % 10) * 200);
      used += outcome.usedBuffers;
      for (const [what, count] of Object.entries(outcome.violations)) met[what] = (met[what] ?? 0) + count;
    } catch (error) {
      console.error(`${kind}, seed ${seed}:`, error);
      process.exit(1);
    }
    runs++;
  }
}
console.log(`${runs} runs from seed ${first}; ${used} buffers came back; violations`, met);
