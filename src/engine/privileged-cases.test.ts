/**
 * The directed cases of the privileged architecture (isa/privileged/cases), on the generated engine. Accesses are
 * asked of its translation alone, which takes one page at a time: those that cross a page's end, and cache-block
 * operations, are left to the lockstep with the reference machine.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { must } from '../base/assert.ts';
import type { StateField } from '../isa/index.ts';
import { parseCpu } from '../isa/index.ts';
import {
  type Access,
  type AccessCase,
  type AccessEngine,
  type Outcome,
  RAM_START,
  runAccessCase,
} from '../isa/privileged/cases/access-case.testing.ts';
import { CSR_CASES } from '../isa/privileged/cases/csr-cases.testing.ts';
import { GUEST_FAULT_CASES } from '../isa/privileged/cases/guest-fault-cases.testing.ts';
import { GUEST_INTERRUPT_CASES, GUEST_TRAP_CASES } from '../isa/privileged/cases/guest-trap-cases.testing.ts';
import { GUEST_PTE_CASES, GUEST_WALK_CASES } from '../isa/privileged/cases/guest-walk-cases.testing.ts';
import { type CaseHart, runHartCase, TIME } from '../isa/privileged/cases/hart-case.testing.ts';
import { HYPERVISOR_CSR_CASES } from '../isa/privileged/cases/hypervisor-csr-cases.testing.ts';
import { PMP_ACCESS_CASES, PMP_CSR_CASES } from '../isa/privileged/cases/pmp-cases.testing.ts';
import { INTERRUPT_CASES, TRAP_CASES } from '../isa/privileged/cases/trap-cases.testing.ts';
import { PTE_CASES, WALK_CASES } from '../isa/privileged/cases/walk-cases.testing.ts';
import { PSEUDOINSTRUCTION } from '../isa/privileged/transformed.ts';
import { generateEngine, Processor } from './engine.ts';
import { GuestPhysicalMap } from './guest-physical-map.ts';
import { MachineMemory } from './machine-memory.ts';
import { FRAME_BYTES } from './memory-plan.ts';
import { placeShadows, shadowBytes } from './shadows.ts';
import { GUEST_ACCESS, MMIO_ANSWER, vcpuState } from './vcpu-state.ts';

const RAM_BYTES = 0x1000_0000;
const FRAMES = 4096;
const PAGES = (Number(RAM_START) + RAM_BYTES) / FRAME_BYTES;
const BLOCK = PAGES * 4 + vcpuState.sizeBytes + 4096 + shadowBytes();
const memory = MachineMemory.create({
  width: 32,
  shared: false,
  blockBytes: BLOCK,
  codeBytes: 8 << 20,
  frames: FRAMES,
});
const map = new GuestPhysicalMap(memory, memory.block(PAGES * 4), PAGES);
map.declare(Number(RAM_START), RAM_BYTES, { readOnly: false });
const vcpu = memory.block(vcpuState.sizeBytes);
const shadows = memory.block(shadowBytes());
const state = vcpuState.view(memory.buffer, vcpu);
const code = generateEngine(memory.shape.description, parseCpu('rv64,h=on,smstateen=on'));
code.tables.write(memory.buffer);
const module = new WebAssembly.Module(code.bytes);
const processor = new Processor(module, memory.memory, { width: 32, ticks: () => Number(TIME) });
const instance = new WebAssembly.Instance(module, {
  env: {
    memory: memory.memory,
    time: () => Number(TIME),
    hot: () => {},
    sensitive: () => {},
    device: () => 0,
    call: () => 0,
    handed: () => {},
  },
});
type Locate = (vcpu: number, va: bigint, bytes: number, access: number) => number;
const hostAddress = instance.exports['host_address'] as Locate;
const guestAddress = instance.exports['guest_address'] as Locate;
const view = new DataView(memory.buffer);

let combined: 'on' | 'off' = 'on';

function reset(): void {
  new Uint8Array(memory.buffer, vcpu, vcpuState.sizeBytes).fill(0);
  placeShadows(memory, state, shadows, { combined });
  state.gpaMap = BigInt(map.at);
  state.gpaPages = BigInt(map.pages);
  state.stimecmp = 0n;
}

function hostOf(address: bigint): number {
  const page = must(map.host(Number(address >> 12n), 'setup'));
  assert.ok(page !== 0);
  return page + Number(address & 0xfffn);
}

class EngineHart implements CaseHart {
  #taken = false;
  #dirty = true;
  constructor() {
    reset();
  }
  get(field: StateField): bigint {
    return state[field];
  }
  set(field: StateField, value: bigint): void {
    state[field] = value;
    this.#dirty = true;
  }
  x(index: number): bigint {
    return must(state.x[index]);
  }
  setX(index: number, value: bigint): void {
    if (index) state.x[index] = value;
  }
  put(address: bigint, word: number): void {
    const at = hostOf(address);
    view.setUint32(at, word, true);
    processor.written(vcpu, at, 4);
  }
  /** An interrupt is a step of its own here, and none of the engine's: one is made of each of its two halves. */
  step(): 'next' | 'call' | 'wait' {
    if (this.#dirty) processor.contextChanged(vcpu);
    this.#dirty = false;
    if (this.#taken) {
      this.#taken = false;
      return 'next';
    }
    const before = state.pc;
    processor.run(vcpu, state, 0);
    if (state.pc !== before) return 'next';
    const [mc, sc, vc] = [state.mcause, state.scause, state.vscause];
    let exit = processor.run(vcpu, state, 1);
    // There are no devices.
    if (exit.kind === 'mmio') {
      state.mmioAnswer = MMIO_ANSWER.refused;
      exit = processor.run(vcpu, state, 1);
    }
    if (exit.kind === 'budget') {
      const atVector = (vector: bigint) => state.pc >> 8n === vector >> 8n;
      this.#taken =
        (mc !== state.mcause && state.mcause >> 63n !== 0n && atVector(state.mtvec)) ||
        (sc !== state.scause && state.scause >> 63n !== 0n && atVector(state.stvec)) ||
        (vc !== state.vscause && state.vscause >> 63n !== 0n && atVector(state.vstvec));
      return 'next';
    }
    assert.ok(exit.kind === 'call' || exit.kind === 'wait', exit.kind);
    return exit.kind;
  }
}

