/**
 * Cases of memory accesses as data: a hart's state, page tables in RAM, one access, and where it goes or how it
 * faults. Any engine can run them: RAM lies where the `virt` machine has it.
 */
import assert from 'node:assert/strict';
import { STATE_SCALARS, type StateField } from '../../state.ts';
import { DEFAULTS, type Registers } from './hart-case.testing.ts';

export type Access = 'fetch' | 'load' | 'store' | 'cache';

export type Outcome = { readonly to: readonly bigint[] } | Fault;

/** Of guest-page faults the guest-physical address, and whether the walk itself wanted it. */
export interface Fault {
  readonly cause: number;
  readonly tval: bigint;
  readonly gpa?: bigint;
  readonly implicit?: 'read' | 'write';
}

export interface AccessCase {
  readonly name: string;
  /** Besides DEFAULTS. */
  readonly before: Registers;
  /** Doublewords of RAM, by physical address; the rest is zero. */
  readonly memory?: readonly (readonly [bigint, bigint])[];
  readonly va: bigint;
  readonly access: Access;
  /** hlv and hsv, hlvx; otherwise as the hart's mode says. */
  readonly as?: 'guest' | 'guestExecutable';
  readonly sizeBytes: number;
  /** Physical addresses of the parts that page boundaries leave, or the exception. */
  readonly expect: Outcome;
  /** Doublewords that the walk must have changed; all others stay. */
  readonly memoryAfter?: readonly (readonly [bigint, bigint])[];
}

/** What a case runs on. */
export interface AccessEngine {
  set(field: StateField, value: bigint): void;
  putDoubleword(address: bigint, value: bigint): void;
  doubleword(address: bigint): bigint;
  access(va: bigint, access: Access, sizeBytes: number, as?: 'guest' | 'guestExecutable'): Outcome;
}

export const RAM_START = 0x8000_0000n;
export const RAM_END = 0x9000_0000n;

export function runAccessCase(engine: AccessEngine, c: AccessCase): void {
  for (const field of Object.keys(STATE_SCALARS) as StateField[])
    engine.set(field, c.before[field] ?? DEFAULTS[field] ?? 0n);
  for (const [address, value] of c.memory ?? []) engine.putDoubleword(address, value);
  assert.deepEqual(engine.access(c.va, c.access, c.sizeBytes, c.as), c.expect, c.name);
  const after = new Map([...(c.memory ?? []), ...(c.memoryAfter ?? [])]);
  for (const [address, value] of after)
    assert.equal(engine.doubleword(address), value, `${c.name}: ${address.toString(16)}`);
}

/** The exception of an access that fails: page fault or access fault. */
export function fault(kind: 'page' | 'access', access: Access, tval: bigint): Outcome {
  const page = { fetch: 12, load: 13, store: 15, cache: 15 };
  const denied = { fetch: 1, load: 5, store: 7, cache: 7 };
  return { cause: (kind === 'page' ? page : denied)[access], tval };
}

/** The guest-page fault of an access; `implicit`: of the walk's own access for it. */
export function guestFault(access: Access, tval: bigint, gpa: bigint, implicit?: 'read' | 'write'): Outcome {
  const cause = { fetch: 20, load: 21, store: 23, cache: 23 }[access];
  return { cause, tval, gpa, ...(implicit ? { implicit } : {}) };
}
