/**
 * A board's protection as an operator sees and changes it: domains by name, ranges by guest-physical address, rights by
 * letter. What is asked for is checked here, wherever it comes from.
 */
import { OperatorError } from '../base/errors.ts';
import { FRAME_BYTES, type ProtectionUsage, RIGHT } from '../engine/index.ts';
import { deniedTo, type Protection, type RightsChange } from '../hypervisor/index.ts';
import type { Board } from './board.ts';
import { ProtectionLog, VIOLATION_ACCESSES, type Violation, type ViolationAccess } from './protection-log.ts';

/** Rights that some domains lose, or get back. */
export interface ProtectionChange {
  readonly action: 'deny' | 'allow';
  /** `kernel`, `user`, `firmware`, `device:disk0`. */
  readonly domains: readonly string[];
  /** Guest-physical addresses: from the page of `start` up to the page before `end`. */
  readonly start: number;
  readonly end: number;
  /** Letters of r, w, x. */
  readonly rights: string;
}

export interface ProtectionDomain {
  readonly name: string;
  /** Accesses that its table forbade. */
  readonly violations: Readonly<Record<ViolationAccess, number>>;
}

/** What is denied to a domain; everything that is not is allowed. Addresses as in ProtectionChange, with 0x. */
export interface ProtectionRule {
  readonly domain: string;
  readonly start: string;
  readonly end: string;
  readonly denied: string;
}

export interface ProtectionReport {
  readonly domains: readonly ProtectionDomain[];
  readonly rules: readonly ProtectionRule[];
  /** Changes so far; what the tables cost. */
  readonly changes: number;
  readonly tables: ProtectionUsage;
}

/** Violations that are told of at a time. */
export const MOST_VIOLATIONS = 4096;
const LETTERS = ['r', 'w', 'x'] as const;
const BITS = { r: RIGHT.read, w: RIGHT.write, x: RIGHT.execute } as const;

/** The machine's protection. Throws OperatorError where it was switched off. */
export function protectionOf({ protection }: Board): Protection {
  if (protection !== undefined) return protection;
  throw new OperatorError(
    'protection-off',
    'the machine runs without protection tables',
    'Start it without --protection off',
  );
}

export function protectionReport(board: Board): ProtectionReport {
  const protection = protectionOf(board);
  return {
    domains: protection.domains.map(({ number, name }) => ({ name, violations: counted(protection, number) })),
    rules: rules(protection),
    changes: protection.epoch,
    tables: protection.usage,
  };
}

/** The latest violations that are still known, at most `most`: hart by hart, then devices, the oldest first in each. */
export function latestViolations(board: Board, most: number): readonly Violation[] {
  protectionOf(board);
  const all: Violation[] = [];
  new ProtectionLog(board, { all: true }).drain((violation) => all.push(violation));
  return all.slice(-Math.min(most, MOST_VIOLATIONS));
}

/** What the operator asks for, as the partition's protection takes it. Throws OperatorError where it makes no sense. */
export function rightsChange(board: Board, change: ProtectionChange): RightsChange {
  const protection = protectionOf(board);
  const { start, end, rights, action } = change;
  if (!/^[rwx]{1,3}$/.test(rights))
    throw new OperatorError('bad-rights', `${rights} are no rights`, 'Write some of r, w and x: --deny w');
  const domains = change.domains.map((name) => {
    const domain = protection.domains.find((one) => one.name === name);
    if (domain !== undefined) return domain.number;
    const names = protection.domains.map((one) => one.name).join(', ');
    throw new OperatorError('no-such-domain', `there is no domain ${name}`, `Name one of ${names}`);
  });
  if (domains.length === 0) throw new OperatorError('bad-usage', 'there is no domain', 'Name one with --domain');
  const range = { first: start / FRAME_BYTES, end: end / FRAME_BYTES };
  if (!Number.isSafeInteger(range.first) || !Number.isSafeInteger(range.end) || start < 0)
    throw new OperatorError(
      'bad-range',
      `the range from 0x${start.toString(16)} to 0x${end.toString(16)} does not consist of whole pages`,
      'Give multiples of 4096 (0x1000)',
    );
  const memory = memoryIn(board, range);
  if (memory === undefined)
    throw new OperatorError(
      'bad-range',
      `there is no memory from 0x${start.toString(16)} to 0x${end.toString(16)}`,
      `Give a range in the guest's memory, which begins at 0x80000000`,
    );
  const bits = LETTERS.reduce((sum, letter) => sum | (rights.includes(letter) ? BITS[letter] : 0), 0);
  return { domains, ...memory, rights: bits, isAllowed: action === 'allow' };
}

/** The part of the range that lies within the map, if there is any memory in it. */
function memoryIn({ map }: Board, { first, end }: { first: number; end: number }) {
  const last = Math.min(end, map.pages);
  for (let page = first; page < last; page++) if (map.declared(page) !== 'nothing') return { first, end: last };
  return undefined;
}

function rules(protection: Protection): readonly ProtectionRule[] {
  const out: ProtectionRule[] = [];
  for (const { number, name } of protection.domains) {
    let last: (ProtectionRule & { readonly page: number }) | undefined;
    for (const { first, end, denied } of protection.ranges) {
      const rights = letters(deniedTo(denied, number));
      if (rights === '') continue;
      // What differs for another domain alone is one range for this one.
      const isMore = last?.page === first && last.denied === rights;
      const start = isMore ? (last?.start ?? '') : address(first);
      if (isMore) out.pop();
      last = { domain: name, start, end: address(end), denied: rights, page: end };
      out.push({ domain: name, start, end: last.end, denied: rights });
    }
  }
  return out;
}

function counted(protection: Protection, domain: number): Readonly<Record<ViolationAccess, number>> {
  const counts = protection.violations(domain);
  return Object.fromEntries(VIOLATION_ACCESSES.map((access, i) => [access, counts[i] ?? 0])) as Record<
    ViolationAccess,
    number
  >;
}

function letters(rights: number): string {
  return LETTERS.filter((letter) => (rights & BITS[letter]) !== 0).join('');
}

function address(page: number): string {
  return `0x${(page * FRAME_BYTES).toString(16)}`;
}
