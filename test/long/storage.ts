/**
 * The oracles of qcow2 for as long as one likes:
 *
 *   node test/long/storage.ts [--minutes 5] [--seed N]
 *
 * Random operations by turns with QEMU's tools (npm run toolbox -- disks), and power cuts at any write, with and without
 * errors of the medium, of which every hundredth image is looked at by qemu-img. The first failure is printed with its
 * seed, and ends the run with status 1: `--seed THAT --minutes 0` shows it again.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { runPowerCuts } from '../../src/host/storage/qcow2/power-cut.testing.ts';
import { assertClean, runQcow2Oracle } from '../system/qcow2-oracle.testing.ts';

const SAMPLE = 100;

const { values } = parseArgs({
  options: { minutes: { type: 'string', default: '5' }, seed: { type: 'string', default: '1' } },
});
const end = Date.now() + Number(values.minutes) * 60_000;
const folder = mkdtempSync(join(tmpdir(), 'kagemusha-storage-long-'));
const path = join(folder, 'cut.qcow2');
let seed = Number(values.seed);
let media = 0;
let looked = 0;
let taken = 0;
try {
  do {
    const sample = (medium: Uint8Array): void => {
      if (taken++ % SAMPLE !== 0) return;
      looked++;
      writeFileSync(path, medium);
      assertClean(path, `power cut, seed ${seed}, medium ${taken}`);
    };
    const clusterBytes = [512, 1024, 4096][seed % 3] ?? 512;
    media += await runPowerCuts({ seed, clusterBytes, withErrors: seed % 2 === 0, rounds: 10, sample });
    await runQcow2Oracle(folder, seed, 6);
    seed++;
  } while (Date.now() < end);
} catch (error) {
  process.stdout.write(`seed ${seed}: ${error instanceof Error ? error.stack : String(error)}\n`);
  process.exitCode = 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.stdout.write(
  `seeds ${values.seed} to ${seed - 1}: ${media} media after power cuts, ${looked} of them by qemu-img\n`,
);
