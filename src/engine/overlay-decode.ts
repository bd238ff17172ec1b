/** What the decoder of generated code knows of overlays: which instructions are trapped, emulated, or stood for. */
import type { FunctionBuilder, FunctionRef, I32, I64, ModuleBuilder, Ptr } from '../wasm/index.ts';
import { PLAN, RECORD, USE } from './memory-plan.ts';
import { ENTRY, SPECIAL } from './operations.ts';
import { vcpuState } from './vcpu-state.ts';
import type { Library } from './wasm-machine.ts';

const at = vcpuState.offset;

/** Defines is_emulated, policy_of, apply_record and tell_offence; decode_bits and decode_emulated are there. */
export function defineSubstitutes(module: ModuleBuilder, library: Library): void {
  const P = module.pointerType;
  if (library.emulates) defineIsEmulated(module, library);

  // policy_of(entry): the policy that traps this instruction, counted from 1; 0: none.
  const policyOf = module.function('policy_of', ['i64'], ['i32'], definePolicyOf);
  library.set('policy_of', policyOf);

  // apply_record(record, bits): the entry that the substitute of this record stands for; 0: it does not apply.
  const decodeBits = library.get('decode_bits');
  const decodeEmulated = library.get('decode_emulated');
  library.set(
    'apply_record',
    module.function('apply_record', [P, 'i32'], ['i64'], (f) => defineApplyRecord(f, { decodeBits, decodeEmulated })),
  );

  // tell_offence(vcpu, bits): the operands of an exit at this instruction.
  library.set(
    'tell_offence',
    module.function('tell_offence', [P, 'i32'], [], (f) => {
      const vcpu = f.param<Ptr>(0).get;
      const bits = f.param<I32>(1).get;
      f.i64.store(vcpu, at.exitValue, f.convert('i64_extend_i32_u', bits));
      const policy = f.call(policyOf, f.call(decodeBits, bits)) as I32;
      f.i64.store(vcpu, at.exitGpa, f.convert('i64_extend_i32_u', policy));
    }),
  );
}

/** is_emulated(bits): 1 for an instruction that the hart is without and that is emulated for it. */
function defineIsEmulated(module: ModuleBuilder, library: Library): void {
  library.set(
    'is_emulated',
    module.function('is_emulated', ['i32'], ['i32'], (f) => {
      const { i32 } = f;
      const operation = (decoder: string): I32 =>
        i32.and(f.convert('i32_wrap_i64', f.call(library.get(decoder), f.param<I32>(0).get) as I64), i32.const(1023));
      const isOwn = f.let(i32.ne(operation('decode_bits'), i32.const(SPECIAL.illegal)));
      f.return(i32.and(i32.eqz(isOwn), i32.ne(operation('decode_emulated'), i32.const(SPECIAL.illegal))));
    }),
  );
}

/** A CSR's policy comes before a row's. */
function definePolicyOf(f: FunctionBuilder): void {
  const { i32, i64 } = f;
  const entry = f.param<I64>(0).get;
  const operation = f.let(i32.and(f.convert('i32_wrap_i64', entry), i32.const(1023)));
  f.if(i32.load8U(f.ptr.from32(operation), PLAN.csrRows), () => {
    const csr = i32.and(f.convert('i32_wrap_i64', i64.shrU(entry, i64.const(ENTRY.immediate))), i32.const(4095));
    const policy = f.let(i32.load8U(f.ptr.from32(csr), PLAN.policyCsrs));
    f.if(policy, () => f.return(policy));
  });
  f.return(i32.load8U(f.ptr.from32(operation), PLAN.policyRows));
}

/** apply_record(record, bits): see above. What counts or logs each execution goes by way of the record. */
function defineApplyRecord(
  f: FunctionBuilder,
  decoders: { readonly decodeBits: FunctionRef; readonly decodeEmulated: FunctionRef },
): void {
  const { i32, i64 } = f;
  const record = f.param<Ptr>(0).get;
  const bits = f.param<I32>(1).get;
  const uses = f.let(i32.load8U(record, RECORD.uses));
  const has = (use: number): I32 => i32.and(uses, i32.const(use));
  f.if(has(USE.breakpoint), () => f.return(i64.const(SPECIAL.breakpoint)));
  f.if(i32.ne(i32.load(record, RECORD.bits), bits), () => f.return(i64.const(0)));
  const entry = f.local('i64');
  f.if(
    has(USE.emulate),
    () => f.set(entry, f.call(decoders.decodeEmulated, bits) as I64),
    () => f.set(entry, f.call(decoders.decodeBits, bits) as I64),
  );
  i64.store(record, RECORD.original, entry.get);
  const operation = i32.and(f.convert('i32_wrap_i64', entry.get), i32.const(1023));
  const countsItself = i32.ne(i32.load8U(f.ptr.from32(operation), PLAN.emulationFlags), i32.const(0));
  f.if(i32.or(has(USE.policy), i32.eqz(countsItself)), () =>
    f.return(i64.or(i64.const(SPECIAL.overlay), i64.shl(f.ptr.to64(record), i64.const(ENTRY.immediate)))),
  );
  f.return(entry.get);
}

/** SPECIAL.overlay with what its immediate says. */
export function overlayEntry(f: FunctionBuilder, what: number): I64 {
  return f.i64.const((BigInt(what) << BigInt(ENTRY.immediate)) | BigInt(SPECIAL.overlay));
}
