import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assemble } from '../assembler.ts';
import { createDecoder } from '../decoder.ts';
import { featuresOf, parseCpu } from '../extensions.ts';
import { type PhysicalMemory, Ram, ReferenceHart, resetState, type Step } from './index.ts';

const ORIGIN = 0x8000_0000n;
const VECTOR = 0x8000_0800n;

interface Setting {
  readonly cpu?: string;
  readonly memory?: PhysicalMemory;
  readonly time?: () => bigint;
}

function load(source: string, { cpu = 'rv64', memory, time }: Setting = {}) {
  const ram = new Ram(ORIGIN, 0x4000);
  const { bytes, symbols } = assemble(source, ORIGIN);
  ram.bytes.set(bytes);
  const extensions = parseCpu(cpu);
  const state = resetState(ORIGIN, featuresOf(extensions));
  state.mtvec = VECTOR;
  const hart = new ReferenceHart({
    state,
    decoder: createDecoder(extensions),
    memory: memory ?? ram,
    ...(time ? { time } : {}),
  });
  return { hart, ram, state, symbols };
}

/** Steps until something other than retiring happens. */
function run(hart: ReferenceHart, most = 10_000): Step {
  for (let i = 0; i < most; i++) {
    const step = hart.step();
    if (step.kind !== 'retired') return step;
  }
  return { kind: 'retired' };
}

test('a program runs: labels, loops, calls, memory', () => {
  const { hart, state } = load(`
        li   sp, 0x80003000
        li   a0, 20
        call fibonacci
        ecall
fibonacci:
        li   t0, 2
        bltu a0, t0, 1f
        addi sp, sp, -24
        sd   ra, 0(sp)
        sd   a0, 8(sp)
        addi a0, a0, -1
        call fibonacci
        sd   a0, 16(sp)
        ld   a0, 8(sp)
        addi a0, a0, -2
        call fibonacci
        ld   t1, 16(sp)
        add  a0, a0, t1
        ld   ra, 0(sp)
        addi sp, sp, 24
1:      ret`);
  assert.deepEqual(run(hart, 300_000), { kind: 'trapped', cause: 11, tval: 0n, isInterrupt: false });
  assert.equal(state.x[10], 6765n);
  assert.equal(state.pc, VECTOR);
});

test('a trap changes nothing but what traps change', () => {
  const { hart, state } = load('ld a0, 0(zero)');
  const before = { ...state, x: state.x.slice(), f: state.f.slice() };
  assert.deepEqual(hart.step(), { kind: 'trapped', cause: 5, tval: 0n, isInterrupt: false });
  const trapped = { pc: VECTOR, mepc: ORIGIN, mcause: 5n, mtval: 0n, mstatus: 3n << 11n };
  assert.deepEqual({ ...state }, { ...before, ...trapped });
});

test('illegal instructions report their bits, all 16 or 32 of them', () => {
  const long = load('.word 0xfffff02b');
  assert.deepEqual(long.hart.step(), { kind: 'trapped', cause: 2, tval: 0xfffff02bn, isInterrupt: false });
  const short = load('.half 0x2001, 0xffff');
  assert.deepEqual(short.hart.step(), { kind: 'trapped', cause: 2, tval: 0x2001n, isInterrupt: false });
  const reserved = load('csrsi mstatus, 0\nfadd.s fa0, fa0, fa0');
  assert.equal(reserved.hart.step().kind, 'retired');
  assert.deepEqual(reserved.hart.step(), { kind: 'trapped', cause: 2, tval: 0x00a57553n, isInterrupt: false });
});

test('an instruction over the end of memory faults at its second half', () => {
  const { hart, state, ram } = load('');
  ram.write(ORIGIN + 0x3ffen, 2, 0x0513n);
  state.pc = ORIGIN + 0x3ffen;
  assert.deepEqual(hart.step(), { kind: 'trapped', cause: 1, tval: ORIGIN + 0x4000n, isInterrupt: false });
  assert.equal(state.mepc, ORIGIN + 0x3ffen);
  ram.write(ORIGIN + 0x3ffen, 2, 0x0505n);
  state.pc = ORIGIN + 0x3ffen;
  assert.equal(hart.step().kind, 'retired');
});

const misaligned: readonly [source: string, target: bigint][] = [
  ['jal ra, . + 6', ORIGIN + 6n],
  ['jalr ra, 3(zero)', 2n],
  ['beq zero, zero, . + 2', ORIGIN + 2n],
];
for (const [source, target] of misaligned) {
  test(`without C, '${source}' traps before it links`, () => {
    const { hart, state } = load(source, { cpu: 'rv64,c=off' });
    assert.deepEqual(hart.step(), { kind: 'trapped', cause: 0, tval: target, isInterrupt: false });
    assert.equal(state.x[1], 0n);
    assert.equal(state.mepc, ORIGIN);
  });
}

test('without C, a branch not taken may have any target', () => {
  assert.equal(load('bne zero, zero, . + 2', { cpu: 'rv64,c=off' }).hart.step().kind, 'retired');
});

test('an extension that is off traps', () => {
  for (const [cpu, source] of [
    ['rv64,zba=off', 'sh1add a0, a0, a0'],
    ['rv64,m=off', 'mul a0, a0, a0'],
    ['rv64,c=off', 'c.nop'],
    ['rv64,a=off', 'amoadd.w a0, a0, (a0)'],
    ['rv64,zicboz=off', 'cbo.zero (a0)'],
    ['rv64,svinval=off', 'sfence.w.inval'],
    ['rv64,s=off', 'sret'],
  ] as const) {
    const step = load(source, { cpu }).hart.step();
    assert.equal(step.kind === 'trapped' && step.cause, 2, `${source} on ${cpu}`);
  }
});

