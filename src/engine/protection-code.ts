/**
 * Protection tables in generated Wasm: each walk that is about to be cached, or used once, asks the table of the domain
 * that accesses, selected by the privilege mode (a pointer for each in the vCPU's block: changing the mode rebuilds
 * nothing). Page walks and their updates of A and D are the kernel's accesses, whoever is translated for, as PMP has it.
 *
 *   gpa --map--> frame --table of the mode--> rights?  --no--> access fault of the access's kind, noted for the log
 *
 * A violation counts, and is logged, when its trap is taken (note_violation): translated code that meets one tries the
 * instruction again in the interpreter.
 */
import type { FunctionBuilder, FunctionRef, I32, I64, Ptr } from '../wasm/index.ts';
import { CHUNK_FRAMES } from './protection-tables.ts';
import { PROTECTION_LOG_ENTRIES, PROTECTION_LOG_WORDS, VIOLATION_KINDS, vcpuState } from './vcpu-state.ts';

const at = vcpuState.offset;
/** What is accessed: for ACCESS, and as a page walk. The right that each needs stands in its place of NEEDED. */
export const REACH = { fetch: 0, load: 1, store: 2, walk: 3, update: 4 } as const;
const NEEDED = 0x21214;
const CHUNK_SHIFT = Math.log2(CHUNK_FRAMES);
/** Access faults: causes 1, 5, 7. */
const ACCESS_FAULTS = 0xa2;

/** The right that an access (ACCESS) needs, in bits of RIGHT. */
export function neededRight(f: FunctionBuilder, access: I32): I32 {
  return f.i32.and(f.i32.shrU(f.i32.const(NEEDED), f.i32.shl(access, f.i32.const(2))), f.i32.const(7));
}

/**
 * Does `forbid` (which leaves the function) where the table of a mode does not allow the access to the frame at a host
 * address. Three loads and no call: a program that touches many pages comes here all the time (measured, bench/protection.ts).
 */
export function checkFrame(
  f: FunctionBuilder,
  what: { readonly vcpu: Ptr; readonly address: Ptr; readonly mode: I32; readonly needed: I32 },
  forbid: () => void,
): void {
  const { i32 } = f;
  const pointer = f.ptr.add(what.vcpu, f.ptr.from32(i32.shl(what.mode, i32.const(3))));
  const table = f.let(f.ptr.load(pointer, at.protection));
  f.if(
    i32.eqz(f.ptr.eqz(table)),
    () => {
      const frame = f.let(f.ptr.to32(f.ptr.op('shr_u', what.address, f.ptr.const(12))));
      const slot = i32.shl(i32.shrU(frame, i32.const(CHUNK_SHIFT)), i32.const(2));
      const chunk = f.ptr.from32(i32.load(f.ptr.add(table, f.ptr.from32(slot))));
      const rights = i32.load8U(f.ptr.add(chunk, f.ptr.from32(i32.and(frame, i32.const(CHUNK_FRAMES - 1)))));
      f.if(i32.eqz(i32.and(rights, what.needed)), forbid, undefined, 'unlikely');
    },
    undefined,
    'likely',
  );
}

/** forbid(vcpu, gpa, va, access, mode of the table, REACH, host address): the access fault, and what it is of. */
export function defineForbid(f: FunctionBuilder, fault: FunctionRef): void {
  const { i32, i64 } = f;
  const vcpu = f.param<Ptr>(0).get;
  const mode = f.param<I32>(4).get;
  const kind = f.param<I32>(5).get;
  f.call(fault, vcpu, f.param<I32>(3).get, f.param<I64>(2).get, i32.const(1));
  i32.store(vcpu, at.violation, i32.or(i32.add(kind, i32.const(1)), i32.shl(mode, i32.const(8))));
  i64.store(vcpu, at.violationGpa, f.param<I64>(1).get);
  i32.store(vcpu, at.violationFrame, f.ptr.to32(f.ptr.op('shr_u', f.param<Ptr>(6).get, f.ptr.const(12))));
}

/** note_violation(vcpu, pc): counts and logs the violation whose trap is taken, if it is one's. */
export function defineNoteViolation(f: FunctionBuilder): void {
  const { i32, i64 } = f;
  const vcpu = f.param<Ptr>(0).get;
  const violation = f.let(i32.load(vcpu, at.violation));
  const cause = f.let(i64.load(vcpu, at.faultCause));
  i32.store(vcpu, at.violation, i32.const(0));
  const bit = i32.and(i32.shrU(i32.const(ACCESS_FAULTS), f.convert('i32_wrap_i64', cause)), i32.const(1));
  f.if(i32.or(i64.geU(cause, i64.const(8)), i32.eqz(bit)), () => f.return());
  const kind = f.let(i32.sub(i32.and(violation, i32.const(255)), i32.const(1)));
  const domain = f.let(i32.shrU(violation, i32.const(8)));
  const counter = i32.add(i32.mul(domain, i32.const(VIOLATION_KINDS)), kind);
  const count = f.let(f.ptr.add(vcpu, f.ptr.from32(i32.shl(counter, i32.const(2)))));
  i32.store(count, at.violations, i32.add(i32.load(count, at.violations), i32.const(1)));
  const next = f.let(i32.load(vcpu, at.protectionLogNext));
  const index = i32.mul(i32.and(next, i32.const(PROTECTION_LOG_ENTRIES - 1)), i32.const(PROTECTION_LOG_WORDS * 8));
  const entry = f.let(f.ptr.add(vcpu, f.ptr.from32(index)));
  i64.store(entry, at.protectionLog, f.param<I64>(1).get);
  i64.store(entry, at.protectionLog + 8, i64.load(vcpu, at.faultTval));
  i64.store(entry, at.protectionLog + 16, i64.load(vcpu, at.violationGpa));
  const wide = (value: I32, shift: number): I64 => i64.shl(f.convert('i64_extend_i32_u', value), i64.const(shift));
  const who = i64.or(wide(domain, 40), i64.shl(i64.load(vcpu, at.mode), i64.const(48)));
  const what = i64.or(wide(i32.load(vcpu, at.violationFrame), 0), wide(kind, 32));
  i64.store(entry, at.protectionLog + 24, i64.or(who, what));
  // The reader sees the entry before it sees that there is one.
  f.atomicStore(f.ptr.add(vcpu, f.ptr.const(at.protectionLogNext)), 0, i32.add(next, i32.const(1)));
}
