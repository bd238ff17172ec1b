/**
 * What promotion is worth: `node bench/promotion.ts [--runs 5] [--check]`. Guests of promotion-guest.ts run with
 * `--promotion off`, `auto` and `always` in turn. Prints the times of the phases (median, least, most) and bytes of promotion code;
 * with --check ends with 1 where one of these does not hold:
 *
 *   many sites, few of them often    auto takes at most 1.05 times as long as always, and a quarter of its bytes
 *   time, timer, CSRs, virtio        off takes at least 1.5 times as long as auto
 *   a phase without any, afterwards  at least 90 % of the bytes are given back
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { must } from '../src/base/assert.ts';
import { createMachine } from '../src/host/machine/index.ts';
import type { BoardStats, PromotionMode } from '../src/machine/index.ts';
import { type Phases, promotionGuest } from './promotion-guest.ts';

interface Measured {
  /** Milliseconds of each phase, by its letter; of all. */
  readonly ms: ReadonlyMap<string, number>;
  readonly totalMs: number;
  readonly promotion: BoardStats['promotion'];
}

const { values } = parseArgs({ options: { runs: { type: 'string', default: '5' }, check: { type: 'boolean' } } });
const folder = mkdtempSync(join(tmpdir(), 'kagemusha-promotion-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

async function run(name: string, phases: Phases, promotion: PromotionMode): Promise<Measured> {
  const kernel = join(folder, name);
  writeFileSync(kernel, promotionGuest(phases));
  const machine = await createMachine({
    ...{ kernel, promotion, memoryBytes: 16 << 20, network: false, agent: false, startPaused: true },
  });
  const ms = new Map<string, number>();
  const began = new Map<string, number>();
  machine.onConsole((bytes) => {
    const now = performance.now();
    for (const letter of Buffer.from(bytes).toString('latin1')) {
      const start = began.get(letter.toLowerCase());
      if (start === undefined) began.set(letter, now);
      else ms.set(letter.toLowerCase(), now - start);
    }
  });
  const start = performance.now();
  await machine.resume();
  await machine.exited;
  const totalMs = performance.now() - start;
  return { ms, totalMs, promotion: ((await machine.stats()) as unknown as BoardStats).promotion };
}

const median = (all: readonly number[]): number => must(all.toSorted((a, b) => a - b)[Math.floor(all.length / 2)]);

function row(what: string, all: readonly number[], promotion: BoardStats['promotion']): void {
  const [least, most] = [Math.min(...all), Math.max(...all)];
  const times = `${median(all).toFixed(0).padStart(6)} ms (${least.toFixed(0)} to ${most.toFixed(0)})`;
  const { bytes, peakBytes, promoted, demoted } = promotion;
  console.log(
    `${what.padEnd(34)} ${times.padEnd(26)} ${promoted} promoted, ${demoted} demoted, ${bytes} bytes at the end, ${peakBytes} at most`,
  );
}

/** Each mode in turn, so often. */
async function compare(
  name: string,
  phases: Phases,
  modes: readonly PromotionMode[],
): Promise<ReadonlyMap<PromotionMode, readonly Measured[]>> {
  const all = new Map<PromotionMode, Measured[]>(modes.map((mode) => [mode, []]));
  for (let i = 0; i < Number(values.runs); i++)
    for (const mode of modes) must(all.get(mode)).push(await run(name, phases, mode));
  return all;
}

let failed = 0;
function bound(what: string, holds: boolean): void {
  console.log(`${holds ? 'holds' : 'BROKEN'}: ${what}`);
  if (!holds) failed = 1;
}
const phaseOf = (all: readonly Measured[], letter: string): readonly number[] =>
  all.map(({ ms }) => must(ms.get(letter), `phase ${letter} was announced and ended`));
const last = (all: readonly Measured[]): BoardStats['promotion'] => must(all.at(-1)).promotion;

console.log('2000 sites twice each, then four of them 5,000,000 times');
const sites = await compare('sites', { sites: 2000, often: 5_000_000 }, ['off', 'auto', 'always']);
for (const [mode, all] of sites) {
  row(`  ${mode}, the frequent ones`, phaseOf(all, 'f'), last(all));
  row(
    `  ${mode}, all`,
    all.map(({ totalMs }) => totalMs),
    last(all),
  );
}
const [auto, always] = [must(sites.get('auto')), must(sites.get('always'))];
const slower = median(phaseOf(auto, 'f')) / median(phaseOf(always, 'f'));
bound(`auto takes ${slower.toFixed(3)} of the time of always (at most 1.05)`, slower <= 1.05);
const share = last(auto).peakBytes / last(always).peakBytes;
bound(`auto has ${(share * 100).toFixed(1)} % of the bytes of always (at most 25)`, share <= 0.25);

console.log('\ntime, timer calls, CSRs and registers of a virtio device, 500,000 times');
const heavy = await compare('heavy', { heavy: 500_000, cool: 60_000_000 }, ['off', 'auto', 'always']);
for (const [mode, all] of heavy) row(`  ${mode}`, phaseOf(all, 'h'), last(all));
const faster = median(phaseOf(must(heavy.get('off')), 'h')) / median(phaseOf(must(heavy.get('auto')), 'h'));
bound(`auto is ${faster.toFixed(2)} times as fast as off (at least 1.5)`, faster >= 1.5);
const { bytes, peakBytes } = last(must(heavy.get('auto')));
const returned = 1 - bytes / peakBytes;
bound(`cooled down, ${(returned * 100).toFixed(1)} % of the bytes are given back (at least 90)`, returned >= 0.9);

process.exitCode = values.check ? failed : 0;
