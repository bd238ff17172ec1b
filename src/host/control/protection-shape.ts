/** The shapes of what a machine tells of its protection tables (machine/protection-report.ts), for the protocol. */
import {
  MOST_VIOLATIONS,
  type ProtectionChange,
  type ProtectionReport,
  VIOLATION_ACCESSES,
  VIOLATORS,
  type Violation,
} from '../../machine/index.ts';
import { addressText } from './explanation-shape.ts';
import { integer, listOf, oneOf, optional, record, type Shape, text } from './shape.ts';

const MOST_DOMAINS = 80;
const MOST_RULES = 16_384;
const count = integer(0, Number.MAX_SAFE_INTEGER);
const name = text(80);

export const protectionChange: Shape<ProtectionChange> = record({
  action: oneOf('deny', 'allow'),
  domains: listOf(name, MOST_DOMAINS),
  start: count,
  end: count,
  rights: text(8),
});

export const protectionReport: Shape<ProtectionReport> = record({
  domains: listOf(
    record({
      name,
      violations: record({ fetch: count, load: count, store: count, walk: count, update: count }),
    }),
    MOST_DOMAINS,
  ),
  rules: listOf(record({ domain: name, start: addressText, end: addressText, denied: text(3) }), MOST_RULES),
  changes: count,
  tables: record({ tables: count, chunks: count, bytes: count }),
});

const violation: Shape<Violation> = record({
  domain: name,
  by: oneOf(...VIOLATORS),
  hart: optional(integer(0, 4095)),
  pc: optional(addressText),
  access: oneOf(...VIOLATION_ACCESSES),
  missing: oneOf('r', 'w', 'x'),
  address: optional(addressText),
  physical: addressText,
  frame: count,
});

export const violations: Shape<{ readonly violations: readonly Violation[] }> = record({
  violations: listOf(violation, MOST_VIOLATIONS),
});

/** How many are asked for. */
export const mostViolations = record({ most: integer(1, MOST_VIOLATIONS) });
