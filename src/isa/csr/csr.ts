/**
 * What a row of the CSR table is, and the guard that all accesses share (privileged specification, "CSR Address
 * Mapping Conventions"). Reads and writes are semantics over the abstract machine, like the instructions'.
 *
 *   number:  11 10   9 8      7..0
 *            11: ro  privilege
 */
import { assert, must } from '../../base/assert.ts';
import type { Machine } from '../machine.ts';
import { hasFeature, MODE, requireHypervisor, requirePrivilege, requireSupervisor } from '../privileged/mstatus.ts';
import { type AreaField, FEATURE, type StateField } from '../state.ts';

export type FeatureName = keyof typeof FEATURE;

export interface Csr {
  /** 12 bits. */
  readonly number: number;
  readonly name: string;
  readonly summary: string;
  /** The CSR does not exist without this feature. */
  readonly requires?: FeatureName;
  /** Its fields, as CsrField describes; bits that no field names read zero. */
  readonly fields: readonly CsrField[];
  /** What it reads after reset on a hart with all features (misa, mhartid: by configuration, zero here). */
  readonly reset: bigint;
  /** A condition on reads and writes beyond privilege: counter enables, mstatus.FS, TVM. It is asked before privilege. */
  readonly guard?: Guard;
  /** Has no effect, so that whoever only looks (a debugger) may call it without the guard. */
  readonly read: Read;
  /** Legalises. Absent: writes are ignored (or illegal, where the number says read-only). */
  readonly write?: Write;
}

export type Guard = <V, C>(m: Machine<V, C>) => void;
export type Read = <V, C>(m: Machine<V, C>) => V;
/** `changes`: see Machine.csrWrite. */
export type Write = <V, C>(m: Machine<V, C>, value: V, changes: V) => void;

export interface CsrField {
  readonly name: string;
  readonly high: number;
  readonly low: number;
  /** A constant, `derived` from other state (a write does not change it), or `writable` (WARL or WLRL). */
  readonly kind: 'writable' | 'derived' | bigint;
}

const ALL = (1n << 64n) - 1n;
/** Of CSR numbers: HS-mode, and VS-mode's CSRs as HS-mode names them. */
const HYPERVISOR = 2;

/** Parses `MODE[63:60] UXL[33:32]=2 SD[63]=*`: writable, constant, and derived fields. */
export function parseFields(text: string): readonly CsrField[] {
  return text
    .split(' ')
    .filter((word) => word !== '')
    .map((word) => {
      const match = must(/^(\w+)\[(\d+)(?::(\d+))?\](?:=(\*|\d+))?$/.exec(word), `bad field: ${word}`);
      const [, name = '', high = '', low = high, value] = match;
      const kind = value === undefined ? 'writable' : value === '*' ? 'derived' : BigInt(value);
      return { name, high: Number(high), low: Number(low), kind };
    });
}

/** The bits that a write may change. */
export function writableBits(fields: readonly CsrField[]): bigint {
  return fields.filter((f) => f.kind === 'writable').reduce((mask, f) => mask | fieldMask(f), 0n);
}

export function fieldMask(field: CsrField): bigint {
  return ((1n << BigInt(field.high - field.low + 1)) - 1n) << BigInt(field.low);
}

/** The privilege that an access needs: 0 user, 1 supervisor, 2 hypervisor, 3 machine. */
export function privilegeOf(number: number): number {
  return (number >> 8) & 3;
}

export function isReadOnly(number: number): boolean {
  return number >> 10 === 3;
}

export type CsrOptions = Pick<Csr, 'requires' | 'guard'> & { readonly reset?: bigint; readonly write?: Write };

/** A CSR of any kind. */
export function csr(
  number: number,
  name: string,
  fields: string,
  summary: string,
  read: Read,
  options: CsrOptions = {},
): Csr {
  assert(number >= 0 && number < 4096, name);
  return { number, name, summary, fields: parseFields(fields), read, reset: 0n, ...options };
}

/** A CSR that is a field of the state; unless `options.write` says more, writes keep the writable bits. */
export function register(
  number: number,
  name: StateField,
  fields: string,
  summary: string,
  options: CsrOptions = {},
): Csr {
  const writable = writableBits(parseFields(fields));
  const write: Write = (m, value) => m.setState(name, writable === ALL ? value : m.and(value, m.const(writable)));
  const writes = writable === 0n ? {} : { write };
  return csr(number, name, fields, summary, (m) => m.state(name), { ...writes, ...options });
}

/** A supervisor's CSR that is a field of the status area which is active; for a guest it is VS-mode's. */
export function areaRegister(
  number: number,
  name: AreaField,
  fields: string,
  summary: string,
  options: CsrOptions = {},
): Csr {
  const write: Write = (m, value) => m.setAreaState(name, value);
  return csr(number, name, fields, summary, (m) => m.areaState(name), { requires: 'supervisor', write, ...options });
}

/** A CSR that reads a constant; writes are ignored. */
export function constant(number: number, name: string, value: bigint, summary: string, options: CsrOptions = {}): Csr {
  return csr(number, name, value === 0n ? '' : `value[63:0]=${value}`, summary, (m) => m.const(value), {
    reset: value,
    ...options,
  });
}

/**
 * Raises an exception unless the hart may read (and, if `wantsWrite`, write) the CSR now: illegal instruction, or for a
 * guest virtual instruction where HS-mode could ("Trap Cause Codes": an access that is HS-qualified).
 */
export function csrAccess<V, C>(m: Machine<V, C>, row: Csr, wantsWrite: boolean): void {
  const level = privilegeOf(row.number);
  if (wantsWrite && isReadOnly(row.number)) m.require(m.ne(m.const(0), m.const(0)));
  if (level === MODE.machine) requirePrivilege(m, level);
  if (row.requires !== undefined) m.require(hasFeature(m, FEATURE[row.requires]));
  row.guard?.(m);
  if (level === MODE.supervisor) requireSupervisor(m);
  if (level === HYPERVISOR) requireHypervisor(m);
}

/** What Machine.csrRead does for this CSR: the guard, and the value. */
export function readCsr<V, C>(m: Machine<V, C>, row: Csr): V {
  csrAccess(m, row, false);
  return m.let(row.read(m));
}

/** What Machine.csrWrite does for this CSR. */
export function writeCsr<V, C>(m: Machine<V, C>, row: Csr, value: V, changes: V): void {
  csrAccess(m, row, true);
  row.write?.(m, value, changes);
}
