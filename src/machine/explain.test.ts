import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { DEFAULT_TRANSLATION } from '../translator/index.ts';
import { BareMachine, START } from './bare-machine.testing.ts';
import { hotRegions } from './hot-regions.ts';

/** A loop that calls, with a CSR beside it, and code that is never reached. */
const program = `
start:
    la s0, data
loop:
    ld a0, 0(s0)
    addi a0, a0, 1
    call twice
    call special
    addi s1, s1, 1
    j loop
twice:
    slli a0, a0, 1
    ret
special:
    csrr a1, sscratch
    ret
never:
    xor a0, a0, a0
    fence.i
bad:
    .word 0
    .balign 8
    .zero 4096
data:
    .dword 7`;

const address = (machine: BareMachine, label: string): string => `0x${machine.symbols.get(label)?.toString(16)}`;

describe('code that is translated', () => {
  const machine = new BareMachine(program).run(20);
  const told = machine.at('loop');

  test('names its region, with its size and how often it was entered', () => {
    assert.equal(told.status, 'translated');
    assert.match(told.summary, /^Translated: region \d+, \d+ instructions, entered \d+ times\.$/);
    assert.ok(told.region !== undefined && told.region.instructions === 6);
    assert.deepEqual(
      [told.mode, told.pc, told.physical],
      ['supervisor', address(machine, 'loop'), address(machine, 'loop')],
    );
    assert.ok(told.reached > 50, `${told.reached}`);
    assert.deepEqual(told.thresholds, [50, DEFAULT_TRANSLATION.secondThreshold]);
  });

  test('shows its blocks with what they are made of and why they end', () => {
    const [head] = told.blocks;
    assert.deepEqual(
      head?.instructions.map(({ text }) => text),
      ['ld a0, 0(s0)', 'addi a0, a0, 1', `jal ra, ${address(machine, 'twice')}`],
    );
    assert.deepEqual(head?.edges, [{ to: address(machine, 'twice') }]);
    const callee = told.blocks.find(({ at }) => at === address(machine, 'twice'));
    assert.deepEqual([callee?.depth, callee?.ending, callee?.edges.length], [1, 'register', 1]);
    const exits = told.blocks.flatMap(({ edges }) => edges.filter(({ leaves }) => leaves !== undefined));
    assert.deepEqual(exits, [
      { to: address(machine, 'special'), leaves: 'emulated, not promoted: csrrs a1, sscratch, zero' },
    ]);
  });

  test('shows the code that runs, with the guest’s instructions in between', () => {
    assert.ok(told.wasm);
    assert.deepEqual([told.wasm.of, told.wasm.isCurrent], ['region', true]);
    assert.match(told.wasm.lines[0] ?? '', new RegExp(`^func \\$region${told.region?.number} `));
    assert.ok(told.wasm.lines.some((line) => line.trim() === `;; ${address(machine, 'loop')}  ld a0, 0(s0)`));
    assert.ok(told.wasm.lines.some((line) => line.trim() === 'local.set $a0 (i64.shl $a0 (i64.const 1))'));
    assert.ok(told.wasm.bytes > 100);
  });

  test('knows what else stands in the page', () => {
    assert.equal(told.page?.at, `0x${START.toString(16)}`);
    assert.ok(told.page.regions.some(({ at, number }) => at === told.pc && number === told.region?.number));
    assert.deepEqual(told.page.touching, told.page.regions.map(({ number }) => number).sort());
    assert.equal(told.page.hasOverlay, false);
    assert.ok(told.page.decoded >= 10);
  });

  test('is among the regions that are entered most', () => {
    const hot = hotRegions(machine.board, 3);
    const [first] = hot;
    assert.ok(first !== undefined && first.entered > 100, `${first?.entered}`);
    assert.ok(hot.every(({ entered }) => entered <= first.entered));
    const same = hotRegions(machine.board, 100).find(({ number }) => number === told.region?.number);
    assert.deepEqual([same?.at, same?.physical, same?.hart], [told.pc, told.pc, 0]);
    assert.equal(hotRegions(machine.board, 1).length, 1);
  });

  test('its address is found by page tables where no hart has fetched from it lately', () => {
    const paged = new BareMachine(program).run(20);
    const { board } = paged;
    const vcpu = board.vcpus[0] ?? assert.fail();
    vcpu.forgetTranslations();
    const physical = hotRegions(board, 1)[0];
    assert.deepEqual([physical?.at, physical?.hart], [physical?.physical, 0], 'without tables they are the same');
    assert.match(physical?.physical ?? '', /^0x802000/);
    // A root whose last entry leads to a table of its own, in which 2 MiB are executable and 2 MiB are not.
    const tables = new Uint8Array(8192);
    const view = new DataView(tables.buffer);
    view.setBigUint64(511 * 8, (0x8040_1000n >> 2n) | 1n, true);
    view.setBigUint64(4096 + 5 * 8, (0x8020_0000n >> 2n) | 0xc3n, true);
    view.setBigUint64(4096 + 6 * 8, (0x8020_0000n >> 2n) | 0xcbn, true);
    board.guestMemory.setUp(0x8040_0000, tables);
    vcpu.state.satp = (8n << 60n) | 0x80400n;
    const [first] = hotRegions(board, 1);
    const offset = Number(BigInt(physical?.physical ?? 0) - BigInt(START));
    assert.deepEqual([first?.at, first?.hart], [`0xffffffffc0c000${offset.toString(16).padStart(2, '0')}`, 0]);
  });
});

