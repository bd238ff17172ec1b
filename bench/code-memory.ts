/**
 * What little code memory costs: `node bench/code-memory.ts [--small 8] [--runs N] [--permille N] [--only WORDS]
 * [--document]`. Runs the bench's guests in our machine with 64 MiB of code memory and with few, in turn, and compares
 * times, how often all code was dropped, and peak memory. `--document` writes the table of docs/PERFORMANCE.md.
 */
import { parseArgs } from 'node:util';
import { must } from '../src/base/assert.ts';
import { pullDebianImage } from '../src/host/images/index.ts';
import { allWorkloads, selectWorkloads } from './classes.ts';
import { benchGuest, benchInitrd, bootGuest, type Guest, provideTools } from './guest.ts';
import { measure, type Session } from './measure.ts';
import { describeSetting, settingLines, writeDocument } from './report.ts';
import { evaluate } from './results.ts';

const MiB = 2 ** 20;
const DEFAULT_MIB = 64;
const { values } = parseArgs({
  options: {
    small: { type: 'string', default: '8' },
    runs: { type: 'string', default: '1' },
    permille: { type: 'string', default: '200' },
    only: { type: 'string' },
    document: { type: 'boolean', default: false },
  },
});
const small = Number(values.small);
const permille = Number(values.permille);

await provideTools(say);
const image = await pullDebianImage();
const all = await allWorkloads();
const wanted = values.only === undefined ? all : selectWorkloads(all, values.only);
const ofPrograms = wanted.filter((workload) => workload !== 'boot/shell');
const guests: Guest[] = [];
if (ofPrograms.length > 0)
  guests.push(benchGuest({ kernel: image.kernel, initrd: await benchInitrd() }, { all, wanted: ofPrograms, permille }));
if (wanted.includes('boot/shell')) guests.push(bootGuest(image));

// `evaluate` compares two sides: what QEMU is there is our machine with its usual code memory here.
const runs: { qemu: Session[]; ours: Session[] } = { qemu: [], ours: [] };
for (let run = 0; run < Number(values.runs); run++) {
  runs.qemu.push(await session(DEFAULT_MIB));
  runs.ours.push(await session(small));
}
const results = evaluate(runs);
const head = ['class', `time with ${DEFAULT_MIB} MiB over time with ${small} MiB`, 'by CPU time', 'least'];
const rows = results.classes.map((one) => [
  one.name,
  ...[one.uncappedMean, one.cpuMean, one.least].map((figure) => figure.toFixed(2)),
]);
const mib = (bytes: number): string => (bytes / MiB).toFixed(0);
const lines = [
  `peak resident memory: ${mib(results.ourPeakBytes)} MiB with ${small} MiB of code memory, ${mib(results.qemuPeakBytes)} with ${DEFAULT_MIB}`,
  `all code was dropped ${drops(runs.ours)} times with ${small} MiB, ${drops(runs.qemu)} times with ${DEFAULT_MIB}`,
];
for (const cells of [head, ...rows]) process.stdout.write(`${cells.map((cell) => cell.padEnd(16)).join('')}\n`);
process.stdout.write(`${lines.join('\n')}\n`);
const [kernel] = image.manifest.packages;
if (values.document) {
  const [setting = '', , , host = ''] = settingLines(
    describeSetting({
      ...{ command: 'node bench/code-memory.ts --document', runs: Number(values.runs), permille },
      kernel: `Debian ${image.manifest.release}, ${kernel?.name} ${kernel?.version}`,
    }),
  );
  const table = [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
  const list = [setting, host, ...lines].map((line) => `- ${line}`).join('\n');
  await writeDocument(`${list}\n\n${table}`, 'code-memory');
}

async function session(codeMib: number): Promise<Session> {
  say(`code memory of ${codeMib} MiB`);
  const sessions: Session[] = [];
  for (const guest of guests) {
    sessions.push(
      await measure('ours', guest, {
        limitMs: 1_800_000,
        codeMemoryBytes: codeMib * MiB,
        onSample: ({ workload, seconds }) => say(`  ${workload} ${seconds.toFixed(3)} s`),
      }),
    );
  }
  return {
    samples: sessions.flatMap((one) => one.samples),
    peakBytes: Math.max(...sessions.map((one) => one.peakBytes)),
    stats: sessions.flatMap((one) => one.stats),
  };
}

/** In the first run. */
function drops(sessions: readonly Session[]): number {
  const { stats } = must(sessions[0]);
  return stats.reduce((sum, { memory }) => sum + (memory as { readonly codeFlushes: number }).codeFlushes, 0);
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}
