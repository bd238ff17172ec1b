/**
 * Explaining code of a guest's guest: its addresses go through both stages, and what is told says whose they are. The guest
 * and its hypervisor have different code at one address.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { BareMachine, START } from './bare-machine.testing.ts';
import { explanationLines } from './explanation-text.ts';
import { hotRegions } from './hot-regions.ts';

/**
 * Second-stage tables: 1 GiB at 0x40000000 is the machine's memory; 2 MiB at START are 2 MiB behind it. The guest's own:
 * START as it is, and at KERNEL the gigabyte at 0x40000000.
 */
const KERNEL = 0xffff_ffc0_0000_0000n;
const AT_START = BigInt(START) % (1n << 30n);
const PTE = { table: 1n, code: 0xcfn, user: 0xdfn };
const entry = (address: bigint, bits: bigint): bigint => ((address >> 12n) << 10n) | bits;

/** The hypervisor enters a guest that counts in a0, and whose calls it counts in s1. */
const program = `
start:
    la t0, stage
    srli t0, t0, 12
    li t1, ${8n << 60n}
    or t0, t0, t1
    csrw hgatp, t0
    la t0, own
    li t1, 0x40000000
    sub t0, t0, t1
    srli t0, t0, 12
    li t1, ${8n << 60n}
    or t0, t0, t1
    csrw vsatp, t0
    la t0, again
    csrw stvec, t0
    li t0, 0x180
    csrw hstatus, t0
    li t0, 0x100
    csrs sstatus, t0
    li t0, ${KERNEL + AT_START}
    la t1, guest
    add t0, t0, t1
    li t1, ${START}
    sub s0, t0, t1
enter:
    csrw sepc, s0
    sret
    .balign 4
again:
    addi s1, s1, 1
    li t0, 0x180
    csrw hstatus, t0
    j enter
guest:
    li a1, 40
guest_loop:
    addi a0, a0, 1
    addi a1, a1, -1
    bnez a1, guest_loop
    ecall
never:
    xor a0, a0, a0
    .balign 16384
stage:
    .dword 0
    .dword ${entry(0x8000_0000n, PTE.user)}
    .dword ${entry(BigInt(START) + 0x2_0000n, PTE.table)}
    .zero 16360
own:
    .zero 16
    .dword ${entry(0x8000_0000n, PTE.code)}
    .zero 2024
    .dword ${entry(0x4000_0000n, PTE.code)}
    .zero 2040
    .balign 16384
    .zero 0
`;

/** At START + 0x20000: the table of the second stage below 0x80000000; and what the guest has at START. */
function nestedMachine(): BareMachine {
  const machine = new BareMachine(program, { nested: true });
  const { guestMemory } = machine.board;
  const table = new BigUint64Array(512);
  table[1] = entry(BigInt(START) + 0x20_0000n, PTE.user);
  guestMemory.setUp(START + 0x2_0000, new Uint8Array(table.buffer));
  // c.li a0, 1
  guestMemory.setUp(START + 0x20_0000, Uint8Array.of(0x05, 0x45));
  return machine.run(40);
}

describe('code of a guest’s guest', () => {
  const machine = nestedMachine();
  const inGuest = (label: string): bigint => KERNEL + (machine.symbols.get(label) ?? assert.fail()) - 0x8000_0000n;
  const loop = inGuest('guest_loop');

  test('is found through both stages, and named as its', () => {
    const told = machine.at(loop);
    assert.deepEqual([told.status, told.mode, told.level], ['translated', 'virtual supervisor', 2]);
    assert.equal(told.physical, `0x${machine.symbols.get('guest_loop')?.toString(16)}`);
    assert.deepEqual(
      told.blocks[0]?.instructions.map(({ text }) => text),
      ['addi a0, a0, 1', 'addi a1, a1, -1', `bne a1, zero, 0x${loop.toString(16)}`],
    );
    assert.equal(
      explanationLines(told, { wasm: false })[0],
      `0x${loop.toString(16)}, hart 0 in virtual supervisor mode (level 2), guest-physical ${told.physical}`,
    );
  });

  test('is the same code as its hypervisor’s where they share a frame', () => {
    const own = machine.explainer.explain({ hart: 0, pc: machine.symbols.get('guest_loop') ?? 0n, level: 1 });
    assert.deepEqual([own.level, own.mode, own.region?.number], [1, 'supervisor', machine.at(loop).region?.number]);
  });

  test('one address at both levels', () => {
    const [own, guests] = ([1, 2] as const).map((level) =>
      machine.explainer.explain({ hart: 0, pc: BigInt(START), level }),
    );
    assert.deepEqual([own?.mode, own?.physical], ['supervisor', `0x${START.toString(16)}`]);
    assert.deepEqual([guests?.mode, guests?.level], ['virtual supervisor', 2]);
    assert.deepEqual([guests?.physical, guests?.status], [`0x${(START + 0x20_0000).toString(16)}`, 'unexecuted']);
    assert.equal(guests?.blocks[0]?.instructions[0]?.text, 'c.li a0, 1');
  });

  test('where a stage has no page, that level has nothing', () => {
    const nowhere = machine.explainer.explain({ hart: 0, pc: KERNEL + (1n << 30n), level: 2 });
    assert.equal(nowhere.status, 'unmapped');
    assert.match(nowhere.summary, /faults in virtual supervisor and virtual user mode/);
    // The guest's own table has it, the second stage has not.
    assert.equal(machine.explainer.explain({ hart: 0, pc: 0x8040_0000n, level: 2 }).status, 'unmapped');
  });

  test('is among the hot regions, as what it is', () => {
    const hot = hotRegions(machine.board, 10).find(({ at }) => at === `0x${loop.toString(16)}`);
    assert.deepEqual([hot?.level, hot?.hart], [2, 0]);
  });

  test('is found by page tables of both stages where it was not fetched lately', () => {
    const { board } = nestedMachine();
    const vcpu = board.vcpus[0] ?? assert.fail();
    // The hypervisor has no page that it may execute.
    vcpu.state.satp = (8n << 60n) | 0x80600n;
    vcpu.forgetTranslations();
    const at = (): readonly (string | undefined)[] => hotRegions(board, 10).map((one) => one.level && one.at);
    assert.ok(at().includes(`0x${loop.toString(16)}`), `${at()}`);
    vcpu.state.vsatp = 0n;
    vcpu.forgetTranslations();
    const physical = loop - KERNEL + 0x4000_0000n;
    assert.ok(at().includes(`0x${physical.toString(16)}`), `${at()}`);
    vcpu.state.hgatp = 0n;
    assert.deepEqual(new Set(at()), new Set([undefined]));
  });

  test('a hart without a guest has no second level', () => {
    const plain = new BareMachine('start: j start').run(1);
    assert.throws(() => plain.explainer.explain({ hart: 0, level: 2 }), { code: 'no-such-level' });
    const idle = new BareMachine('start: j start', { nested: true }).run(1);
    assert.throws(() => idle.explainer.explain({ hart: 0, level: 2 }), { code: 'no-such-level' });
  });
});
