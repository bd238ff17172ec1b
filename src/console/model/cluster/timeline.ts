/**
 * A failover as it went, of the cluster's events: from the last sign of the host that was lost to the guest's first beat on
 * another. Pure. Each daemon tells what it did and saw itself; what a host told that does not answer now is left out rather
 * than guessed.
 */
import type { Event } from '../../../client/index.ts';
import { number, record } from '../figures.ts';
import { seconds } from './lines.ts';

/** In this order. `last-sign` is reckoned from how long the host was silent when that was told. */
export const STEPS = [
  'last-sign',
  'suspected',
  'fenced',
  'planned',
  'claimed',
  'gate-raised',
  'starting',
  'started',
  'first-beat',
] as const;
export type StepKind = (typeof STEPS)[number];

export interface Step {
  readonly kind: StepKind;
  /** Milliseconds since the last sign. */
  readonly sinceMs: number;
  readonly text: string;
}

export interface Failover {
  readonly guest: string;
  /** Under which it came back; the last of several tries. */
  readonly generation: number;
  /** Undefined: nobody told. */
  readonly from: string | undefined;
  readonly to: string;
  /** Of the last sign, or of the first step, by this host's clock. */
  readonly at: string;
  readonly steps: readonly Step[];
  /** Undefined: it is not back, or was not yet. */
  readonly tookMs: number | undefined;
  /** Nobody told when the host was heard last: times count from the first step. */
  readonly isFromFirstStep: boolean;
}

interface Told {
  readonly event: string;
  readonly atMs: number;
  readonly host: string;
  readonly guest: string | undefined;
  readonly generation: number | undefined;
  readonly from: string | undefined;
  readonly silentMs: number | undefined;
  readonly detail: string;
}

/** What belongs to a takeover began at most so long before its claim: many guests wait their turn. */
const LONGEST_MS = 600_000;
const LATEST_MS = 5000;

/** The latest first; of one guest, or of all. */
export function failovers(events: readonly Event[], guest?: string): Failover[] {
  const told = events.flatMap(read).sort((a, b) => a.atMs - b.atMs);
  const found: Failover[] = [];
  for (const claim of told)
    if (claim.event === 'claimed' && claim.guest !== undefined && (guest === undefined || claim.guest === guest)) {
      const one = failoverOf(told, claim, claim.guest);
      if (one !== undefined) found.push(one);
    }
  return found.reverse();
}

function failoverOf(told: readonly Told[], claim: Told, guest: string): Failover | undefined {
  const from = claim.from === claim.host ? undefined : claim.from;
  // A guest that is new was nobody's: it is placed, and nothing failed.
  if (claim.from === undefined || (claim.generation ?? 0) <= 1) return undefined;
  const lost = told.filter(({ host, atMs }) => host === from && atMs >= claim.atMs - LONGEST_MS);
  const last = (event: string, untilMs: number): Told | undefined =>
    lost.findLast((one) => one.event === event && one.atMs <= untilMs && one.atMs >= heardMs);
  let heardMs = Number.NEGATIVE_INFINITY;
  heardMs = last('heard-again', claim.atMs)?.atMs ?? heardMs;
  // Who fenced tells of it when the store has answered: others may have gone on by then.
  const fenced = last('fenced', claim.atMs + LATEST_MS);
  const suspected = lost.find(({ event, atMs }) => event === 'suspected' && atMs >= heardMs && atMs <= claim.atMs);
  const planned = last('planned', claim.atMs);
  const own = told.filter(
    (one) => one.guest === guest && one.generation === claim.generation && one.atMs >= claim.atMs,
  );
  const first = (event: string): Told | undefined => own.find((one) => one.event === event);
  const those = [
    ...[suspected, fenced, planned, claim],
    ...['gate-raised', 'starting', 'started', 'first-beat'].map(first),
  ].filter((one) => one !== undefined);
  const signs = [suspected, fenced].flatMap((one) => (one?.silentMs === undefined ? [] : [one.atMs - one.silentMs]));
  const firstMs = those[0]?.atMs ?? claim.atMs;
  const zeroMs = signs[0] ?? firstMs;
  const steps: Step[] = those
    .map((one) => ({ kind: one.event as StepKind, sinceMs: one.atMs - zeroMs, text: textOf(one) }))
    .sort((a, b) => a.sinceMs - b.sinceMs || STEPS.indexOf(a.kind) - STEPS.indexOf(b.kind));
  const back = first('first-beat');
  return {
    ...{ guest, generation: claim.generation ?? 0, from, to: claim.host, at: new Date(zeroMs).toISOString() },
    steps:
      signs.length === 0
        ? steps
        : [{ kind: 'last-sign', sinceMs: 0, text: `the last sign of ${from ?? 'its host'}` }, ...steps],
    tookMs: back === undefined ? undefined : back.atMs - zeroMs,
    isFromFirstStep: signs.length === 0,
  };
}

