/** From the rounds of relay-run.ts and relay-storm.ts to tables and bounds. */
import type { Bound } from './nested-report.ts';
import type { Setting } from './report.ts';
import { geometricMean, median } from './results.ts';

export interface RelayCase {
  /** Functions on the line. */
  readonly functions: number;
  readonly mode: 'intx' | 'msix';
}

/** One round of a machine. */
export interface RelayRound extends RelayCase {
  readonly relay: 'on' | 'off';
  /** Of the whole round, by the host's clock. */
  readonly seconds: number;
  /** Units a second of each load, by the guest's clock: requests of 4 KiB, MiB, reads of 16 bytes. */
  readonly rates: Readonly<Record<string, number>>;
  readonly interrupts: number;
  readonly polls: number;
  /** Each interrupt was delivered, or found its like waiting. */
  readonly isWhole: boolean;
  /** Least upper bounds of half, and of 99 %, so far, by function. */
  readonly latencies: Readonly<Record<string, { readonly half: number; readonly most99: number }>>;
}

/** A guest's disk, alone and beside another guest of its machine whose function interrupts without end. */
export interface StormRound {
  readonly relay: 'on' | 'off';
  /** Requests of 4 KiB a second. */
  readonly alone: number;
  readonly beside: number;
  /** Of the storm, a second: what its function asked for, and what its guest was given. */
  readonly asked: number;
  readonly given: number;
  /** How often the guest itself was held back. */
  readonly deferrals: number;
}

export interface RelayFigures {
  readonly rounds: readonly RelayRound[];
  readonly storms: readonly StormRound[];
}

/** With the relay a guest is to be no slower; a busy host moves medians by this much. */
const SPEED_FLOOR = 0.9;

const UNITS: Readonly<Record<string, string>> = { disk: '/s', net: ' MiB/s', rng: '/s' };

interface Row extends RelayCase {
  readonly relay: 'on' | 'off';
  readonly rates: Readonly<Record<string, number>>;
  readonly interruptsPerSecond: number;
  readonly pollsPerInterrupt: number;
  readonly latencies: RelayRound['latencies'];
}

/** Medians of each machine's rounds. */
function rowsOf(rounds: readonly RelayRound[]): Row[] {
  const byMachine = Map.groupBy(rounds, ({ functions, mode, relay }) => `${functions} ${mode} ${relay}`);
  return [...byMachine.values()].flatMap((list) => {
    const last = list.at(-1);
    if (last === undefined) return [];
    const names = Object.keys(last.rates);
    return {
      ...{ functions: last.functions, mode: last.mode, relay: last.relay, latencies: last.latencies },
      rates: Object.fromEntries(names.map((name) => [name, median(list.map(({ rates }) => rates[name] ?? 0))])),
      interruptsPerSecond: median(list.map(({ interrupts, seconds }) => interrupts / seconds)),
      pollsPerInterrupt: median(list.map(({ polls, interrupts }) => polls / Math.max(interrupts, 1))),
    };
  });
}

const COLUMNS = [
  'functions',
  'by',
  'relay',
  'disk',
  'net',
  'rng',
  'interrupts',
  'polls each',
  'latency us: half, 99 %',
];

function cellsOf({ functions, mode, relay, rates, ...row }: Row): string[] {
  const rate = (name: string): string => {
    const value = rates[name];
    return value === undefined ? '' : `${value.toFixed(0)}${UNITS[name] ?? ''}`;
  };
  const latencies = Object.entries(row.latencies).map(([name, { half, most99 }]) => `${name} ${half}, ${most99}`);
  return [
    ...[`${functions}`, mode, relay, ...['disk', 'net', 'rng'].map(rate)],
    ...[`${row.interruptsPerSecond.toFixed(0)}/s`, row.pollsPerInterrupt.toFixed(1), latencies.join('; ')],
  ];
}

const STORM_COLUMNS = ['relay', 'disk alone', 'beside a storm', 'part', 'storm asks', 'is given', 'deferred itself'];

function stormRows(storms: readonly StormRound[]): string[][] {
  return (['on', 'off'] as const).flatMap((relay) => {
    const list = storms.filter((round) => round.relay === relay);
    if (list.length === 0) return [];
    const middle = (name: 'alone' | 'beside' | 'asked' | 'given'): string =>
      `${median(list.map((round) => round[name])).toFixed(0)}/s`;
    const deferrals = list.reduce((sum, round) => sum + round.deferrals, 0);
    return [
      [
        ...[relay, middle('alone'), middle('beside'), stormPart(list).toFixed(2)],
        ...[middle('asked'), middle('given'), `${deferrals}`],
      ],
    ];
  });
}