describe('code that is not', () => {
  const machine = new BareMachine(program, { hotThreshold: 60_000 }).run(20);

  test('cold: how often it was reached, and what the region would be', () => {
    const told = machine.at('loop');
    assert.equal(told.status, 'cold');
    assert.match(told.summary, /^Reached \d+ times by jumps, and translated from 60000 on; /);
    assert.ok(told.reached > 100 && told.reached < 60_000);
    assert.deepEqual([told.wasm?.of, told.wasm?.isCurrent, told.region], ['proposal', true, undefined]);
    assert.ok(told.blocks.length >= 3);
  });

  test('left to the interpreter', () => {
    const told = machine.at('special');
    assert.deepEqual([told.status, told.wasm], ['interpreted', undefined]);
    assert.equal(told.blocks[0]?.instructions[0]?.text, 'csrrs a1, sscratch, zero');
  });

  test('never executed: the instructions that are there', () => {
    const told = machine.at('never');
    assert.deepEqual([told.status, told.wasm], ['unexecuted', undefined]);
    assert.deepEqual(
      told.blocks[0]?.instructions.slice(0, 3).map(({ text }) => text),
      ['xor a0, a0, a0', 'fence.i', '.half 0x0'],
    );
  });

  const elsewhere: readonly [where: string | bigint, status: string, says: RegExp][] = [
    ['bad', 'illegal', /no instruction of this hart/],
    [BigInt(START) + 1n, 'illegal', /even addresses/],
    [0x8080_0000n, 'untouched', /nobody has written/],
    [0x1000_0000n, 'device', /No memory is there/],
    [0x9000_0000n, 'device', /No memory is there/],
    [0xffff_ffff_8000_0000n, 'unmapped', /Nothing can be executed there/],
  ];
  for (const [where, status, says] of elsewhere) {
    test(`${typeof where === 'bigint' ? `0x${where.toString(16)}` : where} is ${status}`, () => {
      const told = machine.at(where);
      assert.equal(told.status, status);
      assert.match(told.summary, says);
      assert.equal(told.wasm, undefined);
    });
  }

  test('with page tables: mapped by them or not at all', () => {
    const { state } = new BareMachine(program).board.vcpus[0] ?? assert.fail();
    assert.equal(state.satp, 0n);
    const paged = new BareMachine(program).run(3);
    const vcpu = paged.board.vcpus[0] ?? assert.fail();
    const root = 0x8040_0000;
    const gigapage = (0x8000_0000n >> 2n) | 0x4bn; // V R X A
    const table = new Uint8Array(4096);
    new DataView(table.buffer).setBigUint64(8 * 3, gigapage, true);
    paged.board.guestMemory.setUp(root, table);
    vcpu.state.satp = (8n << 60n) | (BigInt(root) >> 12n);
    const moved = paged.at(BigInt(START) + 0x4000_0000n);
    assert.deepEqual([moved.mode, moved.physical], ['supervisor', `0x${START.toString(16)}`]);
    assert.equal(moved.blocks[0]?.instructions[0]?.text.split(' ')[0], 'auipc');
    const told = paged.at('loop');
    assert.deepEqual([told.status, told.physical], ['unmapped', undefined]);
    assert.match(told.summary, /a fetch faults in supervisor and user mode\.$/);
  });

  test('translation off', () => {
    const off = new BareMachine(program, { translate: false }).run(10);
    const told = off.at('loop');
    assert.deepEqual([told.status, told.thresholds], ['cold', []]);
    assert.match(told.summary, /^Translation is off/);
    assert.ok(told.wasm);
  });

  test('hot, but dropped: its page was written', () => {
    const written = new BareMachine(program).run(20);
    const before = written.at('loop');
    written.board.guestMemory.setUp(
      START,
      written.board.guestMemory.spans(START, 4, 'read')?.[0]?.slice() ?? assert.fail(),
    );
    const told = written.at('loop');
    assert.deepEqual([before.status, told.status], ['translated', 'unexecuted']);
    assert.deepEqual(told.page?.regions, []);
  });
});

