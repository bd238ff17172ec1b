/**
 * The choice for one guest: the cheapest method that meets its needs, on the host that has most room for it, and why. Where
 * nothing meets them, the one that misses least, and what it misses: plainly.
 */
import type { Association, GuestSpec, Method } from '../model.ts';
import type { Costs } from '../ports.ts';
import type { Settings } from '../settings.ts';
import { incomingNeeds, type Ledger, standbyNeeds } from '../takeover/ledger.ts';
import { type Estimate, estimate, misses, price } from './estimate.ts';

export interface Choice {
  /** Undefined: there is no host for any method. */
  readonly inForce: Association | undefined;
  /** Others to fall back on, cold at least, without room kept for them. */
  readonly others: readonly Association[];
  readonly everyMs: number;
  readonly price: number;
  readonly reason: string;
  readonly missed: readonly string[];
}

export interface ChoiceQuestion {
  readonly spec: GuestSpec;
  readonly costs: Costs;
  /** Where it runs. */
  readonly home: string;
  /** Where it could go: takes guests, is not its home, has none of its group; in a fixed order. */
  readonly hosts: readonly string[];
  /** Without what this guest itself has or keeps elsewhere. */
  readonly ledger: Ledger;
  /** Of equals, this host is taken. */
  readonly present: Association | undefined;
}

export function chooseMethod(question: ChoiceQuestion, settings: Settings): Choice {
  const { spec, costs } = question;
  const methods = spec.fixed === undefined ? spec.methods : [spec.fixed];
  const ranked = methods
    .map((method) => {
      const one = estimate(method, spec, costs, settings);
      return { one, missed: misses(one, spec), price: price(one) };
    })
    .sort((a, b) => a.missed.length - b.missed.length || a.price - b.price);
  const passed: string[] = [];
  for (const { one, missed, price: paid } of ranked) {
    const host = hostFor(one.method, question);
    if (host === undefined) {
      passed.push(`${one.method} has room nowhere`);
      continue;
    }
    const inForce = { host, method: one.method };
    const reason = reasonFor(one, host, spec, missed, [
      ...passed,
      ...ranked.filter((r) => r.price < paid).flatMap((r) => r.missed),
    ]);
    return { inForce, others: othersThan(inForce, question), everyMs: one.everyMs, price: paid, reason, missed };
  }
  const missed = question.hosts.length === 0 ? ['there is no other host'] : passed;
  return { inForce: undefined, others: [], everyMs: 0, price: 0, reason: missed.join('; '), missed };
}

/** The price of what is in force now, and what it misses by today's figures; undefined: its host is no longer possible. */
export function judge(
  present: Association,
  question: ChoiceQuestion,
  settings: Settings,
): { readonly price: number; readonly missed: readonly string[]; readonly everyMs: number } | undefined {
  const { spec, costs, hosts } = question;
  const methods = spec.fixed === undefined ? spec.methods : [spec.fixed];
  if (!hosts.includes(present.host) || !methods.includes(present.method)) return undefined;
  if (lacksFor(present.method, present.host, question) !== undefined) return undefined;
  const one = estimate(present.method, spec, costs, settings);
  return { price: price(one), missed: misses(one, spec), everyMs: one.everyMs };
}

function hostFor(method: Method, question: ChoiceQuestion): string | undefined {
  const { hosts, ledger, present } = question;
  let best: string | undefined;
  for (const host of hosts) {
    if (lacksFor(method, host, question) !== undefined) continue;
    if (host === present?.host) return host;
    if (best === undefined || ledger.fullness(host) < ledger.fullness(best)) best = host;
  }
  return best;
}

function lacksFor(method: Method, host: string, { spec, home, ledger }: ChoiceQuestion): string | undefined {
  return ledger.lacksIfLost(host, home, standbyNeeds(spec, method), incomingNeeds(spec, method));
}

/** A cold one elsewhere, and a cold one on the same host: a checkpoint may turn out to be of no use. */
function othersThan(inForce: Association, { hosts, ledger, spec }: ChoiceQuestion): Association[] {
  const others: Association[] = [];
  let elsewhere: string | undefined;
  for (const host of hosts)
    if (host !== inForce.host && (elsewhere === undefined || ledger.fullness(host) < ledger.fullness(elsewhere)))
      elsewhere = host;
  if (elsewhere !== undefined && spec.fixed === undefined) others.push({ host: elsewhere, method: 'cold' });
  if (inForce.method !== 'cold' && spec.fixed === undefined) others.push({ host: inForce.host, method: 'cold' });
  return others;
}

function reasonFor(
  { method }: Estimate,
  host: string,
  { fixed }: GuestSpec,
  missed: readonly string[],
  passed: readonly string[],
): string {
  if (fixed !== undefined) return `${method} on ${host}: fixed`;
  if (missed.length > 0)
    return `${method} on ${host}: nothing meets its needs, and this misses least: ${missed.join('; ')}`;
  if (passed.length > 0) return `${method} on ${host}: ${passed.join('; ')}`;
  return `${method} on ${host}: the cheapest meets its needs`;
}
