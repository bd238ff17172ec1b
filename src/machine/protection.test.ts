/**
 * One right to one frame, taken from one domain while map and page tables stay as they are (DESIGN.md, row 1): the very
 * next access of that kind by that domain faults, on every hart, interpreted and translated; everybody else goes on; and
 * when the right is given back, so does it.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { must } from '../base/assert.ts';
import { RIGHT } from '../engine/index.ts';
import { DOMAIN, type RightsChange } from '../hypervisor/index.ts';
import { EXCEPTION } from '../isa/index.ts';
import { BareMachine } from './bare-machine.testing.ts';
import { boardStats } from './board-stats.ts';
import { ProtectionLog, type Violation } from './protection-log.ts';
import { FRAME, MODES, type Mode, Probes, TABLE, WAYS, type Way } from './protection-probes.testing.ts';
import { latestViolations, type ProtectionChange, protectionReport, rightsChange } from './protection-report.ts';

const PAGE = 4096;
const HARTS = [0, 1];

interface Revocation {
  readonly mode: Mode;
  readonly way: Way;
  /** Whose right it is: page walks are the kernel's. */
  readonly domain: Mode;
  readonly gpa: number;
  readonly right: number;
  readonly cause: number;
}

const NEEDS = {
  fetch: { right: RIGHT.execute, cause: EXCEPTION.instructionAccessFault },
  load: { right: RIGHT.read, cause: EXCEPTION.loadAccessFault },
  store: { right: RIGHT.write, cause: EXCEPTION.storeAccessFault },
  amo: { right: RIGHT.write, cause: EXCEPTION.storeAccessFault },
  walk: { right: RIGHT.read, cause: EXCEPTION.loadAccessFault },
  update: { right: RIGHT.write, cause: EXCEPTION.storeAccessFault },
} as const;

const REVOCATIONS: readonly Revocation[] = MODES.flatMap((mode) =>
  WAYS.map((way) => {
    const isTable = way === 'walk' || way === 'update';
    return {
      mode,
      way,
      domain: isTable ? 'kernel' : mode,
      gpa: isTable ? TABLE[way][mode] : FRAME[way],
      ...NEEDS[way],
    };
  }),
);

function change(probes: Probes, of: Omit<RightsChange, 'first' | 'end'> & { gpa: number }): void {
  const { board } = probes.machine;
  const { gpa, ...rest } = of;
  const protection = must(board.protection);
  const epoch = protection.tryChange(board, { ...rest, first: gpa / PAGE, end: gpa / PAGE + 1 });
  assert.ok(epoch !== undefined && protection.isKnown(epoch));
}

const WAYS_OF_RUNNING = [
  { name: 'interpreted', options: { translate: false } },
  { name: 'translated', options: { translate: true, hotThreshold: 20 } },
] as const;

for (const { name, options } of WAYS_OF_RUNNING) {
  describe(`a right is taken and given back, ${name}`, () => {
    for (const { mode, way, domain, gpa, right, cause } of REVOCATIONS)
      test(`${way} as ${mode}: of the ${domain}`, () => {
        const probes = new Probes(options).run();
        for (const hart of HARTS)
          for (const each of MODES)
            for (const one of WAYS) {
              const { well, faults } = probes.count(hart, each, one);
              assert.ok(well > 20 && faults === 0, `before: hart ${hart}, ${each}, ${one}: ${well}, ${faults}`);
            }
        if (name === 'translated') assert.ok(probes.machine.board.memory.header.regionsMade > 5, 'regions were made');
        // What is written in the update's frame goes through an entry whose D is clear again.
        if (way === 'update') probes.clean(mode);
        const before = probes.layout();
        const wrote = HARTS.map((hart) => probes.written(hart, mode, way));
        probes.mark(2);
        change(probes, { domains: [DOMAIN[domain]], gpa, rights: right, isAllowed: false });
        assert.deepEqual(probes.layout(), before);
        probes.run();
        const middle = HARTS.map((hart) => probes.count(hart, mode, way));
        probes.run();
        for (const hart of HARTS) {
          const now = probes.count(hart, mode, way);
          assert.equal(now.cause, cause, `hart ${hart}`);
          assert.ok(now.faults > 20, `hart ${hart} goes on: ${now.faults} faults`);
          assert.equal(now.well, middle[hart]?.well, `hart ${hart} gets through no more`);
          if (way === 'fetch' || way === 'load' || way === 'walk') assert.equal(now.last, 1n, 'nothing later was seen');
          else assert.equal(probes.written(hart, mode, way), wrote[hart], 'nothing was written');
          for (const each of MODES)
            for (const one of WAYS) {
              if (each === mode && one === way) continue;
              const other = probes.count(hart, each, one);
              assert.equal(other.faults, 0, `hart ${hart}, ${each}, ${one} goes on`);
              if (one === 'fetch' || one === 'load' || one === 'walk') assert.equal(other.last, 2n);
            }
        }
        assert.deepEqual(probes.layout(), before);
        assert.ok(probes.machine.board.protection?.violations(DOMAIN[domain]).some((count) => count > 40));
        change(probes, { domains: [DOMAIN[domain]], gpa, rights: right, isAllowed: true });
        const after = HARTS.map((hart) => probes.count(hart, mode, way));
        probes.run();
        for (const hart of HARTS) {
          const now = probes.count(hart, mode, way);
          // A trap of before may have been about to be counted.
          assert.ok(now.faults - must(after[hart]).faults <= 1, `hart ${hart}: ${now.faults}`);
          assert.ok(now.well > must(after[hart]).well + 20, `hart ${hart} gets through again`);
        }
        assert.equal(must(probes.machine.board.protection).ranges.length, 0);
      });
  });
}

