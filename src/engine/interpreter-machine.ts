/**
 * The abstract machine for the interpreter: operands come from the fields of a decoded entry at run time, registers
 * live in the vCPU's block. Used for handlers inside the dispatch loop and for functions called from it.
 */
import { must } from '../base/assert.ts';
import type { AccessSize } from '../isa/index.ts';
import type { FunctionBuilder, I32, I64, Ptr } from '../wasm/index.ts';
import { ENTRY, type Operation } from './operations.ts';
import { EXIT, type ExitName, TLB_ENTRIES, vcpuState } from './vcpu-state.ts';
import { type Library, WasmMachine } from './wasm-machine.ts';

const at = vcpuState.offset;

/** Where a handler stands: what it can reach, and how it ends. */
export interface HandlerPlace {
  /** The entry's low 32 bits, and the whole. */
  readonly low: I32;
  readonly entry: I64;
  /** Builds the pc of this instruction. */
  pc(): I64;
  /** Banks for inline translation; without them accesses call the slow path at once. */
  readonly readBank?: Ptr;
  readonly writeBank?: Ptr;
  /** Goes on at an entry `delta` bytes away in the same page, at a pc, to the trap, out of the engine. */
  near(delta: I32): void;
  jump(target: I64): void;
  /** Remembers where a jump to a register goes. */
  note?(target: I64): void;
  trap(): void;
  leave(exit: ExitName): void;
}

export class InterpreterMachine extends WasmMachine {
  readonly #operation: Operation;
  readonly #place: HandlerPlace;
  /** Set once the row has said where execution goes on. */
  hasEnded = false;

  constructor(f: FunctionBuilder, vcpu: Ptr, library: Library, operation: Operation, place: HandlerPlace) {
    super(f, vcpu, library);
    this.#operation = operation;
    this.#place = place;
  }

