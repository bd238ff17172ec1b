/**
 * The emulation module: instructions that the hart is without and the hypervisor executes in its place, and
 * instructions that a policy traps. Where there are overlays, an instruction that was met once gets a substitute and
 * is seen here no more; without, every execution comes here (`--overlay off`). Its semantics are the rows' own, on the
 * vCPU's registers, with memory accessed as the vCPU itself would.
 */
import { assert } from '../base/assert.ts';
import {
  FAULT,
  type MachineMemory,
  type Offender,
  type Processor,
  TRAP_LOG_ENTRIES,
  USE,
  type VcpuState,
} from '../engine/index.ts';
import { type AccessSize, createDecoder, type Decoder, EXCEPTION, ReferenceHart } from '../isa/index.ts';
import type { Vcpu } from './vcpu.ts';

export interface EmulationOptions {
  /** What the hart has, and what is emulated for it. */
  readonly extensions: ReadonlySet<string>;
  readonly emulated: ReadonlySet<string>;
  /** Make overlays. */
  readonly overlay: boolean;
  /** Policies by row: the number, counted from 1, of those that trap an emulated instruction. */
  readonly policyOf: (row: string) => number | undefined;
}

/** A memory access of an emulated instruction cannot be finished here: the engine's exit says why. */
class Unfinished {}

/** The rows' semantics over a vCPU's state: registers directly, memory through the engine. */
class EmulatedHart extends ReferenceHart {
  readonly #processor: Processor;
  readonly #vcpu: Vcpu;

  constructor(decoder: Decoder, processor: Processor, vcpu: Vcpu) {
    const nowhere = { has: () => false, read: () => 0n, write: () => undefined };
    super({ state: vcpu.state, decoder, memory: nowhere });
    this.#processor = processor;
    this.#vcpu = vcpu;
  }

  override load(address: bigint, size: AccessSize, isSigned: boolean): bigint {
    const value = this.#processor.load(this.#vcpu.at, address, size);
    this.#check();
    return isSigned ? BigInt.asUintN(64, BigInt.asIntN(size * 8, value)) : value;
  }

  override store(address: bigint, size: AccessSize, value: bigint): void {
    this.#processor.store(this.#vcpu.at, address, size, value);
    this.#check();
  }

  #check(): void {
    const { state } = this.#vcpu;
    const fault = state.fault;
    state.fault = FAULT.none;
    if (fault === FAULT.none) return;
    if (fault === FAULT.leave) throw new Unfinished();
    this.raise(Number(state.faultCause), state.faultTval);
  }
}

export class Emulation {
  readonly #memory: MachineMemory;
  readonly #processor: Processor;
  readonly #vcpus: readonly Vcpu[];
  readonly #options: EmulationOptions;
  readonly #harts = new Map<Vcpu, EmulatedHart>();
  readonly #lastMet = new Map<Vcpu, { readonly pc: bigint; readonly steps: bigint; readonly use: number }>();
  #decoder: Decoder | undefined;

  constructor(memory: MachineMemory, processor: Processor, vcpus: readonly Vcpu[], options: EmulationOptions) {
    this.#memory = memory;
    this.#processor = processor;
    this.#vcpus = vcpus;
    this.#options = options;
  }

  /**
   * The vCPU met an instruction that is emulated: it gets a substitute, or is executed here, as one step. 'unfinished':
   * it reaches a device or memory that is used up (state.exitKind says which), and is to be tried again.
   */
  illegal(vcpu: Vcpu, bits: number): 'done' | 'unfinished' {
    const { state } = vcpu;
    const name = this.#knownDecoder.decode(bits)?.row.name;
    const policy = name === undefined ? undefined : this.#options.policyOf(name);
    if (this.#substitute(vcpu, { bits, use: USE.emulate })) {
      if (policy !== undefined) this.#substitute(vcpu, { bits, use: USE.policy, policy });
      return 'done';
    }
    const result = this.#execute(vcpu, bits);
    if (result === 'unfinished') return result;
    if (policy !== undefined) this.#count(vcpu, bits, policy, result.pc, result.mode);
    vcpu.hart.emulations++;
    state.steps += 1n;
    return 'done';
  }