describe('what does not depend on a right', () => {
  for (const way of ['walk', 'update'] as const)
    test(`the user’s own right to the table of its ${way}`, () => {
      const probes = new Probes().run();
      probes.clean('user');
      change(probes, { domains: [DOMAIN.user], gpa: TABLE[way].user, rights: 7, isAllowed: false });
      probes.run();
      for (const hart of HARTS) assert.equal(probes.count(hart, 'user', way).faults, 0);
    });

  test('a machine without protection has no tables, and runs the same', () => {
    const probes = new Probes({ protection: false }).run();
    assert.equal(probes.machine.board.protection, undefined);
    for (const { state } of probes.machine.board.vcpus) assert.ok(state.protection.every((table) => table === 0n));
    for (const way of WAYS) assert.equal(probes.count(1, 'user', way).faults, 0);
  });

  test('and without the check of tables, nothing that is taken is missed', () => {
    const probes = new Probes().run();
    for (const { state } of probes.machine.board.vcpus) state.protection.fill(0n);
    for (const { domain, gpa } of REVOCATIONS)
      change(probes, { domains: [DOMAIN[domain]], gpa, rights: 7, isAllowed: false });
    probes.run();
    for (const mode of MODES) for (const way of WAYS) assert.equal(probes.count(0, mode, way).faults, 0);
  });
});

describe('devices', () => {
  for (const { right, access } of [
    { right: RIGHT.read, access: 'read' },
    { right: RIGHT.write, access: 'write' },
  ] as const)
    test(`one may ${access} no more, the other and the harts go on`, () => {
      const probes = new Probes().run();
      const { board } = probes.machine;
      const [one, other] = [must(board.config.slots[0]), must(board.config.slots[1])];
      const [dma, others] = [board.deviceMemory(one), board.deviceMemory(other)];
      const reach = (memory: typeof dma): boolean[] => [
        memory.read(FRAME.load + 8, new Uint8Array(8)),
        memory.write(FRAME.load + 8, new Uint8Array(8)),
        memory.spans(FRAME.load - 8, 16, access) !== null,
        memory.spans(FRAME.load + PAGE - 8, 16, access) !== null,
      ];
      assert.deepEqual(reach(dma), [true, true, true, true]);
      change(probes, { domains: [DOMAIN.firstDevice], gpa: FRAME.load, rights: right, isAllowed: false });
      assert.deepEqual(reach(dma), [access !== 'read', access !== 'write', false, false]);
      assert.deepEqual(reach(others), [true, true, true, true]);
      probes.run();
      for (const hart of HARTS) for (const mode of MODES) assert.equal(probes.count(hart, mode, 'load').faults, 0);
      const counts = must(board.protection).violations(DOMAIN.firstDevice);
      assert.deepEqual([counts[1], counts[2]], access === 'read' ? [3, 0] : [0, 3]);
      change(probes, { domains: [DOMAIN.firstDevice], gpa: FRAME.load, rights: right, isAllowed: true });
      assert.deepEqual(reach(dma), [true, true, true, true]);
    });
});

