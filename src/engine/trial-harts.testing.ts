/**
 * Harts that trials of shadows are made on (shadows.testing.ts, nested-shadows.testing.ts), by turns: each executes one of a few
 * instructions at the start of memory, in machine mode, and says where a trap leaves it. Pages of data hold their number, a
 * word to store to, and code that gives the number.
 */
import { assert, must } from '../base/assert.ts';
import { assemble, FEATURE, featuresOf, parseCpu } from '../isa/index.ts';
import { BareHart } from './engine.testing.ts';
import type { GuestPhysicalMap } from './guest-physical-map.ts';
import type { MachineMemory } from './machine-memory.ts';
import { FRAME_BYTES } from './memory-plan.ts';
import { address, TRIAL_RAM, word } from './pte-history.testing.ts';
import type { Random } from './random.testing.ts';
import type { ShadowOptions } from './shadows.ts';
import type { VcpuState } from './vcpu-state.ts';

/** Pages of RAM; those of data; where in these their number is, the word, the code. */
export const TRIAL_PAGES = 64;
export const [DATA, DATA_PAGES] = [32, 16];
export const [CODE_AT, NUMBER_AT, STORE_AT] = [0x800, 0, 16];
const HANDLER = 0x400;

export interface TrialMachine {
  readonly extensions: ReadonlySet<string>;
  readonly ramBase: number;
  readonly ramBytes: number;
}

/** Memory and extensions that a trial wants. */
export const TRIAL: TrialMachine = {
  extensions: parseCpu('rv64'),
  ramBase: TRIAL_RAM,
  ramBytes: TRIAL_PAGES * FRAME_BYTES,
};

/** The harts that a trial is made on. */
export interface ShadowHarts {
  readonly states: readonly VcpuState[];
  readonly memory: MachineMemory;
  readonly map: GuestPhysicalMap;
  /** Runs a hart for so many steps; `goesOn`: in the slice that it was in, if it need not come out. */
  run(hart: number, steps: number, goesOn: boolean): void;
  /** State that translation depends on was set. */
  changed(hart: number): void;
  write(gpa: number, bytes: Uint8Array): void;
  /** As the SBI does for another hart: of everything. */
  requestFence?(hart: number): void;
}

/** One hart with nothing around it. */
export function oneHart(
  options: ShadowOptions & { readonly width?: 32 | 64 },
  machine: TrialMachine = TRIAL,
): ShadowHarts {
  const hart = new BareHart({ ...machine, shadows: options, ...(options.width ? { width: options.width } : {}) });
  return {
    states: [hart.state],
    memory: hart.memory,
    map: hart.map,
    run: (_, steps) => hart.run(steps),
    changed: () => hart.processor.contextChanged(hart.at),
    write: (gpa, bytes) => hart.write(gpa, bytes),
  };
}

export interface SlotRegisters {
  readonly a0?: bigint;
  readonly a1?: bigint;
}

export class HartTurns {
  readonly harts: ShadowHarts;
  readonly #random: Random;
  readonly #slots: readonly string[];
  /** The hart whose turn it is. */
  turn = 0;
  #stamp = 0x1000;
  readonly trail: string[] = [];

  /** `slots`: the instructions; each is one of four bytes. Code and data are in memory then. */
  constructor(random: Random, harts: ShadowHarts, slots: readonly string[]) {
    this.#random = random;
    this.harts = harts;
    this.#slots = slots;
    harts.write(TRIAL_RAM, assemble(slots.join('\n'), BigInt(TRIAL_RAM)).bytes);
    harts.write(TRIAL_RAM + HANDLER, assemble('1: j 1b', BigInt(TRIAL_RAM + HANDLER)).bytes);
    for (let page = DATA; page < DATA + DATA_PAGES; page++) {
      harts.write(address(page) + NUMBER_AT, word(BigInt(page)));
      harts.write(address(page) + CODE_AT, assemble(`addi a0, x0, ${page}\necall`, 0n).bytes);
    }
  }

  /** All harts in machine mode, with `csrs`, and memory open to all modes. */
  start(extensions: ReadonlySet<string>, csrs: Partial<Pick<VcpuState, 'menvcfg' | 'henvcfg'>>): void {
    for (const [hart, state] of this.harts.states.entries()) {
      Object.assign(state, { mode: 3n, mtvec: BigInt(TRIAL_RAM + HANDLER), ...csrs });
      Object.assign(state, { pmpaddr0: (1n << 54n) - 1n, pmpcfg0: 0x1fn });
      state.features = (featuresOf(extensions) | FEATURE.svadu) & ~(FEATURE.sbi | FEATURE.sstc);
      this.harts.changed(hart);
    }
  }

  get state(): VcpuState {
    return must(this.harts.states[this.turn]);
  }

  addressOf(slot: string): number {
    const index = this.#slots.indexOf(slot);
    assert(index >= 0, slot);
    return TRIAL_RAM + index * 4;
  }

  /** From a slot on, so many steps. */
  execute(slot: string, registers: SlotRegisters = {}, steps = 1): void {
    const { state } = this;
    if (registers.a0 !== undefined) state.x[10] = BigInt.asUintN(64, registers.a0);
    if (registers.a1 !== undefined) state.x[11] = BigInt.asUintN(64, registers.a1);
    state.pc = BigInt(this.addressOf(slot));
    state.mcause = 0n;
    // A call of the SBI is for the runner.
    const mayGoOn = (state.features & FEATURE.sbi) === 0n;
    this.harts.run(this.turn, steps, mayGoOn && this.#random.chance(0.5));
  }

  note(line: string): void {
    this.trail.push(this.harts.states.length === 1 ? line : `hart ${this.turn}: ${line}`);
  }

  /** A word that nothing holds yet. */
  stamp(): bigint {
    return BigInt(++this.#stamp);
  }

  /** The page of data that it was stored to; -1: none. */
  whereIs(stamp: bigint): number {
    const { map, memory } = this.harts;
    for (let page = DATA; page < DATA + DATA_PAGES; page++)
      if (memory.u64[(map.host(address(page) / FRAME_BYTES, 'read') + STORE_AT) / 8] === stamp) return page;
    return -1;
  }
}
