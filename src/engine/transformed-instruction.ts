/**
 * What htinst and mtinst say of a load's or store's fault: the instruction, transformed. Hypervisor extension, "Transformed
 * Instruction or Pseudoinstruction for mtinst or htinst": immediates are zero, and in the place of rs1 stands how far the
 * address that failed lies behind the access's own. A compressed instruction is the one that it is short for, with bit 1
 * zero.
 *
 *   load   0            offset funct3 rd  opcode        store  0 rs2 offset funct3 0 opcode
 *   LR, SC, AMO, hlv, hsv: all but rs1 stays
 *
 * Told of accesses that are a guest's; for others the manual allows zero.
 */
import type { FunctionBuilder, I32, ModuleBuilder, Ptr } from '../wasm/index.ts';
import { PLAN } from './memory-plan.ts';
import { isVirtual } from './status-areas.ts';
import { vcpuState } from './vcpu-state.ts';
import type { Library } from './wasm-machine.ts';

const at = vcpuState.offset;
const OPCODE = {
  ...{ load: 0x03, loadFloat: 0x07, store: 0x23, storeFloat: 0x27 },
  ...{ amo: 0x2f, system: 0x73, cacheBlock: 0x0f },
} as const;
/** What stays of loads, of stores, of cache-block instructions (which tell no offset), of all others. */
const KEPT = { load: 0x7fff, store: 0x01f0_707f, cacheBlock: 0xfff0_707f | 0, other: ~0xf_8000 } as const;
const MPRV = 1n << 17n;
const MPV = 1n << 39n;
const MPP_SHIFT = 11;

/**
 * describe_fault(vcpu, bits): for the trap that is about to be taken, of the load or store that faulted: faultInstruction,
 * and faultIsGuests: 1 if the access was a guest's, though V is 0. The registers are as they were before it.
 */
export function defineDescribeFault(module: ModuleBuilder, library: Library): void {
  const P = module.pointerType;
  module.define(library.declarer(module)('describe_fault', [P, 'i32'], []), (f) => {
    const { i32, i64 } = f;
    const vcpu = f.param<Ptr>(0).get;
    const bits = f.param<I32>(1).get;
    const isShort = f.let(i32.ne(i32.and(bits, i32.const(3)), i32.const(3)));
    const word = f.local('i32');
    f.set(word, bits);
    const expansion = f.ptr.from32(i32.shl(i32.and(bits, i32.const(0xffff)), i32.const(2)));
    f.if(isShort, () => f.set(word, i32.load(expansion, PLAN.expansions)));
    const is = (...codes: number[]): I32 =>
      codes.map((code) => i32.eq(i32.and(word.get, i32.const(0x7f)), i32.const(code))).reduce((a, b) => i32.or(a, b));
    const kept = f.local('i32');
    const immediate = f.local('i32');
    f.set(kept, i32.const(0));
    f.set(immediate, i32.const(0));
    f.if(is(OPCODE.load, OPCODE.loadFloat), () => {
      f.set(kept, i32.and(word.get, i32.const(KEPT.load)));
      f.set(immediate, i32.op('shr_s', word.get, i32.const(20)));
    });
    f.if(is(OPCODE.store, OPCODE.storeFloat), () => {
      f.set(kept, i32.and(word.get, i32.const(KEPT.store)));
      const low = i32.and(i32.shrU(word.get, i32.const(7)), i32.const(31));
      f.set(immediate, i32.or(i32.shl(i32.op('shr_s', word.get, i32.const(25)), i32.const(5)), low));
    });
    f.if(is(OPCODE.amo, OPCODE.system), () => f.set(kept, i32.and(word.get, i32.const(KEPT.other))));
    const register = i32.and(i32.shrU(word.get, i32.const(15)), i32.const(31));
    const base = i64.load(f.ptr.add(vcpu, f.ptr.from32(i32.shl(register, i32.const(3)))), at.x);
    const address = i64.add(base, f.convert('i64_extend_i32_s', immediate.get));
    const behind = f.convert('i32_wrap_i64', i64.sub(i64.load(vcpu, at.faultTval), address));
    const offset = i32.shl(i32.and(behind, i32.const(31)), i32.const(15));
    f.if(is(OPCODE.cacheBlock), () => f.set(kept, i32.and(word.get, i32.const(KEPT.cacheBlock))));
    const transformed = f.let(i32.or(kept.get, f.select(is(OPCODE.cacheBlock), i32.const(0), offset)));
    const short = i32.and(transformed, i32.const(~2));
    const isGuests = f.let(i32.or(is(OPCODE.system), hasGuestsRights(f, vcpu)));
    const isTold = i32.and(i32.ne(kept.get, i32.const(0)), i32.or(isGuests, isVirtual(f, vcpu)));
    const told = f.select(isTold, f.select(isShort, short, transformed), i32.const(0));
    i64.store(vcpu, at.faultInstruction, f.convert('i64_extend_i32_u', told));
    i64.store(vcpu, at.faultIsGuests, f.convert('i64_extend_i32_u', isGuests));
  });
}

/** In machine mode, MPRV and MPV: loads and stores are a guest's. */
function hasGuestsRights(f: FunctionBuilder, vcpu: Ptr): I32 {
  const { i32, i64 } = f;
  const status = f.let(i64.load(vcpu, at.mstatus));
  const isBoth = i64.eq(i64.and(status, i64.const(MPRV | MPV)), i64.const(MPRV | MPV));
  const mode = i64.and(i64.shrU(status, i64.const(MPP_SHIFT)), i64.const(3));
  const isMachine = i64.eq(i64.load(vcpu, at.mode), i64.const(3));
  return i32.and(i32.and(isMachine, isBoth), i64.ne(mode, i64.const(3)));
}