describe('frames', () => {
  test('a rule holds for a page that gets its frame later, on whichever way', () => {
    const probes = new Probes();
    const { board } = probes.machine;
    const protection = must(board.protection);
    const [touched, dma] = [0x8070_0000, 0x8070_1000];
    for (const gpa of [touched, dma]) {
      assert.equal(board.map.frame(gpa / PAGE), 0);
      change(probes, { domains: [DOMAIN.kernel], gpa, rights: RIGHT.write, isAllowed: false });
    }
    must(board.vcpus[0]).state.mode = 1n;
    assert.ok(board.guestMemory.setUp(touched, Uint8Array.of(1)));
    assert.ok(board.deviceMemory(must(board.config.slots[0])).write(dma, Uint8Array.of(1)));
    for (const gpa of [touched, dma]) {
      assert.equal(protection.rights(DOMAIN.kernel, gpa / PAGE), RIGHT.read | RIGHT.execute);
      assert.equal(protection.rights(DOMAIN.user, gpa / PAGE), 7);
    }
    assert.equal(board.kernelMemory.write(dma, Uint8Array.of(1)), false, 'the SBI writes for the kernel');
  });

  test('what is given back is nobody’s, and scrubbed', () => {
    const { board } = new Probes().machine;
    const protection = must(board.protection);
    board.guestMemory.setUp(0x8070_0000, Uint8Array.of(1, 2, 3));
    const page = 0x8070_0000 / PAGE;
    const frame = board.map.frame(page);
    assert.equal(protection.rights(DOMAIN.user, page), 7);
    protection.surrender(frame);
    for (const { number } of protection.domains) assert.equal(protection.rights(number, page), 0);
    assert.ok(board.memory.u8.subarray(frame * PAGE, (frame + 1) * PAGE).every((byte) => byte === 0));
  });

  test('frames that come back from pages of zeros are nobody’s; those of pages are the partition’s', () => {
    const pages = 300;
    const machine = new BareMachine(`
      li t0, 0x80400000
      li t1, ${pages}
      li t2, 4096
    next:
      sd zero, 0(t0)
      andi t3, t1, 7
      bnez t3, skip
      sd t1, 8(t0)
    skip:
      add t0, t0, t2
      addi t1, t1, -1
      bnez t1, next
    rest:
      j rest`);
    machine.run(20);
    const { memory, map, protection } = machine.board;
    const owned = new Set([...map.present()].map(({ host }) => host / PAGE));
    assert.ok(owned.size > pages / 8 && owned.size < pages / 2, `${owned.size} pages have frames`);
    const { frameFirst, frameNext } = memory.header;
    for (let frame = frameFirst; frame < frameNext; frame++)
      for (const { number, name } of must(protection).domains) {
        const rights = must(protection).frameRights(number, frame);
        assert.equal(rights !== 0, owned.has(frame), `frame ${frame}, ${name}`);
      }
  });

  test('ROM is not written by anybody', () => {
    const { board } = new Probes().machine;
    board.guestMemory.setUp(0x1000, Uint8Array.of(1));
    for (const { number } of must(board.protection).domains)
      assert.equal(must(board.protection).rights(number, 1), RIGHT.read | RIGHT.execute);
  });
});

