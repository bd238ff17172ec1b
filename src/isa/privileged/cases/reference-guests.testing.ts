/** The reference machine as one that runs GuestPrograms. */
import { must } from '../../../base/assert.ts';
import { CSR_BY_NAME, writeCsr } from '../../csr/index.ts';
import { createDecoder } from '../../decoder.ts';
import { featuresOf, parseCpu } from '../../extensions.ts';
import { Ram, ReferenceHart, resetState } from '../../reference/index.ts';
import { type GuestProgram, INPUT_CSRS, OUTPUT_CSRS, PROGRAM } from './guest-program.testing.ts';

export interface GuestOutcome {
  /** OUTPUT_CSRS by name, as M-mode reads them. */
  readonly csrs: Readonly<Record<string, bigint>>;
  readonly x: readonly bigint[];
  /** The program's entries. */
  readonly memory: readonly bigint[];
}

const RAM = 0x8000_0000n;
const RAM_BYTES = 0x200_0000;
const CODE_BYTES = 0x1_0000;
const HANDLER = 0x8020_0000n;
const C_EBREAK = 0x9002;
const MOST_STEPS = 200;
const ALL = (1n << 64n) - 1n;

const extensions = parseCpu('rv64,h=on,smstateen=on');
const decoder = createDecoder(extensions);

/** Runs programs one after the other; undefined for one that does not come back to M-mode, or waits. */
export function referenceGuests(): (program: GuestProgram) => GuestOutcome | undefined {
  const memory = new Ram(RAM, RAM_BYTES);
  for (let at = 0; at < CODE_BYTES; at += 2) memory.write(RAM + BigInt(at), 2, BigInt(C_EBREAK));
  return (program) => {
    const state = resetState(PROGRAM - 4n, featuresOf(extensions));
    Object.assign(state, { mtvec: HANDLER, pmpaddr0: (1n << 54n) - 1n, pmpcfg0: 0x1fn, stimecmp: ALL, vstimecmp: ALL });
    const hart = new ReferenceHart({ state, decoder, memory });
    for (const [i, name] of INPUT_CSRS.entries())
      writeCsr(hart, must(CSR_BY_NAME.get(name)), program.csrs[i] ?? 0n, ALL);
    for (let i = 0; i < 16; i++)
      memory.write(PROGRAM - 4n + BigInt(4 * i), 4, BigInt((program.words[i] ?? C_EBREAK * 0x1_0001) >>> 0));
    for (const [address, value] of program.entries) memory.write(address, 8, value);
    for (let i = 1; i < 32; i++) state.x[i] = program.x[i] ?? 0n;
    const isBack = enter(hart);
    const outcome: GuestOutcome = {
      csrs: Object.fromEntries(OUTPUT_CSRS.map((name) => [name, must(CSR_BY_NAME.get(name)).read(hart)])),
      x: Array.from(state.x.subarray(0, 32)),
      memory: program.entries.map(([address]) => memory.read(address, 8)),
    };
    for (const [address] of program.entries) memory.write(address, 8, 0n);
    return isBack ? outcome : undefined;
  };
}

function enter(hart: ReferenceHart): boolean {
  for (let i = 0; i < MOST_STEPS; i++) {
    const step = hart.step();
    if (step.kind === 'left') return false;
    if (step.kind === 'trapped' && hart.registers.mode === 3n) return true;
  }
  return false;
}
