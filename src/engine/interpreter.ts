/**
 * The interpreter, generated: one Wasm function that runs a vCPU until it must leave. Handlers of the frequent rows
 * stand inside the dispatch loop, the others are functions in a table. What they do is the rows'
 * semantics alone: nothing here knows an instruction by name.
 *
 *   reenter: look at interrupts, banks, pc ......... after traps, returns, CSR writes
 *     resolve: pc -> decoded entry ................. jumps to other pages
 *       back: entry is counted ..................... jumps back in the same page, and what was resolved
 *         next: entry -> handler -> next entry ..... everything else
 *
 * An entry may name a region, translated code for what starts there (regions.ts): it is called with the budget,
 * returns what is left of it, and the pc in the vCPU's block. Without progress the instruction is interpreted, so a
 * region need do nothing but ordinary work: whatever is special, a fault for instance, it leaves to the interpreter.
 *
 * The pc is kept as the entry's address: pc = (entry >>> 2) + delta, as entries are four times as long as code.
 * Long: the loop is one function, whose parts jump to each other.
 */
import { assert, must } from '../base/assert.ts';
import type { FunctionBuilder, FunctionRef, I32, I64, Label, Local, ModuleBuilder, Ptr } from '../wasm/index.ts';
import { buildFunction, type HandlerPlace, InterpreterMachine, STATUS } from './interpreter-machine.ts';
import { RECORD, REGION_TABLE, REGIONS } from './memory-plan.ts';
import {
  ENTRY,
  FIRST_OPERATION,
  isInline,
  type Operation,
  type Operations,
  OVERLAY_ENTRY,
  SPECIAL,
} from './operations.ts';
import { countEmulated } from './overlay-code.ts';
import { countSite, countTarget, noteJump } from './profile.ts';
import { defineMissing } from './regions.ts';
import { firstPlace } from './translation-buffers.ts';
import { defineTraps, mayInterrupt } from './traps.ts';
import { EXIT, FAULT, vcpuState } from './vcpu-state.ts';
import type { Library } from './wasm-machine.ts';

const at = vcpuState.offset;
/** Jumps that are not counted after a slice began, and when regions have left no more than so many steps of it. */
const JUMPS_LEFT_OUT = 64;
const STEPS_LEFT_OUT = 1000;

/** Defines `run(vcpu, budget) -> exit kind` and the functions of the rows outside the loop. */
export function defineInterpreter(
  module: ModuleBuilder,
  library: Library,
  operations: Operations,
  told: Told,
): FunctionRef {
  defineTraps(module, library);
  const missing = defineMissing(module);
  library.set('region_missing', missing);
  const P = module.pointerType;
  const table: (FunctionRef | undefined)[] = [];
  for (const operation of operations.all) {
    if (isInline(operation.row)) continue;
    const name = `${operation.row.name}/${operation.bytes}`;
    table[operation.number] = module.function(name, [P, 'i64', 'i64'], ['i32'], (f) => {
      if (operations.isEmulated(operation.row)) countEmulated(f, f.param<Ptr>(0).get);
      buildFunction(f, library, operation);
    });
  }
  assert(table.length <= REGION_TABLE, 'regions begin behind the operations');
  for (let i = 0; i < REGIONS; i++) table[REGION_TABLE + i] = missing;
  module.setTable(table);
  return module.function('run', [P, 'i32'], ['i32'], (f) => new Loop(f, library, operations, told).build());
}

/** What the host is told of, while the vCPU goes on: its pc became hot; the instruction at sitePc is worth promoting. */
export interface Told {
  readonly hot: FunctionRef;
  readonly sensitive: FunctionRef;
}

