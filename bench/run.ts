/**
 * `npm run bench`: the guest programs of guest/bench in QEMU and in our machine, in turn, and what comes of it. Times
 * are the guest's own; the way to the shell is timed from outside, from the start of the process.
 */
import { writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { HostError, OperatorError } from '../src/base/errors.ts';
import { type GuestImage, pullDebianImage } from '../src/host/images/index.ts';
import type { PromotionMode } from '../src/machine/index.ts';
import { allWorkloads, selectWorkloads } from './classes.ts';
import { benchGuest, benchInitrd, bootGuest, type Guest, type IoTransport, provideTools } from './guest.ts';
import { ioBounds, ioMarkdown, ioReport } from './io-report.ts';
import { ioWorkloads, measureIo } from './io-run.ts';
import { measure, type Session, type Side } from './measure.ts';
import {
  type Bound,
  type NestedSide,
  nestedBounds,
  nestedMarkdown,
  nestedReport,
  type SideFigures,
} from './nested-report.ts';
import { measureNested } from './nested-run.ts';
import { type RelayFigures, relayBounds, relayHead, relayMarkdown, relayReport } from './relay-report.ts';
import { measureRelay } from './relay-run.ts';
import { measureStorms } from './relay-storm.ts';
import { describeSetting, markdownReport, type Setting, settingLines, textReport, writeDocument } from './report.ts';
import { brokenBounds, evaluate, type Results, type Runs } from './results.ts';

/** Words of `--only` for parts of their own. */
const NESTED = 'nested';
const RELAY = 'relay';
/** Of each machine of the relay's part, for each run: a round takes seconds. */
const RELAY_ROUNDS = 5;

const usage = `usage: npm run bench -- [OPTIONS]
  --quick             one run at a fifth of the full size
  --runs N            runs of each machine (default 3); the median counts
  --only WORD,...     classes or workloads only; nested: what a second level costs, and nothing
                      else; io (network, block): network and disk, and nothing else;
                      relay: what the interrupt relay is worth to a guest, and nothing else
  --code-memory N     bytes that our machine may use for decoded and translated code (8M, 64M)
  --hot-threshold N   our machine translates what was reached this often
  --promotion MODE    of our machine: off, auto or always
  --no-translate      our machine interprets everything
  --json FILE         results as JSON
  --check             end with 1 where a bound of the present stage is broken
  --document          write the tables of docs/PERFORMANCE.md and docs/mechanisms/interrupt-relay.md
`;

async function main(args: string[]): Promise<number> {
  const options = parse(args);
  if (options === undefined) {
    process.stdout.write(usage);
    return 0;
  }
  await provideTools(say);
  const image = await pullDebianImage({ progress: ({ step }) => say(step) });
  const [kernel] = image.manifest.packages;
  // Where the figures go is nobody else's affair.
  const shown = args.filter((arg, i) => arg !== '--json' && args[i - 1] !== '--json' && !arg.startsWith('--json='));
  const setting = () =>
    describeSetting({
      command: ['npm run bench', ...(shown.length > 0 ? ['--', ...shown] : [])].join(' '),
      runs: options.runs,
      permille: options.permille,
      kernel: `Debian ${image.manifest.release}, ${kernel?.name} ${kernel?.version}`,
    });
  const ioWanted = await ioWorkloads(options.only ?? 'io');
  const isFlat =
    options.only === undefined || (options.only !== NESTED && options.only !== RELAY && ioWanted === undefined);
  const flat = isFlat ? await benchFlat(image, options, setting) : undefined;
  const nested = options.only === undefined || options.only === NESTED ? await benchNested(image, options) : undefined;
  const head = () => settingLines(setting()).map((line) => `- ${line}\n`);
  if (nested !== undefined && options.document)
    await writeDocument(`${head().join('')}\n${nestedMarkdown(nested)}`, 'nested');
  const io = ioWanted === undefined ? undefined : await benchIo(image, ioWanted, options);
  if (io !== undefined && options.document) await writeDocument(`${head().join('')}${ioMarkdown(io)}`, 'io');
  const relay = options.only === undefined || options.only === RELAY ? await benchRelay(image, options) : undefined;
  if (relay !== undefined && options.document)
    await writeDocument(`${relayHead(setting(), RELAY_ROUNDS * options.runs)}\n\n${relayMarkdown(relay)}`, 'relay');
  if (options.json !== undefined) {
    const whole = {
      setting: setting(),
      ...flat,
      nested: nested && Object.fromEntries(nested),
      io: io && Object.fromEntries(io),
      relay,
    };
    await writeFile(options.json, `${JSON.stringify(whole, undefined, 2)}\n`);
  }
  const broken = options.check
    ? [
        ...(flat === undefined ? [] : brokenBounds(flat.results)),
        ...broke(nested === undefined ? [] : nestedBounds(nested)),
        ...broke(io === undefined ? [] : ioBounds(io)),
        ...broke(relay === undefined ? [] : relayBounds(relay)),
      ]
    : [];
  for (const sentence of broken) process.stderr.write(`bench: ${sentence}\n`);
  return broken.length > 0 ? 1 : 0;
}

/** What a second level costs, where our machine is as it is by default. */
async function benchNested(image: GuestImage, { runs, permille }: Options): Promise<Map<NestedSide, SideFigures>> {
  const size = { runs, permille, exitsPermille: permille };
  const figures = await measureNested(image, { ...size, only: 'integer,float', sides: ['qemu', 'ours', 'walks'], say });
  process.stdout.write(`${nestedReport(figures)}\n`);
  tellBounds(nestedBounds(figures));
  return figures;
}

/** Network and disk, with either transport. */
async function benchIo(
  image: GuestImage,
  wanted: readonly string[],
  { runs, permille }: Options,
): Promise<Map<IoTransport, Results>> {
  const results = await measureIo(image, { runs, permille, wanted, transports: ['mmio', 'pci'], say });
  process.stdout.write(`${ioReport(results)}\n`);
  tellBounds(ioBounds(results));
  return results;
}

/** Interrupts of PCI Express functions, with relays and with plain wires. */
async function benchRelay(image: GuestImage, { runs, permille }: Options): Promise<RelayFigures> {
  const size = { rounds: RELAY_ROUNDS * runs, permille, say };
  const figures = { rounds: await measureRelay(image, size), storms: await measureStorms(image, size) };
  process.stdout.write(`${relayReport(figures)}\n`);
  tellBounds(relayBounds(figures));
  return figures;
}

function tellBounds(bounds: readonly Bound[]): void {
  for (const { holds, sentence } of bounds) process.stdout.write(`${holds ? 'holds' : 'BROKEN'}: ${sentence}\n`);
}

function broke(bounds: readonly Bound[]): string[] {
  return bounds.flatMap(({ holds, sentence }) => (holds ? [] : [sentence]));
}

/** One level: our machine against QEMU. */
async function benchFlat(
  image: GuestImage,
  options: Options,
  setting: () => Setting,
): Promise<{ results: Results; runs: Runs }> {
  const all = await allWorkloads();
  const wanted = options.only === undefined ? all : selectWorkloads(all, options.only);
  const ofPrograms = wanted.filter((workload) => workload !== 'boot/shell');
  const guests: Guest[] = [];
  if (ofPrograms.length > 0) {
    const files = { kernel: image.kernel, initrd: await benchInitrd() };
    guests.push(benchGuest(files, { all, wanted: ofPrograms, permille: options.permille }));
  }
  if (wanted.includes('boot/shell')) guests.push(bootGuest(image));

  const runs: Record<Side, Session[]> = { qemu: [], ours: [] };
  for (let run = 1; run <= options.runs; run += 1) {
    for (const side of ['qemu', 'ours'] as const) {
      say(`run ${run} of ${options.runs}: ${side === 'qemu' ? 'QEMU' : 'our machine'}`);
      runs[side].push(await measureAll(side, guests, options));
    }
  }
  const results = evaluate(runs satisfies Runs);
  process.stdout.write(textReport(results, setting()));
  if (options.document) await writeDocument(markdownReport(results, setting()));
  return { results, runs };
}

interface Options {
  readonly runs: number;
  readonly permille: number;
  readonly only: string | undefined;
  readonly json: string | undefined;
  readonly check: boolean;
  readonly document: boolean;
  readonly codeMemoryBytes: number | undefined;
  readonly translate: boolean;
  readonly promotion: PromotionMode | undefined;
  readonly hotThreshold: number | undefined;
}

function parse(args: string[]): Options | undefined {
  const flag = { type: 'boolean', default: false } as const;
  const text = { type: 'string' } as const;
  const given = {
    quick: flag,
    check: flag,
    document: flag,
    'no-translate': flag,
    help: { ...flag, short: 'h' },
  } as const;
  const words = {
    runs: text,
    only: text,
    json: text,
    'code-memory': text,
    promotion: text,
    'hot-threshold': text,
  } as const;
  let values: ReturnType<typeof parseArgs<{ options: typeof given & typeof words }>>['values'];
  try {
    ({ values } = parseArgs({ args, options: { ...given, ...words } }));
  } catch (error) {
    throw new OperatorError('bench-usage', error instanceof Error ? error.message : String(error), usage, {
      cause: error,
    });
  }
  if (values.help) return undefined;
  const runs = Number(values.runs ?? (values.quick ? 1 : 3));
  if (!Number.isInteger(runs) || runs < 1 || runs > 99) {
    throw new OperatorError('bench-usage', `--runs ${values.runs} is no number of runs`, 'use 1 to 99');
  }
  return {
    ...{ runs, permille: values.quick ? 200 : 1000, only: values.only, json: values.json },
    ...{ check: values.check, document: values.document },
    translate: values['no-translate'] !== true,
    hotThreshold: values['hot-threshold'] === undefined ? undefined : Number(values['hot-threshold']),
    promotion: values.promotion === undefined ? undefined : modeOf(values.promotion),
    codeMemoryBytes: values['code-memory'] === undefined ? undefined : bytesOf(values['code-memory']),
  };
}

function modeOf(text: string): PromotionMode {
  if (text === 'off' || text === 'auto' || text === 'always') return text;
  throw new OperatorError('bench-usage', `there is no promotion ${text}`, 'choose off, auto or always');
}

function bytesOf(text: string): number {
  const [, digits, unit = ''] = /^(\d{1,9})([KMG]?)$/.exec(text) ?? [];
  if (digits === undefined) {
    throw new OperatorError('bench-usage', `${text} is no size`, 'use a number with K, M or G behind it, as in 64M');
  }
  return Number(digits) * 1024 ** ' KMG'.indexOf(unit || ' ');
}

/** All guests, one after the other, as one session. */
async function measureAll(side: Side, guests: readonly Guest[], options: Options): Promise<Session> {
  const sessions: Session[] = [];
  for (const guest of guests) {
    sessions.push(
      await measure(side, guest, {
        limitMs: 1_800_000,
        translate: options.translate,
        ...(options.promotion === undefined ? {} : { promotion: options.promotion }),
        ...(options.hotThreshold === undefined ? {} : { hotThreshold: options.hotThreshold }),
        ...(options.codeMemoryBytes === undefined ? {} : { codeMemoryBytes: options.codeMemoryBytes }),
        onSample: ({ workload, seconds }) => say(`  ${workload} ${seconds.toFixed(3)} s`),
      }),
    );
  }
  return {
    samples: sessions.flatMap((session) => session.samples),
    peakBytes: Math.max(...sessions.map((session) => session.peakBytes)),
    stats: sessions.flatMap((session) => session.stats),
  };
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof OperatorError || error instanceof HostError)) throw error;
  process.stderr.write(`bench: ${error.message}\n${error instanceof OperatorError ? `${error.fix}\n` : ''}`);
  process.exitCode = 125;
}