test('code that was rewritten around a region, or executed further since, is shown as it is now', () => {
  const machine = new BareMachine(
    `
start:
    li s1, 0
loop:
    addi s1, s1, 1
    li t0, 2000
    bgeu s1, t0, later
    j loop
later:
    addi s2, s2, 1
    j loop`,
    { hotThreshold: 10 },
  );
  assert.equal(machine.run(1).at('loop').status, 'hot', 'it waits for others');
  const before = machine.run(5).at('loop');
  assert.deepEqual([before.status, before.wasm?.isCurrent], ['translated', true]);
  machine.run(10);
  const told = machine.at('loop');
  assert.equal(told.status, 'translated');
  assert.deepEqual(told.wasm?.isCurrent, false);
  assert.match(told.summary, /changed since it was made: the blocks are of now\.$/);
  assert.equal(told.region?.instructions, before.region?.instructions);
  assert.ok(told.blocks.some(({ at }) => at === address(machine, 'later')));
  assert.ok(told.wasm.lines.every((line) => !line.includes(';; 0x')));
});

test('what an overlay stands in for is the guest’s own code, and said to be emulated', () => {
  const source = `
loop:
    add.uw a0, a1, a2
    addi a1, a1, 1
    j loop`;
  const machine = new BareMachine(source, { cpu: 'rv64,zba=emulate' }).run(20);
  const told = machine.at('loop');
  assert.deepEqual([told.status, told.page?.hasOverlay], ['translated', true]);
  assert.equal(told.wasm?.isCurrent, true);
  const [first, second] = told.blocks[0]?.instructions ?? [];
  assert.deepEqual([first?.text, first?.emulated], ['add.uw a0, a1, a2', true]);
  assert.deepEqual([second?.text, second?.emulated], ['addi a1, a1, 1', undefined]);
  const hot = hotRegions(machine.board, 100).find(({ number }) => number === told.region?.number);
  assert.deepEqual([hot?.at, hot?.physical], [told.pc, told.pc]);
});

test('a trapped instruction ends the region', () => {
  const machine = new BareMachine('loop:\n addi a1, a1, 1\n fence\n j loop', { traps: ['fence'] }).run(20);
  const [block] = machine.at('loop').blocks;
  assert.deepEqual(block?.edges, [
    { to: `0x${(START + 4).toString(16)}`, leaves: 'no instruction, or one with a breakpoint or a trap' },
  ]);
});

test('looking changes nothing: no byte of the machine’s memory', () => {
  const machine = new BareMachine(program).run(20);
  const before = machine.hash();
  const labels = [...machine.symbols.keys()];
  for (const label of labels) machine.at(label);
  for (const where of [0n, 0x8080_0000n, 0x1000_0000n, (1n << 64n) - 2n]) machine.at(where);
  machine.explainer.explain({ hart: 0 });
  hotRegions(machine.board, 10);
  assert.equal(machine.hash(), before);
});