class Loop {
  readonly #f: FunctionBuilder;
  readonly #library: Library;
  readonly #operations: Operations;
  readonly #told: Told;
  readonly #vcpu: Ptr;
  readonly #budget: Local<I32>;
  readonly #entry: Local<Ptr>;
  readonly #delta: Local<I64>;
  readonly #word: Local<I64>;
  readonly #target: Local<I64>;
  /** So many entries that control comes to are not counted, as they are not typical targets of jumps. */
  readonly #uncounted: Local<I32>;
  readonly #readBank: Local<Ptr>;
  readonly #writeBank: Local<Ptr>;
  readonly #labels: {
    reenter?: Label;
    resolve?: Label;
    back?: Label;
    next?: Label;
    jump?: Label;
    trap?: Label;
    leave?: Label;
  } = {};

  constructor(f: FunctionBuilder, library: Library, operations: Operations, told: Told) {
    this.#told = told;
    this.#f = f;
    this.#library = library;
    this.#operations = operations;
    this.#vcpu = f.param<Ptr>(0).get;
    this.#budget = f.param<I32>(1);
    this.#entry = f.pointerLocal();
    this.#delta = f.local('i64');
    this.#word = f.local('i64');
    this.#target = f.local('i64');
    this.#uncounted = f.local('i32');
    this.#readBank = f.pointerLocal();
    this.#writeBank = f.pointerLocal();
  }

  build(): void {
    const f = this.#f;
    this.#leaveOut(JUMPS_LEFT_OUT);
    f.i32.store(this.#vcpu, at.budgetAtEntry, this.#budget.get);
    f.i32.store(this.#vcpu, at.budgetLeft, this.#budget.get);
    f.if(f.i32.eqz(f.i32.load(this.#vcpu, at.resume)), () => f.call(this.#fn('timer'), this.#vcpu));
    f.loop((reenter) => {
      this.#labels.reenter = reenter;
      f.i32.store(this.#vcpu, at.reenter, f.i32.const(0));
      f.i32.store(this.#vcpu, at.budgetLeft, this.#budget.get);
      // An answered device access is finished before anything else happens; so is what was interrupted in a slice.
      const isUnderWay = f.i32.or(f.i32.load(this.#vcpu, at.mmioAnswer), f.i32.load(this.#vcpu, at.resume));
      f.if(f.i32.eqz(isUnderWay), () => {
        f.if(mayInterrupt(f, this.#vcpu), () => f.call(this.#fn('take_interrupt'), this.#vcpu));
      });
      f.i32.store(this.#vcpu, at.resume, f.i32.const(0));
      const isStale = f.i32.load(this.#vcpu, at.contextStale);
      f.if(isStale, () => f.call(this.#fn('context'), this.#vcpu), undefined, 'unlikely');
      this.#setBanks();
      f.set(this.#target, f.i64.load(this.#vcpu, at.pc));
      f.loop((resolve) => {
        this.#labels.resolve = resolve;
        this.#resolve();
        f.loop((back) => {
          this.#labels.back = back;
          this.#count();
          f.loop((next) => {
            this.#labels.next = next;
            f.block((leave) => {
              this.#labels.leave = leave;
              f.block((trap) => {
                this.#labels.trap = trap;
                f.block((jump) => {
                  this.#labels.jump = jump;
                  this.#step();
                });
                f.br(resolve);
              });
              this.#trap();
            });
            // The function that leaves has set pc and exitKind.
            this.#leave(f.i32.load(this.#vcpu, at.exitKind));
          });
        });
      });
    });
    f.unreachable();
  }

  /** The entry's low half. */
  get #low(): I32 {
    return this.#f.convert('i32_wrap_i64', this.#word.get);
  }

  #setBanks(): void {
    const f = this.#f;
    f.set(this.#readBank, f.ptr.load(this.#vcpu, at.readBank));
    f.set(this.#writeBank, f.ptr.load(this.#vcpu, at.writeBank));
  }

  /**
   * Jump targets that are reached often are worth translating: the host is told, and may put a region in their place.
   * What follows an instruction that was interpreted by itself is none. Where slices end and begin is left out, too: that
   * may be anywhere in a loop, which needs no region for each of its instructions, or for each block.
   */
  #count(): void {
    const f = this.#f;
    f.if(
      this.#uncounted.get,
      () => f.set(this.#uncounted, f.i32.sub(this.#uncounted.get, f.i32.const(1))),
      () =>
        countTarget(f, this.#vcpu, this.#entry.get, () => {
          f.i64.store(this.#vcpu, at.pc, this.#pc());
          f.call(this.#told.hot, this.#vcpu);
        }),
      'unlikely',
    );
  }

  /** The next entries are not counted; but where so few make it hot, all are. */
  #leaveOut(count: number): void {
    const f = this.#f;
    const isSoon = f.i32.ltU(f.i32.load(this.#vcpu, at.hotThreshold), f.i32.const(JUMPS_LEFT_OUT));
    f.set(this.#uncounted, f.select(isSoon, f.i32.const(0), f.i32.const(count)));
  }

  /** From `target` to entry and delta: the fetch buffer, else `fetch`. */
  #resolve(): void {
    const f = this.#f;
    const bank = f.ptr.load(this.#vcpu, at.fetchBank);
    const slot = f.let(f.ptr.add(bank, firstPlace(f, this.#target.get)));
    const page = f.let(f.i64.and(this.#target.get, f.i64.const(-4096)));
    f.if(
      f.i64.eq(f.i64.load(slot), page),
      () => {
        const decoded = f.ptr.load(slot, 8);
        f.set(this.#delta, f.i64.sub(page, f.i64.shrU(f.ptr.to64(decoded), f.i64.const(2))));
        f.set(
          this.#entry,
          f.ptr.add(decoded, f.ptr.from64(f.i64.shl(f.i64.and(this.#target.get, f.i64.const(0xffe)), f.i64.const(2)))),
        );
      },
      () => {
        f.i64.store(this.#vcpu, at.pc, this.#target.get);
        f.set(this.#entry, f.call(this.#fn('fetch'), this.#vcpu, this.#target.get) as Ptr);
        f.if(f.ptr.eqz(this.#entry.get), () => this.#fetchFailed());
        f.set(this.#delta, f.i64.load(this.#vcpu, at.fetchDelta));
      },
      'likely',
    );
  }

  /** A fault of the fetch at pc (which is stored) counts as a step, so that a loop of faults ends with the budget. */
  #fetchFailed(): void {
    const f = this.#f;
    f.if(f.i32.eq(f.i32.load(this.#vcpu, at.fault), f.i32.const(FAULT.leave)), () => {
      f.i32.store(this.#vcpu, at.fault, f.i32.const(FAULT.none));
      this.#leave(f.i32.load(this.#vcpu, at.exitKind));
    });
    f.if(f.i32.eqz(this.#budget.get), () => {
      f.i32.store(this.#vcpu, at.fault, f.i32.const(FAULT.none));
      this.#leave(f.i32.const(EXIT.budget));
    });
    f.set(this.#budget, f.i32.sub(this.#budget.get, f.i32.const(1)));
    this.#notRetired();
    f.call(this.#fn('take_trap'), this.#vcpu, f.let(f.i64.load(this.#vcpu, at.pc)));
    f.br(must(this.#labels.reenter));
  }

  /**
   * One entry. What calls functions stands apart, behind a branch that is said to be unlikely: so the host keeps what the
   * others need in registers, instead of storing it for the calls that they do not make.
   */
  #step(): void {
    const f = this.#f;
    f.set(this.#budget, f.i32.sub(this.#budget.get, f.i32.const(1)));
    f.if(
      f.i32.compare('lt_s', this.#budget.get, f.i32.const(0)),
      () => {
        f.set(this.#budget, f.i32.const(0));
        f.i64.store(this.#vcpu, at.pc, this.#pc());
        this.#leave(f.i32.const(EXIT.budget));
      },
      undefined,
      'unlikely',
    );
    f.set(this.#word, f.i64.load(this.#entry.get));
    const operation = (): I32 => f.i32.and(this.#low, f.i32.const(1023));
    const { all, inline } = this.#operations;
    f.block((apart) => {
      const cases = [
        ...Array.from({ length: FIRST_OPERATION }, () => () => f.br(apart)),
        ...all.slice(0, inline).map((each) => () => this.#inline(each)),
      ];
      f.switch(operation(), cases, () => f.br(apart));
      f.unreachable();
    });
    // It is none of those, and so this is always the case; the host does not know.
    f.if(
      f.i32.ne(operation(), f.i32.const(FIRST_OPERATION)),
      () => {
        const specials = Array.from({ length: FIRST_OPERATION }, (_, i) => () => this.#special(i));
        const others = all.slice(inline).map((each) => () => this.#outOfLine(each));
        const between = Array.from({ length: inline }, () => () => f.unreachable());
        f.switch(operation(), [...specials, ...between, ...others], () => f.unreachable());
      },
      undefined,
      'unlikely',
    );
    f.unreachable();
  }

  #special(number: number): void {
    const f = this.#f;
    // None of these is an instruction of its own: the step is given back.
    const giveBack = (): void => f.set(this.#budget, f.i32.add(this.#budget.get, f.i32.const(1)));
    switch (number) {
      case SPECIAL.undecoded:
        giveBack();
        f.call(this.#fn('decode'), this.#vcpu, this.#entry.get, this.#pc());
        f.br(must(this.#labels.next));
        return;
      case SPECIAL.pageEnd:
        giveBack();
        f.if(f.i32.eqz(this.#uncounted.get), () => this.#leaveOut(1));
        f.set(this.#target, this.#pc());
        f.br(must(this.#labels.jump));
        return;
      case SPECIAL.straddle:
        giveBack();
        f.i64.store(this.#vcpu, at.pc, this.#pc());
        f.set(this.#entry, f.call(this.#fn('fetch_scratch'), this.#vcpu, this.#pc()) as Ptr);
        f.if(f.ptr.eqz(this.#entry.get), () => this.#fetchFailed(), undefined, 'unlikely');
        f.set(this.#delta, f.i64.load(this.#vcpu, at.fetchDelta));
        f.br(must(this.#labels.next));
        return;
      case SPECIAL.region:
        this.#region();
        return;
      case SPECIAL.breakpoint:
        giveBack();
        this.#passOrLeave(EXIT.breakpoint);
        return;
      case SPECIAL.overlay:
        giveBack();
        this.#overlay();
        return;
      default:
        f.i32.store(this.#vcpu, at.fault, f.i32.const(FAULT.illegal));
        f.i64.store(this.#vcpu, at.faultCause, f.i64.const(2));
        f.br(must(this.#labels.trap));
    }
  }

  #region(): void {
    const f = this.#f;
    f.set(this.#budget, f.i32.add(this.#budget.get, f.i32.const(1)));
    f.i64.store(this.#vcpu, at.pc, this.#pc());
    const number = f.convert('i32_wrap_i64', f.i64.shrU(this.#word.get, f.i64.const(ENTRY.immediate)));
    const index = f.i32.add(number, f.i32.const(REGION_TABLE));
    const left = f.local('i32');
    f.set(left, this.#budget.get);
    // The answer to a device access belongs to this instruction alone, and its interpreter.
    f.if(
      f.i32.eqz(f.i32.load(this.#vcpu, at.mmioAnswer)),
      () => {
        const call = f.callIndirect([f.module.pointerType, 'i32'], ['i32'], index, this.#vcpu, this.#budget.get);
        f.set(left, call as I32);
      },
      undefined,
      'likely',
    );
    f.if(
      f.i32.ne(left.get, this.#budget.get),
      () => {
        const done = f.convert('i64_extend_i32_u', f.i32.sub(this.#budget.get, left.get));
        f.i64.store(this.#vcpu, at.regionSteps, f.i64.add(f.i64.load(this.#vcpu, at.regionSteps), done));
        f.set(this.#budget, left.get);
        const isEnding = f.i32.compare('lt_s', left.get, f.i32.const(STEPS_LEFT_OUT));
        f.if(isEnding, () => this.#leaveOut(JUMPS_LEFT_OUT), undefined, 'unlikely');
        // Promoted code may have changed banks, and done something after which interrupts are looked at.
        f.brIf(must(this.#labels.reenter), f.i32.load(this.#vcpu, at.reenter), 'unlikely');
        this.#setBanks();
        f.set(this.#target, f.i64.load(this.#vcpu, at.pc));
        f.br(must(this.#labels.jump));
      },
      undefined,
      'likely',
    );
    // Nothing was done: this instruction is interpreted, by itself.
    f.set(this.#entry, f.call(this.#fn('fetch_scratch'), this.#vcpu, f.i64.load(this.#vcpu, at.pc)) as Ptr);
    f.if(f.ptr.eqz(this.#entry.get), () => this.#fetchFailed(), undefined, 'unlikely');
    f.set(this.#delta, f.i64.load(this.#vcpu, at.fetchDelta));
    f.br(must(this.#labels.next));
  }

  /**
   * An entry of the code overlay: a substitute whose executions are counted, the way out of a dropped overlay, or an
   * instruction that a policy traps and that has no substitute (yet).
   */
  #overlay(): void {
    const f = this.#f;
    const what = f.let(f.i64.shrU(this.#word.get, f.i64.const(ENTRY.immediate)));
    f.if(f.i64.gtU(what, f.i64.const(OVERLAY_ENTRY.trapped)), () => {
      const record = f.let(f.ptr.from64(what));
      f.call(this.#fn('count_substitute'), this.#vcpu, record, this.#pc());
      this.#executeInstead(f.i32.load(record, RECORD.bits), f.i64.load(record, RECORD.original));
    });
    f.if(f.i64.eq(what, f.i64.const(OVERLAY_ENTRY.leave)), () => {
      f.set(this.#target, this.#pc());
      f.call(this.#fn('forget_fetch'), this.#vcpu, this.#target.get);
      f.br(must(this.#labels.jump));
    });
    this.#passOrLeave(EXIT.trapped);
  }

  /** Leaves at this instruction; executes it if the caller said so (state.pass). */
  #passOrLeave(exit: number): void {
    const f = this.#f;
    const bits = f.let(
      f.convert('i32_wrap_i64', f.call(this.#fn('instruction_bits'), this.#vcpu, this.#entry.get, this.#pc()) as I64),
    );
    f.if(f.i32.load(this.#vcpu, at.pass), () => {
      f.i32.store(this.#vcpu, at.pass, f.i32.const(0));
      this.#executeInstead(bits, f.call(this.#fn('decode_bits'), bits) as I64);
    });
    f.call(this.#fn('tell_offence'), this.#vcpu, bits);
    f.i64.store(this.#vcpu, at.pc, this.#pc());
    this.#leave(f.i32.const(exit));
  }

  /** Goes on with this instruction in place of the entry's, at the same pc. */
  #executeInstead(bits: I32, word: I64): void {
    const f = this.#f;
    const pc = f.let(this.#pc());
    f.set(this.#entry, f.call(this.#fn('to_scratch'), this.#vcpu, pc, bits, word) as Ptr);
    f.set(this.#delta, f.i64.load(this.#vcpu, at.fetchDelta));
    f.br(must(this.#labels.next));
  }

  #inline(operation: Operation): void {
    const f = this.#f;
    if (this.#operations.isEmulated(operation.row)) countEmulated(f, this.#vcpu);
    const place: HandlerPlace = {
      low: this.#low,
      entry: this.#word.get,
      pc: () => this.#pc(),
      readBank: this.#readBank.get,
      writeBank: this.#writeBank.get,
      near: (delta) => {
        f.set(this.#entry, f.ptr.op('add', this.#entry.get, this.#signedDelta(delta)));
        f.brIf(must(this.#labels.next), f.i32.compare('gt_s', delta, f.i32.const(0)));
        f.br(must(this.#labels.back));
      },
      jump: (target) => {
        f.set(this.#target, target);
        f.br(must(this.#labels.jump));
      },
      ...(operation.row.kind === 'jump'
        ? { note: (target: I64) => noteJump(f, this.#vcpu, this.#entry.get, f.i64.sub(target, this.#pc())) }
        : {}),
      trap: () => f.br(must(this.#labels.trap)),
      leave: () => {
        f.i64.store(this.#vcpu, at.pc, f.i64.add(this.#pc(), f.i64.const(operation.bytes)));
        f.br(must(this.#labels.leave));
      },
    };
    const machine = new InterpreterMachine(f, this.#vcpu, this.#library, operation, place);
    operation.row.semantics(machine);
    if (!machine.hasEnded) this.#advance(operation.bytes);
  }

  #outOfLine(operation: Operation): void {
    const f = this.#f;
    const isSystem = operation.row.kind === 'csr' || operation.row.kind === 'system';
    if (isSystem) {
      f.i32.store(this.#vcpu, at.budgetLeft, this.#budget.get);
      this.#countSite(operation.row.kind === 'csr' ? 'siteThreshold' : 'exitThreshold');
    }
    const status = f.let(
      f.callIndirect(
        [f.module.pointerType, 'i64', 'i64'],
        ['i32'],
        f.i32.const(operation.number),
        this.#vcpu,
        this.#word.get,
        this.#pc(),
      ) as I32,
    );
    f.if(
      status,
      () => {
        if (isSystem) {
          f.brIf(must(this.#labels.reenter), f.i32.eq(status, f.i32.const(STATUS.jump)));
          f.brIf(must(this.#labels.leave), f.i32.eq(status, f.i32.const(STATUS.leave)));
        }
        f.br(must(this.#labels.trap));
      },
      undefined,
      'unlikely',
    );
    if (isSystem) {
      // Regions end before such an instruction, so what is behind it may begin one.
      f.set(this.#target, f.i64.add(this.#pc(), f.i64.const(operation.bytes)));
      f.br(must(this.#labels.jump));
    } else this.#advance(operation.bytes);
  }

  #advance(bytes: number): void {
    const f = this.#f;
    f.set(this.#entry, f.ptr.add(this.#entry.get, f.ptr.const(bytes * 4)));
    f.br(must(this.#labels.next));
  }

  /** The instruction at the entry faulted: trap, or leave to a device and come back to it. */
  #trap(): void {
    const f = this.#f;
    f.i64.store(this.#vcpu, at.pc, this.#pc());
    const fault = f.let(f.i32.load(this.#vcpu, at.fault));
    f.if(f.i32.eq(fault, f.i32.const(FAULT.leave)), () => {
      this.#countSite('exitThreshold');
      f.set(this.#budget, f.i32.add(this.#budget.get, f.i32.const(1)));
      f.i32.store(this.#vcpu, at.fault, f.i32.const(FAULT.none));
      this.#leave(f.i32.load(this.#vcpu, at.exitKind));
    });
    f.if(f.i32.eq(fault, f.i32.const(FAULT.illegal)), () => {
      const bits = f.let(f.call(this.#fn('instruction_bits'), this.#vcpu, this.#entry.get, this.#pc()) as I64);
      f.i64.store(this.#vcpu, at.faultTval, bits);
      if (this.#library.emulates) this.#leaveIfEmulated(bits);
    });
    this.#describeFault();
    this.#notRetired();
    f.call(this.#fn('take_trap'), this.#vcpu, this.#pc());
    f.br(must(this.#labels.reenter));
  }

  /** Hypervisors want to know what faulted. */
  #describeFault(): void {
    const f = this.#f;
    if (!this.#library.hasHypervisor) return;
    const bits = f.call(this.#fn('instruction_bits'), this.#vcpu, this.#entry.get, this.#pc()) as I64;
    f.call(this.#fn('describe_fault'), this.#vcpu, f.convert('i32_wrap_i64', bits));
  }

  /** Counts the sensitive instruction at hand, before it has an effect. */
  #countSite(threshold: 'siteThreshold' | 'exitThreshold'): void {
    const f = this.#f;
    const pc = f.let(this.#pc());
    countSite(f, this.#vcpu, pc, threshold, () => {
      f.i64.store(this.#vcpu, at.sitePc, pc);
      f.call(this.#told.sensitive, this.#vcpu);
    });
  }

  /** The hart is without this instruction, but its hypervisor emulates it: no trap yet. */
  #leaveIfEmulated(bits: I64): void {
    const f = this.#f;
    // One that a substitute stands for and that is illegal all the same (FS is off, say) traps.
    const isUnknown = f.i32.eq(f.i32.and(this.#low, f.i32.const(1023)), f.i32.const(SPECIAL.illegal));
    const isEmulated = f.call(this.#fn('is_emulated'), f.convert('i32_wrap_i64', bits)) as I32;
    f.if(f.i32.and(isUnknown, isEmulated), () => {
      f.set(this.#budget, f.i32.add(this.#budget.get, f.i32.const(1)));
      f.i32.store(this.#vcpu, at.fault, f.i32.const(FAULT.none));
      f.i64.store(this.#vcpu, at.exitValue, bits);
      this.#leave(f.i32.const(EXIT.illegal));
    });
  }

  /** Instructions that trap do not retire. */
  #notRetired(): void {
    this.#f.i64.store(
      this.#vcpu,
      at.instret,
      this.#f.i64.sub(this.#f.i64.load(this.#vcpu, at.instret), this.#f.i64.const(1)),
    );
  }

  /** Accounts for the steps of this call, and ends it. */
  #leave(exit: I32): void {
    const f = this.#f;
    f.i32.store(this.#vcpu, at.budgetLeft, this.#budget.get);
    const done = f.let(
      f.convert('i64_extend_i32_u', f.i32.sub(f.i32.load(this.#vcpu, at.budgetAtEntry), this.#budget.get)),
    );
    f.i64.store(this.#vcpu, at.steps, f.i64.add(f.i64.load(this.#vcpu, at.steps), done));
    f.i64.store(this.#vcpu, at.instret, f.i64.add(f.i64.load(this.#vcpu, at.instret), done));
    // Outside a run these two are equal: nothing is under way.
    f.i32.store(this.#vcpu, at.budgetAtEntry, f.i32.const(0));
    f.i32.store(this.#vcpu, at.budgetLeft, f.i32.const(0));
    f.return(exit);
  }

  #pc(): I64 {
    const f = this.#f;
    return f.i64.add(f.i64.shrU(f.ptr.to64(this.#entry.get), f.i64.const(2)), this.#delta.get);
  }

  #signedDelta(delta: I32): Ptr {
    const f = this.#f;
    return f.module.pointerType === 'i64'
      ? (f.convert('i64_extend_i32_s', delta) as unknown as Ptr)
      : (delta as unknown as Ptr);
  }

  #fn(name: string): FunctionRef {
    return this.#library.get(name);
  }
}