  /** The vCPU is about to execute an instruction that a policy traps: it gets a substitute, or is counted and let pass. */
  trapped(vcpu: Vcpu, bits: number, policy: number): void {
    vcpu.hart.policyTraps++;
    if (this.#substitute(vcpu, { bits, use: USE.policy, policy })) return;
    this.#count(vcpu, bits, policy, vcpu.state.pc, vcpu.state.mode);
    vcpu.state.pass = 1;
  }

  /** A breakpoint is wanted in the frame that the vCPU is about to execute. False: there is no place yet. */
  provide(vcpu: Vcpu): boolean {
    const address = this.#processor.fetchAddress(vcpu.at, vcpu.state, vcpu.state.pc);
    // It faults now, or its page has no entries: the next run will tell.
    if (address === undefined) return true;
    return this.#memory.overlays.provide(vcpu.state.partition, address, this.#isForgotten(vcpu));
  }

  #substitute(vcpu: Vcpu, what: Omit<Offender, 'partition' | 'address'>): boolean {
    const { state } = vcpu;
    if (!this.#options.overlay) return false;
    // A substitute that did not help the vCPU on (its entry was another hart's, say) is not tried twice in a row.
    const met = this.#lastMet.get(vcpu);
    if (met?.pc === state.pc && met.steps === state.steps && met.use === what.use) return false;
    this.#lastMet.set(vcpu, { pc: state.pc, steps: state.steps, use: what.use });
    const address = this.#processor.fetchAddress(vcpu.at, state, state.pc);
    if (address === undefined) return false;
    const offender = { ...what, partition: state.partition, address };
    if (!this.#memory.overlays.substitute(offender, this.#isForgotten(vcpu))) return false;
    vcpu.forgetTranslations();
    return true;
  }

  /** The vCPU itself is outside the engine: what it has seen last it forgets here. */
  #isForgotten(self: Vcpu): (epoch: number) => boolean {
    return (epoch) => {
      self.acknowledgeOverlays();
      return this.#vcpus.every((vcpu) => vcpu.hasForgottenOverlay(epoch));
    };
  }

  #execute(vcpu: Vcpu, bits: number): 'unfinished' | { pc: bigint; mode: bigint } {
    const { state } = vcpu;
    const { pc, mode } = state;
    this.#processor.settleContext(vcpu.at, state);
    try {
      const execution = this.#hart(vcpu).executeBits(bits);
      const illegal = { cause: EXCEPTION.illegalInstruction, tval: BigInt(bits) };
      if (execution === undefined) this.#processor.raise(vcpu.at, state, bits, illegal);
      else if (execution.kind === 'raised') this.#processor.raise(vcpu.at, state, bits, execution);
      else assert(execution.kind === 'retired', 'emulated instructions stay in the hart');
    } catch (error) {
      if (!(error instanceof Unfinished)) throw error;
      return 'unfinished';
    }
    return { pc, mode };
  }

  /** What a substitute does in generated code (count_substitute). */
  #count({ state }: { readonly state: VcpuState }, bits: number, policy: number, pc: bigint, mode: bigint): void {
    state.policyCounts[policy - 1] = (state.policyCounts[policy - 1] ?? 0n) + 1n;
    const at = (state.trapLogNext & (TRAP_LOG_ENTRIES - 1)) * 2;
    state.trapLog[at] = pc;
    state.trapLog[at + 1] = (mode << 48n) | (BigInt(policy) << 32n) | BigInt(bits);
    state.trapLogNext = (state.trapLogNext + 1) >>> 0;
  }

  #hart(vcpu: Vcpu): EmulatedHart {
    const made = this.#harts.get(vcpu) ?? new EmulatedHart(this.#knownDecoder, this.#processor, vcpu);
    this.#harts.set(vcpu, made);
    return made;
  }

  /** Made when first needed: it takes a moment. */
  get #knownDecoder(): Decoder {
    this.#decoder ??= createDecoder(new Set([...this.#options.extensions, ...this.#options.emulated]));
    return this.#decoder;
  }
}