class EngineAccess implements AccessEngine {
  readonly put = new Set<bigint>();
  constructor() {
    reset();
  }
  set(field: StateField, value: bigint): void {
    state[field] = value;
  }
  putDoubleword(address: bigint, value: bigint): void {
    this.put.add(address);
    view.setBigUint64(hostOf(address), value, true);
  }
  doubleword(address: bigint): bigint {
    return view.getBigUint64(hostOf(address), true);
  }
  clear(): void {
    for (const a of this.put) view.setBigUint64(hostOf(a), 0n, true);
  }
  access(va: bigint, access: Access, sizeBytes: number, as?: 'guest' | 'guestExecutable'): Outcome {
    processor.contextChanged(vcpu);
    state.fault = 0;
    const kind = access === 'fetch' ? 0 : access === 'load' ? 1 : 2;
    state.guestAccess = GUEST_ACCESS[as === undefined ? 'none' : as === 'guest' ? 'data' : 'code'];
    const locate = as === undefined ? hostAddress : guestAddress;
    const host = locate(vcpu, BigInt.asIntN(64, va), sizeBytes, kind);
    if (state.fault !== 0) return faultOf(Number(state.faultCause));
    if (host === 0) return { to: [state.exitGpa] };
    for (const { page, host: frame } of map.present())
      if (frame === (host & ~4095)) return { to: [BigInt(page * 4096 + (host & 4095))] };
    assert.fail('no page');
  }
}

function faultOf(cause: number): Outcome {
  const { faultTval: tval, faultGpa: gpa, faultPseudo } = state;
  if (![20, 21, 23].includes(cause)) return { cause, tval };
  if (faultPseudo === 0n) return { cause, tval, gpa };
  return { cause, tval, gpa, implicit: faultPseudo === PSEUDOINSTRUCTION.read ? 'read' : 'write' };
}

const crosses = (c: AccessCase) => (c.va & 0xfffn) + BigInt(c.sizeBytes) > 4096n;
function runAccess(c: AccessCase): void {
  const engine = new EngineAccess();
  try {
    runAccessCase(engine, c);
  } finally {
    engine.clear();
  }
}
describe('traps', () => {
  for (const c of TRAP_CASES) test(c.name, () => runHartCase(new EngineHart(), c));
});
describe('interrupts', () => {
  for (const c of INTERRUPT_CASES) test(c.name, () => runHartCase(new EngineHart(), c));
});
describe('CSRs', () => {
  for (const c of CSR_CASES) test(c.name, () => runHartCase(new EngineHart(), c));
});
describe('PMP CSRs', () => {
  for (const c of PMP_CSR_CASES) test(c.name, () => runHartCase(new EngineHart(), c));
});
for (const switched of ['on', 'off'] as const)
  describe(`page walks in two stages, combined shadows ${switched}`, () => {
    const run = (c: AccessCase): void => {
      combined = switched;
      runAccess(c);
      combined = 'on';
    };
    for (const c of GUEST_WALK_CASES.filter((c) => c.access !== 'cache' && !crosses(c))) test(c.name, () => run(c));
    test('all rights of both leaves', () => {
      for (const c of GUEST_PTE_CASES) run(c);
    });
  });
describe("guests' traps", () => {
  for (const c of GUEST_TRAP_CASES) test(c.name, () => runHartCase(new EngineHart(), c));
});
describe("guests' interrupts", () => {
  for (const c of GUEST_INTERRUPT_CASES) test(c.name, () => runHartCase(new EngineHart(), c));
});
describe('what a hypervisor is told of faults', () => {
  for (const c of GUEST_FAULT_CASES) test(c.name, () => runHartCase(new EngineHart(), c));
});
describe('CSRs of the hypervisor extension', () => {
  for (const c of HYPERVISOR_CSR_CASES) test(c.name, () => runHartCase(new EngineHart(), c));
});
describe('page walks and PMP', () => {
  for (const c of [...WALK_CASES, ...PMP_ACCESS_CASES].filter((c) => c.access !== 'cache' && !crosses(c)))
    test(c.name, () => runAccess(c));
  test('all low bits of a leaf', () => {
    for (const c of PTE_CASES) runAccess(c);
  });
});
