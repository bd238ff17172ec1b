/**
 * Emulated instructions against the reference machine that has them: directed cases of every row that can be emulated,
 * and random programs with traps, page tables and self-modifying code; by overlay and by trap.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BareHart } from '../engine/engine.testing.ts';
import { FRAME_BYTES, REQUEST } from '../engine/index.ts';
import { Lockstep } from '../engine/lockstep.testing.ts';
import { casesOf, compressedCases } from '../isa/cases/generate.testing.ts';
import {
  CASE_DATA,
  CASE_PC,
  CASE_RAM,
  CASE_VECTOR,
  type InstructionCase,
  initialData,
  initialF,
  initialX,
  type Outcome,
} from '../isa/cases/instruction-case.testing.ts';
import { referenceMachine } from '../isa/cases/reference-machine.testing.ts';
import { createDecoder, EMULATED_EXTENSIONS, parseCpuModel } from '../isa/index.ts';
import { translating } from '../translator/translation.testing.ts';
import { emulationOf, lockstepEmulation } from './emulation.testing.ts';

/** Without everything that can be emulated. */
const CPU = `rv64,${[...EMULATED_EXTENSIONS].map((name) => `${name}=emulate`).join(',')}`;
const model = parseCpuModel(CPU);
const everything = new Set([...model.extensions, ...model.emulated]);

for (const overlays of [8, 0]) {
  const how = overlays > 0 ? 'by overlay' : 'by trap';
  test(`directed cases of every row that can be emulated, ${how}`, () => {
    const hart = new BareHart({
      ...{ ...model, overlays, ramBase: Number(CASE_RAM.base), ramBytes: CASE_RAM.sizeBytes, blockBytes: 4096 },
    });
    const { vcpu, answer } = emulationOf(hart, model, overlays > 0);
    const reference = referenceMachine();
    let count = 0;
    let met = 0;
    const run = (c: InstructionCase): Outcome => {
      const { state } = hart;
      hart.write(Number(CASE_DATA.base), initialData());
      for (let i = 0; i < 32; i++) {
        state.x[i] = initialX(c, i);
        state.f[i] = initialF(c, i);
      }
      Object.assign(state, { mtvec: CASE_VECTOR, mode: 3n, mcause: 0n, mtval: 0n, mepc: 0n, fflags: 0n });
      state.mstatus = c.isFloatOn ? 1n << 13n : 0n;
      state.frm = BigInt(c.frm);
      state.reservationSize = 0n;
      const start = Number(CASE_PC) - 4 * c.before.length;
      for (const [i, bits] of [...c.before, c.bits].entries()) {
        const word = new Uint8Array(new Uint32Array([bits]).buffer);
        hart.write(start + 4 * i, i === c.before.length ? word.slice(0, c.length) : word);
      }
      state.pc = BigInt(start);
      hart.processor.contextChanged(hart.at);
      const { instret, steps } = state;
      for (const end = steps + BigInt(c.before.length + 1); state.steps < end; ) {
        const exit = hart.run(Number(end - state.steps));
        if (exit.kind !== 'budget') answer(exit);
      }
      const trapped = state.instret - instret !== BigInt(c.before.length + 1);
      return {
        pc: state.pc,
        trap: trapped ? { cause: Number(state.mcause), tval: state.mtval } : undefined,
        x: Array.from(state.x.subarray(0, 32)),
        f: Array.from(state.f),
        fflags: Number(state.fflags),
        isFloatDirty: (state.mstatus & (3n << 13n)) === 3n << 13n,
        data: hart.read(Number(CASE_DATA.base), CASE_DATA.sizeBytes),
      };
    };
    const check = (c: InstructionCase): void => {
      // One in eight is enough: the rows' code is the same as elsewhere.
      if (met++ % 8 !== 0) return;
      // Cases are written over each other: an overlay that is dropped so often is no longer made. A fresh start for
      // each shows the substitute itself.
      hart.memory.dropCode();
      hart.processor.flushTranslation(hart.at);
      assert.deepEqual(run(c), reference.run(c), `${c.name} ${c.bits.toString(16)}`);
      count++;
    };
    const decoder = createDecoder(everything);
    const own = createDecoder(model.extensions);
    const isEmulated = (bits: number): boolean => own.decode(bits) === undefined;
    for (const code of decoder.rows) for (const c of casesOf(code)) if (isEmulated(c.bits)) check(c);
    for (const c of compressedCases(decoder)) if (isEmulated(c.bits)) check(c);
    assert.ok(count > 5000, `${count} cases`);
    assert.equal(vcpu.hart.emulations, overlays > 0 ? 0 : count);
    // An access to a device is begun twice.
    const substituted = Number(vcpu.state.emulated);
    assert.ok(overlays > 0 ? substituted >= count && substituted < count * 1.01 : substituted === 0, `${substituted}`);
  });

  for (const [width, translates] of [
    [32, false],
    [32, true],
    [64, true],
  ] as const) {
    const where = `memory${width}, ${translates ? 'translated' : 'interpreted'}`;
    test(`random programs end as on a hart that has it all, ${how} (${where})`, () => {
      const options = lockstepEmulation(CPU, overlays);
      const lockstep = new Lockstep({ ...options, width, ...(translates ? { translate: translating() } : {}) });
      for (let seed = 1; seed <= 25; seed++) assert.equal(lockstep.run(seed * width), undefined);
      const { emulations, substituted } = options.seen();
      assert.ok(emulations > 500, `${emulations} by trap`);
      if (overlays > 0) assert.ok(substituted > 500n, `${substituted} by substitute`);
    });
  }
}

test('what is emulated reaches a page where it lies now, though its vCPU has not run since that changed', () => {
  const cpu = parseCpuModel('rv64,zfh=emulate');
  const hart = new BareHart({ ...cpu, ramBase: Number(CASE_RAM.base), ramBytes: 4 << 20, blockBytes: 4096 });
  const { vcpu, emulation } = emulationOf(hart, cpu, false);
  const { state, memory, map, processor, at } = hart;
  const page = Number(CASE_RAM.base) / FRAME_BYTES + 16;
  const va = BigInt(page * FRAME_BYTES);
  const FSH = (1 << 20) | (5 << 15) | (1 << 12) | 0x27; // fsh f1, 0(x5)
  const emulate = (address: bigint): void => {
    state.x[5] = address;
    state.f[1] = ~0xffffn | 0x3c00n;
    assert.equal(
      vcpu.withCode(() => emulation.illegal(vcpu, FSH)),
      'done',
    );
  };
  Object.assign(state, { mode: 3n, mstatus: 1n << 13n, pc: CASE_PC });
  processor.contextChanged(at);
  emulate(va);
  // Its place in the buffer is another page's now, and it stands in its second one.
  emulate(va + BigInt(256 * FRAME_BYTES));
  const frame = map.release(page);
  const old = memory.u8.subarray(frame * FRAME_BYTES, (frame + 1) * FRAME_BYTES).fill(0x77);
  vcpu.request(REQUEST.forget);
  emulate(va);
  assert.ok(
    old.every((byte) => byte === 0x77),
    'the frame that it had is somebody else\u2019s',
  );
  assert.deepEqual([...hart.read(page * FRAME_BYTES, 2)], [0x00, 0x3c]);
});