test('cache-block instructions ask menvcfg, and in U-mode senvcfg', () => {
  const permitted = (mode: bigint, menvcfg: bigint, senvcfg: bigint, source: string): boolean => {
    const { hart, state } = load(`la a0, here\nhere: ${source}`);
    state.pmpcfg0 = 0x1fn;
    state.pmpaddr0 = (1n << 54n) - 1n;
    Object.assign(state, { mode, menvcfg, senvcfg });
    hart.step();
    hart.step();
    const step = hart.step();
    assert.ok(step.kind === 'retired' || (step.kind === 'trapped' && step.cause === 2));
    return step.kind === 'retired';
  };
  for (const [source, field] of [
    ['cbo.zero (a0)', 1n << 7n],
    ['cbo.clean (a0)', 1n << 6n],
    ['cbo.flush (a0)', 1n << 6n],
    ['cbo.inval (a0)', 3n << 4n],
    ['cbo.inval (a0)', 1n << 4n],
  ] as const) {
    assert.equal(permitted(3n, 0n, 0n, source), true);
    assert.equal(permitted(1n, 0n, field, source), false);
    assert.equal(permitted(1n, field, 0n, source), true);
    assert.equal(permitted(0n, field, 0n, source), false);
    assert.equal(permitted(0n, 0n, field, source), false);
    assert.equal(permitted(0n, field, field, source), true);
  }
});

test('an interrupt is taken before the instruction', () => {
  const { hart, state } = load('li a0, 1');
  Object.assign(state, { mie: 1n << 7n, lines: 1n << 7n });
  assert.equal(hart.step().kind, 'retired');
  Object.assign(state, { pc: ORIGIN, mstatus: 1n << 3n, mtvec: VECTOR | 1n });
  assert.deepEqual(hart.step(), { kind: 'trapped', cause: 7, tval: 0n, isInterrupt: true });
  assert.equal(state.mepc, ORIGIN);
  assert.equal(state.mcause, (1n << 63n) | 7n);
  assert.equal(state.pc, VECTOR + 28n);
  assert.equal(state.instret, 1n);
});

test('wfi leaves the machine, unless an interrupt waits; an instruction that leaves has retired', () => {
  const { hart, state } = load('wfi\nnop');
  assert.deepEqual(hart.step(), { kind: 'left', exit: 'wait' });
  assert.equal(state.pc, ORIGIN + 4n);
  assert.equal(state.instret, 1n);
  Object.assign(state, { pc: ORIGIN, mie: 1n << 7n, lines: 1n << 7n });
  assert.equal(hart.step().kind, 'retired');
});

test('the counters count, and time comes from outside', () => {
  const { hart, state } = load('nop\nrdinstret a0\nrdtime a1\nrdcycle a2', { time: () => 77n });
  for (let i = 0; i < 4; i++) assert.equal(hart.step().kind, 'retired');
  assert.equal(state.x[10], 1n);
  assert.equal(state.x[11], 77n);
  assert.equal(state.x[12], 3n);
});

/** RAM in which another hart stores just before each read. */
test('store-conditional notices a store of another hart', () => {
  const source = 'la a0, data\nli a2, 9\nlr.d a1, (a0)\nsc.d a3, a2, (a0)\necall\n.balign 8\ndata: .dword 5';
  const quiet = load(source);
  run(quiet.hart);
  assert.equal(quiet.state.x[13], 0n);
  const { hart, state, ram, symbols } = load(source);
  while (hart.executed?.row.name !== 'lr.d') hart.step();
  ram.write(symbols.get('data') ?? 0n, 8, 6n);
  run(hart);
  assert.equal(state.x[11], 5n);
  assert.equal(state.x[13], 1n);
  assert.equal(ram.read(symbols.get('data') ?? 0n, 8), 6n);
});

test('supervisor code runs behind page tables, and faults report virtual addresses', () => {
  const { hart, state, ram } = load('ld a0, 0(a1)\nsd a0, 8(a1)');
  const leaf = (page: bigint, flags: bigint): bigint => (page << 10n) | flags;
  // Sv39: one gigapage for 0x8000_0000 (executable), one 4 KiB page at 0x4000_0000 (readable only).
  const root = ORIGIN + 0x1000n;
  ram.write(root + 8n * 2n, 8, leaf(ORIGIN >> 12n, 0xcbn));
  ram.write(root + 8n * 1n, 8, leaf((ORIGIN + 0x2000n) >> 12n, 1n));
  ram.write(ORIGIN + 0x2000n, 8, leaf((ORIGIN + 0x3000n) >> 12n, 1n));
  ram.write(ORIGIN + 0x3000n, 8, leaf((ORIGIN + 0x2000n) >> 12n, 0xc3n));
  Object.assign(state, { mode: 1n, satp: (8n << 60n) | (root >> 12n), pmpcfg0: 0x1fn, pmpaddr0: (1n << 54n) - 1n });
  state.x[11] = 0x4000_0000n;
  assert.equal(hart.step().kind, 'retired');
  assert.equal(state.x[10], leaf((ORIGIN + 0x3000n) >> 12n, 1n));
  assert.deepEqual(hart.step(), { kind: 'trapped', cause: 15, tval: 0x4000_0008n, isInterrupt: false });
});