describe('what an operator is told', () => {
  const PAGES = { start: FRAME.store, end: FRAME.store + PAGE } as const;

  test('rules by domain, range and letters; violations with who, what and where', () => {
    const probes = new Probes().run();
    const { board } = probes.machine;
    const apply = (asked: ProtectionChange): void => {
      const epoch = must(board.protection).tryChange(board, rightsChange(board, asked));
      assert.ok(epoch !== undefined);
    };
    apply({ action: 'deny', domains: ['user', 'device:rng0'], rights: 'wx', ...PAGES });
    apply({ action: 'deny', domains: ['kernel'], rights: 'r', start: 0x8080_0000, end: 0x8090_0000 });
    apply({ action: 'deny', domains: ['device:rng0'], rights: 'w', start: 0x8080_4000, end: 0x8080_5000 });
    const rule = (domain: string, denied: string, start: string, end: string) => ({ domain, start, end, denied });
    assert.deepEqual(protectionReport(board).rules, [
      rule('kernel', 'r', '0x80800000', '0x80900000'),
      rule('user', 'wx', '0x80402000', '0x80403000'),
      rule('device:rng0', 'wx', '0x80402000', '0x80403000'),
      rule('device:rng0', 'w', '0x80804000', '0x80805000'),
    ]);
    const log = new ProtectionLog(board);
    board.deviceMemory(must(board.config.slots[1])).write(FRAME.store + 8, Uint8Array.of(1));
    board.kernelMemory.read(0x8080_0000, new Uint8Array(1));
    probes.run(2);
    const seen: Violation[] = [];
    log.drain((violation) => seen.push(violation));
    const frame = board.map.frame(FRAME.store / PAGE);
    for (const hart of HARTS) {
      const own = seen.filter((one) => one.hart === hart);
      assert.ok(own.length > 0);
      for (const { pc, address, physical, ...rest } of own) {
        assert.deepEqual(rest, { domain: 'user', by: 'user', hart, access: 'store', missing: 'w', frame });
        assert.match(`${pc} ${address} ${physical}`, /^0x4030008[0-9a-f] 0x402020[0-9a-f]{2} 0x804020[0-9a-f]{2}$/);
      }
    }
    const others = seen.filter((one) => one.hart === undefined);
    assert.deepEqual(others, [
      { domain: 'device:rng0', by: 'device', access: 'store', missing: 'w', physical: '0x80402008', frame },
      {
        ...{ domain: 'kernel', by: 'sbi', access: 'load', missing: 'r', physical: '0x80800000' },
        frame: board.map.frame(0x8080_0000 / PAGE),
      },
    ]);
    assert.equal(latestViolations(board, 1).length, 1);
    const stores = protectionReport(board).domains.find(({ name }) => name === 'user')?.violations.store ?? 0;
    assert.equal(stores, seen.filter(({ by }) => by === 'user').length);
    const told = boardStats(board).protection;
    assert.deepEqual([told?.domains['user']?.store, told?.rules, told?.changes], [stores, 4, 3]);
  });

  test('a flood loses the oldest of the log, and no count', () => {
    const probes = new Probes({ translate: true, hotThreshold: 20 }).run();
    const { board } = probes.machine;
    const log = new ProtectionLog(board);
    change(probes, { domains: [DOMAIN.user], gpa: FRAME.store, rights: RIGHT.write, isAllowed: false });
    probes.run(600);
    let told = 0;
    log.drain(() => told++);
    const count = must(protectionReport(board).domains.find(({ name }) => name === 'user')).violations.store;
    assert.ok(log.lost > 0 && told < 512, `${told} of ${count}`);
    assert.equal(told + log.lost, count);
    assert.equal(latestViolations(board, 4096).length <= 512, true);
  });

  for (const [asked, code] of [
    [{ domains: ['disk9'] }, 'no-such-domain'],
    [{ domains: [] }, 'bad-usage'],
    [{ rights: '' }, 'bad-rights'],
    [{ rights: 'rwxs' }, 'bad-rights'],
    [{ start: FRAME.store + 1 }, 'bad-range'],
    [{ end: FRAME.store }, 'bad-range'],
    [{ start: -PAGE }, 'bad-range'],
    [{ start: 0x1000_0000, end: 0x1000_1000 }, 'bad-range'],
    [{ start: 2 ** 50, end: 2 ** 51 }, 'bad-range'],
  ] as const)
    test(`${JSON.stringify(asked)} is refused: ${code}`, () => {
      const { board } = new Probes({ memoryBytes: 16 << 20 }).machine;
      const whole = { action: 'deny', domains: ['user'], rights: 'w', ...PAGES, ...asked } as const;
      assert.throws(() => rightsChange(board, whole), { code });
      const off = new Probes({ protection: false }).machine.board;
      assert.throws(() => rightsChange(off, whole), { code: 'protection-off' });
    });

  test('more ranges than can be kept are refused, and nothing has changed', () => {
    const { board } = new Probes().machine;
    const protection = must(board.protection);
    const deny = (i: number): void => {
      const first = FRAME.store / PAGE + 2 * i;
      protection.tryChange(board, { domains: [0], first, end: first + 1, rights: 1, isAllowed: false });
    };
    for (let i = 0; i < 256; i++) deny(i);
    const { epoch } = protection;
    assert.throws(() => deny(256), { code: 'too-many-rules' });
    assert.deepEqual([protection.epoch, protection.ranges.length], [epoch, 256]);
  });
});