/** What a storm leaves of a guest's speed. */
function stormPart(storms: readonly StormRound[]): number {
  return median(storms.map(({ alone, beside }) => beside / alone));
}

/** For a terminal. */
export function relayReport({ rounds, storms }: RelayFigures): string {
  return [textTable([COLUMNS, ...rowsOf(rounds).map(cellsOf)]), textTable([STORM_COLUMNS, ...stormRows(storms)])].join(
    '\n\n',
  );
}

function textTable(table: readonly (readonly string[])[]): string {
  const widths = (table[0] ?? []).map((_, i) => Math.max(...table.map((cells) => (cells[i] ?? '').length)));
  return table
    .map((cells) =>
      cells
        .map((cell, i) => cell.padEnd(widths[i] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** The same for a document. */
export function relayMarkdown({ rounds, storms }: RelayFigures): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  const ofRounds = [COLUMNS, COLUMNS.map(() => '---'), ...rowsOf(rounds).map(cellsOf)].map(line);
  const ofStorms = [STORM_COLUMNS, STORM_COLUMNS.map(() => '---'), ...stormRows(storms)].map(line);
  const table = [...ofRounds, '', ...ofStorms];
  const bounds = relayBounds({ rounds, storms }).map(
    ({ holds, sentence }) => `- ${holds ? '' : 'not held: '}${sentence}`,
  );
  return [...table, '', ...bounds].join('\n');
}

/** How it was measured, for a document. */
export function relayHead(
  { date, command, permille, node, kernel, processor, loadPerCore }: Setting,
  rounds: number,
): string {
  return [
    `- ${date} UTC, \`${command}\`: medians of ${rounds} rounds in turns, ${permille / 10} % of the full size, one hart, 256 MiB each`,
    `- ${node}; guests: ${kernel}`,
    `- host: ${processor}; load per core ${loadPerCore.toFixed(1)} at the end`,
  ].join('\n');
}

export function relayBounds({ rounds, storms }: RelayFigures): Bound[] {
  const broken = rounds.filter(({ isWhole }) => !isWhole).length;
  const bounds: Bound[] = [
    { holds: broken === 0, sentence: `${broken} rounds lost an interrupt, of ${rounds.length}` },
  ];
  const rows = rowsOf(rounds);
  for (const one of rows.filter(({ relay }) => relay === 'on')) {
    const wire = rows.find((row) => row.relay === 'off' && row.functions === one.functions && row.mode === one.mode);
    if (wire === undefined) continue;
    const speed = bestSpeed(rounds, one);
    const what = `${one.functions} by ${one.mode}`;
    bounds.push(
      {
        holds: one.pollsPerInterrupt === 0 && wire.pollsPerInterrupt >= one.functions,
        sentence: `${what}: an interrupt polls ${one.pollsPerInterrupt.toFixed(1)} functions, without the relay ${wire.pollsPerInterrupt.toFixed(1)} (none, and at least ${one.functions})`,
      },
      {
        holds: speed >= SPEED_FLOOR,
        sentence: `${what}: with the relay the loads' best rounds have ${speed.toFixed(2)} times the speed of those without (at least ${SPEED_FLOOR})`,
      },
    );
  }
  const [withRelay, without] = (['on', 'off'] as const).map((relay) => storms.filter((round) => round.relay === relay));
  if (withRelay?.length && without?.length) {
    const [part, wirePart] = [stormPart(withRelay), stormPart(without)];
    bounds.push({
      holds: part >= wirePart * SPEED_FLOOR && withRelay.every(({ deferrals }) => deferrals === 0),
      sentence: `a guest beside another's storm keeps ${part.toFixed(2)} of its speed, and is held back itself not once; without the relay ${wirePart.toFixed(2)}`,
    });
    const [asked, given] = [median(withRelay.map((one) => one.asked)), median(withRelay.map((one) => one.given))];
    bounds.push({
      holds: given < asked,
      sentence: `of a storm of ${asked.toFixed(0)} interrupts a second ${given.toFixed(0)} are delivered`,
    });
  }
  return bounds;
}

/** With the relay against without, the best round of each, the mean over loads: a busy host only ever takes. */
function bestSpeed(rounds: readonly RelayRound[], { functions, mode, rates }: Row): number {
  const best = (relay: 'on' | 'off', name: string): number =>
    Math.max(
      ...rounds
        .filter((one) => one.relay === relay && one.functions === functions && one.mode === mode)
        .map((one) => one.rates[name] ?? 0),
    );
  return geometricMean(Object.keys(rates).map((name) => best('on', name) / best('off', name)));
}
