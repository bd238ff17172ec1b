/** The log of trapped executions: rings that vCPUs write and another thread empties, now and then. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { must } from '../base/assert.ts';
import { TRAP_LOG_ENTRIES, type VcpuState, vcpuState } from '../engine/index.ts';
import { Random } from './machine.testing.ts';
import { TrapLog, type TrappedExecution, trapLine } from './trap-log.ts';

const policies = [{ name: 'wfi' }, { name: 'satp' }];

/** vCPUs that log as generated code does (count_substitute). */
class Logging {
  readonly config = { policies };
  readonly vcpus: { readonly id: number; readonly state: VcpuState }[];

  constructor(count: number, next = 0) {
    this.vcpus = Array.from({ length: count }, (_, id) => {
      const state = vcpuState.view(new ArrayBuffer(vcpuState.sizeBytes), 0);
      state.trapLogNext = next;
      return { id, state };
    });
  }

  log(id: number, { pc = 0n, mode = 1, policy = 1, bits = 0x1050_0073 } = {}): void {
    const { state } = must(this.vcpus[id]);
    const slot = (state.trapLogNext & (TRAP_LOG_ENTRIES - 1)) * 2;
    state.trapLog[slot] = pc;
    state.trapLog[slot + 1] = (BigInt(mode) << 48n) | (BigInt(policy) << 32n) | BigInt(bits);
    state.trapLogNext = (state.trapLogNext + 1) >>> 0;
  }
}

function drained(log: TrapLog): TrappedExecution[] {
  const out: TrappedExecution[] = [];
  log.drain((execution) => out.push(execution));
  return out;
}

describe('the trap log', () => {
  test('tells each execution once: who, where, in which mode, what', () => {
    const board = new Logging(2);
    const log = new TrapLog(board);
    board.log(1, { pc: 0xffff_ffff_8000_4a2cn, mode: 1 });
    board.log(0, { pc: 0x1000n, mode: 0, policy: 2, bits: 0x1800_25f3 });
    board.log(1, { pc: 0x8000_0000n, mode: 3, bits: 0x9002 });
    assert.deepEqual(drained(log), [
      { vcpu: 0, pc: 0x1000n, mode: 0, name: 'satp', bits: 0x1800_25f3 },
      { vcpu: 1, pc: 0xffff_ffff_8000_4a2cn, mode: 1, name: 'wfi', bits: 0x1050_0073 },
      { vcpu: 1, pc: 0x8000_0000n, mode: 3, name: 'wfi', bits: 0x9002 },
    ]);
    assert.deepEqual(drained(log), []);
    assert.equal(log.lost, 0);
  });

  test('begins where it is made', () => {
    const board = new Logging(1);
    board.log(0);
    const log = new TrapLog(board);
    board.log(0, { pc: 2n });
    assert.deepEqual(
      drained(log).map(({ pc }) => pc),
      [2n],
    );
  });

  test('tells the last ones of what the ring could not hold, in order, and counts the others', () => {
    const random = new Random(1);
    // The position is a 32-bit number that comes round.
    for (const first of [0, 2 ** 32 - 1500]) {
      const board = new Logging(1, first);
      const log = new TrapLog(board);
      let pc = 0n;
      for (let round = 0; round < 200; round++) {
        const before = log.lost;
        const burst = random.below(round % 3 === 0 ? 4 * TRAP_LOG_ENTRIES : 100);
        const from = pc;
        for (let i = 0; i < burst; i++) board.log(0, { pc: pc++ });
        const told = drained(log).map((execution) => execution.pc);
        assert.equal(told.length + log.lost - before, burst);
        assert.deepEqual(
          told,
          Array.from({ length: told.length }, (_, i) => pc - BigInt(told.length - i)),
        );
        if (burst <= TRAP_LOG_ENTRIES / 2) assert.equal(told[0] ?? from, from);
        else assert.ok(told.length > TRAP_LOG_ENTRIES / 2);
      }
      assert.ok(log.lost > 0);
    }
  });

  test('does not tell what is written over while it is read', () => {
    const board = new Logging(2);
    const log = new TrapLog(board);
    for (let i = 0; i < 900; i++) board.log(0, { pc: BigInt(i) });
    // As if the vCPU went on while its ring was read: the second look at its position shows it.
    const { state } = must(board.vcpus[0]);
    let looks = 0;
    const moving = new Proxy(state, {
      get(target, name) {
        if (name === 'trapLogNext' && ++looks === 2) for (let i = 0; i < 500; i++) board.log(0, { pc: 9999n });
        return Reflect.get(target, name);
      },
    });
    board.vcpus[0] = { id: 0, state: moving };
    const told = drained(log).map(({ pc }) => Number(pc));
    // 500 more in a ring of 1024: of the first 900, entries 0 to 375 are gone, and 376 may be half written.
    assert.deepEqual([told[0], told.at(-1), told.length], [377, 899, 523]);
    assert.equal(log.lost, 377);
    assert.equal(drained(log).length, 500);
  });
});

describe('a line of it', () => {
  const cases: readonly [execution: Omit<TrappedExecution, 'vcpu'>, line: string][] = [
    [{ pc: 0xffff_ffff_8000_4a2cn, mode: 1, bits: 0x1050_0073, name: 'wfi' }, 'S ffffffff80004a2c 10500073 wfi'],
    [{ pc: 0x1000n, mode: 0, bits: 0x9002, name: 'ebreak' }, 'U 0000000000001000 9002 ebreak'],
    [{ pc: 0n, mode: 3, bits: 0x73, name: 'ecall' }, 'M 0000000000000000 00000073 ecall'],
  ];
  for (const [execution, line] of cases) {
    test(line, () => assert.equal(trapLine({ vcpu: 2, ...execution }), `hart 2 ${line}`));
  }
});
