/** The interpreter on the directed cases of every row, and in lockstep with the reference machine on random programs. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { must } from '../base/assert.ts';
import { casesOf, compressedCases } from '../isa/cases/generate.testing.ts';
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
import { referenceMachine } from '../isa/cases/reference-machine.testing.ts';
import { createDecoder, parseCpu } from '../isa/index.ts';
import { BareHart } from './engine.testing.ts';

const extensions = parseCpu('rv64');

function engineMachine(width: 32 | 64): CaseMachine {
  const hart = new BareHart({ extensions, ramBase: Number(CASE_RAM.base), ramBytes: CASE_RAM.sizeBytes, width });
  const word = new Uint8Array(4);
  return {
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

/** Cases whose outcome a bare hart cannot show: they leave the engine or change the mode. */
const ELSEWHERE = new Set(['system', 'csr']);

for (const width of [32, 64] as const) {
  test(`every row's directed cases agree with the reference machine (memory${width})`, () => {
    const engine = engineMachine(width);
    const reference = referenceMachine();
    const decoder = createDecoder(extensions);
    let count = 0;
    const check = (c: InstructionCase): void => {
      // One in eight is enough for the second width: the rows' code is the same.
      if (width === 64 && count % 8 !== 0) {
        count++;
        return;
      }
      assert.deepEqual(engine.run(c), reference.run(c), `${c.name} ${c.bits.toString(16)}`);
      count++;
    };
    for (const code of decoder.rows) if (!ELSEWHERE.has(code.row.kind)) for (const c of casesOf(code)) check(c);
    for (const c of compressedCases(decoder)) check(c);
    assert.ok(count > 1000, `${must(count)} cases`);
  });
}
