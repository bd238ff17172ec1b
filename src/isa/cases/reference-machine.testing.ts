/** The reference machine as a machine that runs cases. */
import { must } from '../../base/assert.ts';
import { createDecoder } from '../decoder.ts';
import { DEFAULT_EXTENSIONS, featuresOf } from '../extensions.ts';
import { Ram, ReferenceHart, resetState } from '../reference/index.ts';
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
} from './instruction-case.testing.ts';

const FS_INITIAL = 1n << 13n;
const FS_DIRTY = 3n << 13n;

export function referenceMachine(extensions: ReadonlySet<string> = DEFAULT_EXTENSIONS): CaseMachine {
  const memory = new Ram(CASE_RAM.base, CASE_RAM.sizeBytes);
  const registers = resetState(CASE_PC, featuresOf(extensions));
  const hart = new ReferenceHart({ state: registers, decoder: createDecoder(extensions), memory });
  const data = memory.bytes.subarray(Number(CASE_DATA.base - CASE_RAM.base)).subarray(0, CASE_DATA.sizeBytes);
  const pattern = initialData();
  return {
    run(instructionCase): Outcome {
      data.set(pattern);
      for (let i = 0; i < 32; i++) {
        registers.x[i] = initialX(instructionCase, i);
        registers.f[i] = initialF(instructionCase, i);
      }
      registers.mtvec = CASE_VECTOR;
      registers.mstatus = instructionCase.isFloatOn ? FS_INITIAL : 0n;
      registers.fflags = 0n;
      registers.frm = BigInt(instructionCase.frm);
      registers.reservationSize = 0n;
      registers.pc = place(memory, instructionCase);
      let trap: Outcome['trap'];
      while (registers.pc <= CASE_PC) {
        const last = registers.pc === CASE_PC;
        const step = hart.step();
        if (step.kind === 'trapped') trap = { cause: step.cause, tval: step.tval };
        if (last || trap) break;
      }
      return {
        pc: registers.pc,
        trap,
        x: Array.from(registers.x.subarray(0, 32)),
        f: Array.from(registers.f),
        fflags: Number(registers.fflags),
        isFloatDirty: (registers.mstatus & FS_DIRTY) === FS_DIRTY,
        data: data.slice(),
      };
    },
  };
}

/** Writes the instructions so that the last one lies at CASE_PC; gives the address of the first. */
function place(memory: Ram, { before, bits, length }: InstructionCase): bigint {
  const start = CASE_PC - BigInt(4 * before.length);
  for (const [i, word] of before.entries()) memory.write(start + BigInt(4 * i), 4, BigInt(must(word)));
  memory.write(CASE_PC, length, BigInt(bits));
  return start;
}
