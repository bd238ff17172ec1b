/** Entering traps and interrupts in generated code, as isa/privileged/trap.ts has them. */
import { enterTrap, pendingInterrupt, type Trap } from '../isa/index.ts';
import type { FunctionBuilder, I32, I64, ModuleBuilder, Ptr } from '../wasm/index.ts';
import { type HandlerPlace, InterpreterMachine } from './interpreter-machine.ts';
import { NO_ROW } from './operations.ts';
import { defineNoteViolation } from './protection-code.ts';
import { defineDescribeFault } from './transformed-instruction.ts';
import { FAULT, vcpuState } from './vcpu-state.ts';
import type { Library } from './wasm-machine.ts';

const at = vcpuState.offset;
/** Guest-page faults; faults of loads and stores: masks of causes. */
const GUEST_PAGE_FAULTS = 0xb0_0000n;
const DATA_FAULTS = 0xa0_a0f0n;

/** Whether an interrupt may be due: some that mie enables is pending, or a guest's file has one (hgeip). */
export function mayInterrupt(f: FunctionBuilder, vcpu: Ptr): I32 {
  const { i64 } = f;
  const waiting = i64.or(f.atomicLoad('i64', vcpu, at.lines), i64.load(vcpu, at.mip));
  const enabled = i64.and(waiting, i64.load(vcpu, at.mie));
  return i64.ne(i64.or(enabled, f.atomicLoad('i64', vcpu, at.hgeip)), i64.const(0));
}

/** What hypervisors are told of a fault, beside cause and tval: nothing that an earlier one left behind. */
function describeFault(f: FunctionBuilder, m: InterpreterMachine): Trap<I64> {
  const { i64 } = f;
  const cause = f.let(m.get('faultCause'));
  const isOf = (causes: bigint): I32 =>
    f.convert('i32_wrap_i64', i64.and(i64.shrU(i64.const(causes), cause), i64.const(1)));
  const isGuestPage = f.let(isOf(GUEST_PAGE_FAULTS));
  const zero = (): I64 => i64.const(0);
  const pseudo = f.let(f.select(isGuestPage, m.get('faultPseudo'), zero()));
  const transformed = f.let(f.select(isOf(DATA_FAULTS), m.get('faultInstruction'), zero()));
  const isGuestAccess = f.let(f.select(isOf(DATA_FAULTS), m.get('faultIsGuests'), zero()));
  m.set('faultInstruction', zero());
  m.set('faultIsGuests', zero());
  return {
    cause,
    tval: m.get('faultTval'),
    isGuestAccess,
    gpa: f.let(f.select(isGuestPage, i64.shrU(m.get('faultGpa'), i64.const(2)), zero())),
    instruction: f.let(f.select(i64.ne(pseudo, zero()), pseudo, transformed)),
  };
}

/** take_trap(vcpu, pc) for the fault recorded; take_interrupt(vcpu) if one is due. */
export function defineTraps(module: ModuleBuilder, library: Library): void {
  const P = module.pointerType;
  const place = (f: FunctionBuilder, pc: I64): HandlerPlace => ({
    low: f.i32.const(0),
    entry: f.i64.const(0),
    pc: () => pc,
    near: () => undefined,
    jump: (target) => f.i64.store(f.param<Ptr>(0).get, at.pc, target),
    trap: () => f.unreachable(),
    leave: () => f.unreachable(),
  });
  const machine = (f: FunctionBuilder, pc: I64): InterpreterMachine =>
    new InterpreterMachine(
      f,
      f.param<Ptr>(0).get,
      library,
      { number: 0, bytes: 4, isNear: false, row: NO_ROW },
      place(f, pc),
    );
  if (library.hasHypervisor) defineDescribeFault(module, library);
  const note = module.function('note_violation', [P, 'i64'], [], defineNoteViolation);
  library.set(
    'take_trap',
    module.function('take_trap', [P, 'i64'], [], (f) => {
      const m = machine(f, f.param<I64>(1).get);
      const isViolation = m.get32('violation');
      f.if(isViolation, () => f.call(note, f.param<Ptr>(0).get, f.param<I64>(1).get), undefined, 'unlikely');
      m.set32('fault', f.i32.const(FAULT.none));
      m.set32('mmioAnswer', f.i32.const(0));
      m.set32('pass', f.i32.const(0));
      m.set('reservationSize', f.i64.const(0));
      enterTrap(m, describeFault(f, m), false);
    }),
  );
  library.set(
    'take_interrupt',
    module.function('take_interrupt', [P], [], (f) => {
      const vcpu = f.param<Ptr>(0).get;
      const m = machine(f, f.let(f.i64.load(vcpu, at.pc)));
      const cause = f.let(pendingInterrupt(m));
      f.if(f.i64.ne(cause, f.i64.const(-1)), () => {
        m.set('reservationSize', f.i64.const(0));
        const none = { isGuestAccess: f.i64.const(0), gpa: f.i64.const(0), instruction: f.i64.const(0) };
        enterTrap(m, { cause, tval: f.i64.const(0), ...none }, true);
      });
    }),
  );
}
