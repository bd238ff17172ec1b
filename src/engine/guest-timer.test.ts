/** A guest's timer (Sstc's vstimecmp) while its hypervisor polls: by the instruction clock, and within one slice. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assemble, parseCpu } from '../isa/index.ts';
import { BareHart } from './engine.testing.ts';
import { STALE } from './vcpu-state.ts';

const RAM = 0x8000_0000;
const [HYPERVISOR, GUEST, HANDLER] = [RAM, RAM + 0x100, RAM + 0x200];
const STCE = 1n << 63n;
const [SIE, VTW, VSTI] = [2n, 1n << 21n, 0x40n];
const VIRTUAL_INSTRUCTION = 1n << 22n;

test('wfi that the hypervisor has trapped, and resumed at once, ends with the interrupt when it is due', () => {
  const hart = new BareHart({ extensions: parseCpu('rv64,h=on'), ramBase: RAM, ramBytes: 4096 });
  const put = (at: number, source: string): void => hart.write(at, assemble(source, BigInt(at)).bytes);
  put(HYPERVISOR, 'csrr t0, sepc\naddi t0, t0, 4\ncsrw sepc, t0\nsret');
  put(GUEST, 'again:\nwfi\nj again');
  put(HANDLER, 'here:\nj here');
  const { state } = hart;
  Object.assign(state, { pmpaddr0: (1n << 54n) - 1n, pmpcfg0: 0x1fn, clockMode: 1, menvcfg: STCE, henvcfg: STCE });
  Object.assign(state, { medeleg: VIRTUAL_INSTRUCTION, mie: VSTI, hideleg: VSTI, hstatus: VTW });
  Object.assign(state, { mode: 1n, virtual: 1n, mstatus: SIE, pc: BigInt(GUEST) });
  Object.assign(state, { stvec: BigInt(HYPERVISOR), vstvec: BigInt(HANDLER), stimecmp: STCE - 1n, vstimecmp: 20n });
  state.contextStale |= STALE.epochs;
  hart.processor.contextChanged(hart.at);
  hart.run(190);
  assert.notEqual(state.pc, BigInt(HANDLER), 'ten steps are a tick');
  hart.run(100);
  assert.equal(state.pc, BigInt(HANDLER));
  assert.equal(state.vscause, (1n << 63n) | 5n);
});