function read({ kind, at, partition, detail = {} }: Event): Told[] {
  if (kind !== 'cluster') return [];
  const said = record(detail);
  const atMs = Date.parse(at);
  const text = (name: string): string | undefined => {
    const value = said[name];
    return typeof value === 'string' ? value : undefined;
  };
  const event = text('event');
  if (event === undefined || Number.isNaN(atMs)) return [];
  return [
    {
      ...{ event, atMs, host: text('host') ?? '', guest: partition, generation: number(said['generation']) },
      ...{ from: text('from'), silentMs: number(said['silentMs']), detail: text('detail') ?? '' },
    },
  ];
}

function textOf({ event, host, guest, detail, generation }: Told): string {
  switch (event) {
    case 'suspected':
      return `${host} is suspected: nothing moves yet`;
    case 'fenced':
      return `${host} is fenced: its lease expired and was taken away`;
    case 'planned':
      return `the guests of ${host} have new places`;
    case 'claimed':
      return `${host} claims ${guest}`;
    case 'gate-raised':
      return `its storage refuses generations before ${generation}`;
    case 'starting':
      return `it is started${detail === '' ? '' : ` (${detail})`}`;
    case 'started':
      return `its machine runs`;
    default:
      return 'its first beat: it is back';
  }
}

export function failoverSentence({ guest, from, to, tookMs, isFromFirstStep }: Failover): string {
  const since = isFromFirstStep ? 'after the first step that was told' : `after the last sign of ${from}`;
  const back = tookMs === undefined ? 'is not back yet' : `was back ${seconds(tookMs)} ${since}`;
  return `${guest} went from ${from ?? 'its host'} to ${to}, and ${back}.`;
}

export interface TimelineRow {
  readonly kind: StepKind;
  readonly title: string;
  /** Where its bar begins and ends, 0 to 1: from the step before to this one. */
  readonly start: number;
  readonly end: number;
  readonly time: string;
}

const TITLES: Readonly<Record<StepKind, string>> = {
  'last-sign': 'Last sign',
  suspected: 'Suspected',
  fenced: 'Fenced',
  planned: 'Planned',
  claimed: 'Claimed',
  'gate-raised': 'Storage fenced',
  starting: 'Starting',
  started: 'Running',
  'first-beat': 'First beat',
};

export function timelineRows({ steps }: Failover): TimelineRow[] {
  const wholeMs = Math.max(1, ...steps.map(({ sinceMs }) => sinceMs));
  let beforeMs = 0;
  return steps.map(({ kind, sinceMs }) => {
    const startMs = beforeMs;
    const endMs = Math.max(startMs, sinceMs);
    beforeMs = endMs;
    return { kind, title: TITLES[kind], start: startMs / wholeMs, end: endMs / wholeMs, time: timeText(sinceMs) };
  });
}

export function timeText(ms: number): string {
  return `${ms < 0 ? '−' : '+'}${(Math.abs(ms) / 1000).toFixed(2)} s`;
}