  rs1(): I64 {
    return this.f.i64.load(this.#register('rs1'), at.x);
  }
  rs2(): I64 {
    return this.f.i64.load(this.#register('rs2'), at.x);
  }
  rd(value: I64): void {
    this.f.i64.store(this.#register('rd'), at.x, value);
  }
  frs1(): I64 {
    return this.f.i64.load(this.#register('rs1'), at.f);
  }
  frs2(): I64 {
    return this.f.i64.load(this.#register('rs2'), at.f);
  }
  frs3(): I64 {
    const { f } = this;
    const field = f.i32.shl(
      f.convert('i32_wrap_i64', f.i64.shrU(this.#place.entry, f.i64.const(ENTRY.immediate))),
      f.i32.const(3),
    );
    return f.i64.load(f.ptr.add(this.vcpu, f.ptr.from32(field)), at.f);
  }
  writeFrd(value: I64): void {
    this.f.i64.store(this.#register('rd'), at.f, value);
  }
  imm(): I64 {
    // Near forms hold the distance in entries' bytes, four times as many.
    const scale = this.#operation.isNear ? 2 : 0;
    return this.f.i64.shrS(this.#place.entry, this.f.i64.const(ENTRY.immediate + scale));
  }
  zimm(): I64 {
    return this.f.convert('i64_extend_i32_u', this.#field('rs1', 31));
  }
  rmField(): I32 {
    return this.#field('rm', 7);
  }
  csrField(): I32 {
    return this.f.convert('i32_wrap_i64', this.imm());
  }
  rdIsNotZero(): I32 {
    // The decoder puts 32 in place of x0.
    return this.f.i32.ne(this.#field('rd', 63), this.f.i32.const(32));
  }
  rs1IsNotZero(): I32 {
    return this.f.i32.ne(this.#field('rs1', 31), this.f.i32.const(0));
  }
  rs2IsNotZero(): I32 {
    return this.f.i32.ne(this.#field('rs2', 31), this.f.i32.const(0));
  }
  pc(): I64 {
    return this.#place.pc();
  }
  next(): I64 {
    return this.f.i64.add(this.#place.pc(), this.f.i64.const(this.#operation.bytes));
  }

  branch(c: I32): void {
    this.f.if(c, () => this.jump());
    this.hasEnded = false;
  }
  jump(): void {
    const { f } = this;
    if (!this.library.hasCompressed) this.requireTarget(f.i64.add(this.#place.pc(), this.imm()));
    if (this.#operation.isNear)
      this.#place.near(f.convert('i32_wrap_i64', f.i64.shrU(this.#place.entry, f.i64.const(ENTRY.immediate))));
    else this.#place.jump(f.i64.add(this.#place.pc(), this.imm()));
    this.hasEnded = true;
  }
  jumpTo(target: I64): void {
    this.#place.note?.(target);
    this.#place.jump(target);
    this.hasEnded = true;
  }

  load(address: I64, size: AccessSize, signed: boolean): I64 {
    const { f } = this;
    const va = f.let(address);
    const out = f.local('i64');
    const slow = (): void => {
      f.set(out, f.call(this.fn('load_slow'), this.vcpu, va, f.i32.const(size)) as I64);
      this.abortIfFault();
      if (signed && size < 8) f.set(out, this.#extend(out.get, size));
    };
    if (this.#place.readBank === undefined) slow();
    else {
      const { entry, isHit } = this.#probe(this.#place.readBank, va, size);
      f.if(
        isHit,
        () => f.set(out, f.i64.loadSized(f.ptr.add(f.ptr.from64(va), f.ptr.load(entry, 8)), 0, size, signed)),
        slow,
        'likely',
      );
    }
    return out.get;
  }

  store(address: I64, size: AccessSize, value: I64): void {
    const { f } = this;
    const va = f.let(address);
    const slow = (): void => {
      f.call(this.fn('store_slow'), this.vcpu, va, f.i32.const(size), value);
      this.abortIfFault();
    };
    if (this.#place.writeBank === undefined) {
      slow();
      return;
    }
    const { entry, isHit } = this.#probe(this.#place.writeBank, va, size);
    f.if(
      isHit,
      () => f.i64.storeSized(f.ptr.add(f.ptr.from64(va), f.ptr.load(entry, 8)), 0, size, value),
      slow,
      'likely',
    );
  }

  abort(): void {
    this.#place.trap();
  }
  leaveWith(exit: ExitName): void {
    this.set32('exitKind', this.f.i32.const(EXIT[exit]));
    this.#place.leave(exit);
    this.hasEnded = true;
  }

  /** Own writes to code are noticed at once; those of other vCPUs once they have looked up (code-pages.ts). */
  fenceInstruction(): void {
    this.f.atomicFence();
    this.f.if(this.get32('hasPeers'), () => this.leaveWith('fenceInstruction'), undefined, 'unlikely');
    this.hasEnded = false;
  }

  /** The entry of the page of the first byte, with the page of the last one compared: an access that crosses misses. */
  #probe(bank: Ptr, va: I64, size: number): { entry: Ptr; isHit: I32 } {
    const { f } = this;
    const entry = f.let(
      f.ptr.add(
        bank,
        f.ptr.from32(
          f.i32.and(f.convert('i32_wrap_i64', f.i64.shrU(va, f.i64.const(8))), f.i32.const((TLB_ENTRIES - 1) * 16)),
        ),
      ),
    );
    const last = size === 1 ? va : f.i64.add(va, f.i64.const(size - 1));
    return { entry, isHit: f.i64.eq(f.i64.load(entry), f.i64.and(last, f.i64.const(-4096))) };
  }

  #extend(value: I64, size: AccessSize): I64 {
    return size === 4 ? this.sext32(value) : size === 2 ? this.sext16(value) : this.sext8(value);
  }

  #field(name: 'rd' | 'rs1' | 'rs2' | 'rm', mask: number): I32 {
    return this.f.i32.and(this.f.i32.shrU(this.#place.low, this.f.i32.const(ENTRY[name])), this.f.i32.const(mask));
  }

  /** The block's address plus eight times the field: a register relative to the file's offset. */
  #register(name: 'rd' | 'rs1' | 'rs2'): Ptr {
    const { f } = this;
    const scaled = f.i32.and(
      f.i32.shrU(this.#place.low, f.i32.const(ENTRY[name] - 3)),
      f.i32.const(name === 'rd' ? 0x1f8 : 0xf8),
    );
    return f.ptr.add(this.vcpu, f.ptr.from32(scaled));
  }
}

/** Statuses of a handler that is a function of its own. */
export const STATUS = { next: 0, jump: 1, trap: 2, leave: 3 } as const;

/**
 * Defines the function of a row that is not worth a place in the dispatch loop:
 * (vcpu, entry, pc) -> status. Jumps leave their target in the block's pc.
 */
export function buildFunction(f: FunctionBuilder, library: Library, operation: Operation): void {
  const vcpu = f.param<Ptr>(0).get;
  const entry = f.param<I64>(1).get;
  const pc = f.param<I64>(2).get;
  const low = f.let(f.convert('i32_wrap_i64', entry));
  const isSystem = operation.row.kind === 'csr' || operation.row.kind === 'system';
  const status = (value: number): void => f.return(f.i32.const(value));
  const place: HandlerPlace = {
    low,
    entry,
    pc: () => pc,
    near: () => must(undefined, 'no near jumps in functions'),
    jump: (target) => {
      f.i64.store(vcpu, at.pc, target);
      f.i32.store(vcpu, at.reenter, f.i32.const(1));
    },
    trap: () => status(STATUS.trap),
    leave: () => status(STATUS.leave),
  };
  const machine = new InterpreterMachine(f, vcpu, library, operation, place);
  // What leaves the engine goes on behind the instruction, unless it jumps.
  if (isSystem) f.i64.store(vcpu, at.pc, machine.next());
  operation.row.semantics(machine);
  if (isSystem) {
    f.if(f.i32.load(vcpu, at.reenter), () => {
      f.i32.store(vcpu, at.reenter, f.i32.const(0));
      status(STATUS.jump);
    });
  }
  status(STATUS.next);
}
