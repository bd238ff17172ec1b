/**
 * The CSR table as two functions: csr_read(vcpu, number) and csr_write(vcpu, number, value, changes, old). A number goes
 * through a table to its case; numbers without a row, like failed guards, record an illegal instruction.
 * Also time and timer: the clock that the time CSR reads, and its comparison with stimecmp; and select_host and
 * select_guest, for who looks at a guest's hart from machine mode.
 */
import { CSRS, FEATURE, readCsr, selectGuestArea, selectHost, writeCsr } from '../isa/index.ts';
import type { FunctionBuilder, FunctionRef, I32, I64, ModuleBuilder, Ptr } from '../wasm/index.ts';
import { type HandlerPlace, InterpreterMachine } from './interpreter-machine.ts';
import { PLAN } from './memory-plan.ts';
import { NO_ROW } from './operations.ts';
import { FAULT, vcpuState } from './vcpu-state.ts';
import type { Library } from './wasm-machine.ts';

const at = vcpuState.offset;
const STIP = 1n << 5n;
const VSTIP = 1n << 6n;
const STCE = 1n << 63n;
/** Ten nanoseconds an instruction, a hundred a tick: the instruction clock. */
export const STEPS_PER_TICK = 10;

export function defineCsrs(module: ModuleBuilder, library: Library, hostTime: FunctionRef): void {
  const P = module.pointerType;
  library.set(
    'time',
    module.function('time', [P], ['i64'], (f) => {
      const vcpu = f.param<Ptr>(0).get;
      f.if(
        f.i32.eqz(f.i32.load(vcpu, at.clockMode)),
        () => f.return(f.i64.add(f.convert('i64_trunc_sat_f64_u', f.call(hostTime)), f.i64.load(vcpu, at.timeOffset))),
        undefined,
        'likely',
      );
      const underWay = f.i32.sub(f.i32.load(vcpu, at.budgetAtEntry), f.i32.load(vcpu, at.budgetLeft));
      const steps = f.i64.add(f.i64.load(vcpu, at.steps), f.convert('i64_extend_i32_u', underWay));
      f.return(f.i64.add(f.i64.op('div_u', steps, f.i64.const(STEPS_PER_TICK)), f.i64.load(vcpu, at.timeOffset)));
    }),
  );
  library.set(
    'timer',
    module.function('timer', [P], [], (f) => {
      const vcpu = f.param<Ptr>(0).get;
      const has = (field: 'features' | 'menvcfg' | 'henvcfg' | 'lines', mask: bigint): I32 =>
        f.i64.ne(f.i64.and(f.i64.load(vcpu, at[field]), f.i64.const(mask)), f.i64.const(0));
      const lower = (line: bigint): void =>
        f.if(has('lines', line), () => f.atomicRmw('and', vcpu, at.lines, 8, f.i64.const(~line)));
      const compare = (line: bigint, time: I64, deadline: 'stimecmp' | 'vstimecmp'): void =>
        f.if(
          f.let(f.i64.geU(time, f.i64.load(vcpu, at[deadline]))),
          () => f.atomicRmw('or', vcpu, at.lines, 8, f.i64.const(line)),
          () => lower(line),
        );
      const isOn = f.let(f.i32.and(has('features', FEATURE.sstc), has('menvcfg', STCE)));
      f.if(isOn, () => {
        const time = f.let(f.call(library.get('time'), vcpu) as I64);
        compare(STIP, time, 'stimecmp');
        // A guest's time is its hypervisor's with a difference.
        f.if(
          f.i32.and(has('features', FEATURE.h), has('henvcfg', STCE)),
          () => compare(VSTIP, f.let(f.i64.add(time, f.i64.load(vcpu, at.htimedelta))), 'vstimecmp'),
          () => lower(VSTIP),
        );
      });
      f.if(f.i32.eqz(isOn), () => lower(VSTIP));
    }),
  );
  const index = (f: FunctionBuilder): I32 =>
    f.i32.load16U(f.ptr.from32(f.i32.shl(f.param<I32>(1).get, f.i32.const(1))), PLAN.csrIndex);
  const machine = (f: FunctionBuilder, stop: () => void): InterpreterMachine => {
    const place: HandlerPlace = {
      low: f.i32.const(0),
      entry: f.i64.const(0),
      pc: () => f.i64.load(f.param<Ptr>(0).get, at.pc),
      near: () => undefined,
      jump: (target) => f.i64.store(f.param<Ptr>(0).get, at.pc, target),
      trap: stop,
      leave: () => f.unreachable(),
    };
    return new InterpreterMachine(
      f,
      f.param<Ptr>(0).get,
      library,
      { number: 0, bytes: 4, isNear: false, row: NO_ROW },
      place,
    );
  };
  const illegal = (f: FunctionBuilder): void => {
    f.i32.store(f.param<Ptr>(0).get, at.fault, f.i32.const(FAULT.illegal));
    f.i64.store(f.param<Ptr>(0).get, at.faultCause, f.i64.const(2));
  };
  library.set(
    'csr_read',
    module.function('csr_read', [P, 'i32'], ['i64'], (f) => {
      const m = machine(f, () => f.return(f.i64.const(0)));
      f.switch(
        index(f),
        CSRS.map((row) => () => f.return(readCsr(m, row))),
        () => illegal(f),
      );
      f.return(f.i64.const(0));
    }),
  );
  library.set(
    'csr_write',
    module.function('csr_write', [P, 'i32', 'i64', 'i64', 'i64'], [], (f) => {
      const m = machine(f, () => f.return());
      f.switch(
        index(f),
        CSRS.map((row) => () => writeCsr(m, row, f.param<I64>(2).get, f.param<I64>(3).get, f.param<I64>(4).get)),
        () => illegal(f),
      );
    }),
  );
  if (!library.hasHypervisor) return;
  for (const [name, select] of [
    ['select_host', selectHost],
    ['select_guest', selectGuestArea],
  ] as const)
    library.set(
      name,
      module.function(name, [P], [], (f) => select(machine(f, () => f.return()))),
    );
}

/** The table from CSR numbers to cases; the last number where there is no CSR. */
export function csrIndexTable(): Uint16Array {
  const table = new Uint16Array(4096).fill(0xffff);
  CSRS.forEach((row, i) => {
    table[row.number] = i;
  });
  return table;
}
