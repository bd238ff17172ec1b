/** The directed cases of instructions on a hart of the engine. */
import {
  CASE_DATA,
  CASE_PC,
  CASE_RAM,
  CASE_VECTOR,
  type CaseMachine,
  type InstructionCase,
  initialData,
  initialF,
  initialX,
  type Outcome,
} from '../isa/cases/instruction-case.testing.ts';
import { parseCpu } from '../isa/index.ts';
import { BareHart, type BareHartOptions } from './engine.testing.ts';

const extensions = parseCpu('rv64');

export function engineMachine(
  width: 32 | 64,
  translate?: BareHartOptions['translate'],
): CaseMachine & { readonly hart: BareHart } {
  const ram = { ramBase: Number(CASE_RAM.base), ramBytes: CASE_RAM.sizeBytes };
  const hart = new BareHart({ extensions, ...ram, width, translate });
  const word = new Uint8Array(4);
  return {
    hart,
    run(instructionCase: InstructionCase): Outcome {
      const { state } = hart;
      hart.write(Number(CASE_DATA.base), initialData());
      for (let i = 0; i < 32; i++) {
        state.x[i] = initialX(instructionCase, i);
        state.f[i] = initialF(instructionCase, i);
      }
      state.mtvec = CASE_VECTOR;
      state.mode = 3n;
      state.mstatus = instructionCase.isFloatOn ? 1n << 13n : 0n;
      state.mcause = state.mtval = 0n;
      state.mepc = 0n;
      state.fflags = 0n;
      state.frm = BigInt(instructionCase.frm);
      state.reservationSize = 0n;
      state.hotCounters.fill(0);
      const start = Number(CASE_PC) - 4 * instructionCase.before.length;
      for (const [i, bits] of [...instructionCase.before, instructionCase.bits].entries()) {
        new DataView(word.buffer).setUint32(0, bits, true);
        const isLast = i === instructionCase.before.length;
        hart.write(start + 4 * i, isLast ? word.slice(0, instructionCase.length) : word);
      }
      state.pc = BigInt(start);
      hart.processor.contextChanged(hart.at);
      const retired = state.instret;
      hart.run(instructionCase.before.length + 1);
      const trapped = state.instret - retired !== BigInt(instructionCase.before.length + 1);
      return {
        pc: state.pc,
        trap: trapped ? { cause: Number(state.mcause), tval: state.mtval } : undefined,
        x: Array.from(state.x.subarray(0, 32)),
        f: Array.from(state.f),
        fflags: Number(state.fflags),
        isFloatDirty: (state.mstatus & (3n << 13n)) === 3n << 13n,
        data: hart.read(Number(CASE_DATA.base), CASE_DATA.sizeBytes),
      };
    },
  };
}

/** Kinds of rows whose outcome a bare hart cannot show: they leave the engine or change the mode. */
export const ELSEWHERE: ReadonlySet<string> = new Set(['system', 'csr']);
