/**
 * The APLIC against its chapter: source modes by delivery mode, delegation, priorities, messages and where they go, locks.
 * Long: a section of the chapter each.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { AssertionError } from '../../base/assert.ts';
import { Aplic } from './aplic.ts';
import { blockFor, checkRegisterModel, FakeClock, type Journal } from './platform.testing.ts';

const HARTS = 2;
const DOMAINCFG = 0;
const GENMSI = 0x3000;
const sourcecfg = (source: number) => 4 * source;
const target = (source: number) => 0x3000 + 4 * source;
const idc = (hart: number, offset: number) => 0x4000 + 32 * hart + offset;
const [IDELIVERY, IFORCE, ITHRESHOLD, TOPI, CLAIMI] = [0, 4, 8, 0x18, 0x1c];
const [SETIP, SETIPNUM, IN_CLRIP, CLRIPNUM] = [0x1c00, 0x1cdc, 0x1d00, 0x1ddc];
const [SETIE, SETIENUM, CLRIE, CLRIENUM] = [0x1e00, 0x1edc, 0x1f00, 0x1fdc];
const [MMSIADDRCFG, MMSIADDRCFGH, SMSIADDRCFG, SMSIADDRCFGH] = [0x1bc0, 0x1bc4, 0x1bc8, 0x1bcc];
const IE = 0x100;
const DELEGATE = 0x400;
const MODES = { detached: 1, edge1: 4, edge0: 5, level1: 6, level0: 7 } as const;
type Mode = keyof typeof MODES;

interface Options {
  readonly messages?: boolean;
  readonly guests?: number;
  readonly parent?: Aplic;
  readonly block?: { buffer: ArrayBufferLike; at: number };
}

function domain(journal: Journal, { messages = false, guests = 0, parent, block }: Options = {}): Aplic {
  const level = parent === undefined ? 'm' : 's';
  const aplic = new Aplic(
    `aplic-${level}`,
    block ?? blockFor(Aplic.layout(HARTS)),
    { harts: HARTS, messages, guests, ...(parent === undefined ? {} : { parent }) },
    {
      setExternal: (hart, high) => journal.push(`${level} ${hart} ${high ? 1 : 0}`),
      send: (gpa, data) => {
        journal.push(`${level} ${gpa.toString(16)} ${data}`);
        return gpa < 0x3000_0000;
      },
    },
  );
  return aplic;
}

/** A root domain that is on, all harts taking interrupts; what it has done so far is forgotten. */
function started(options: Options = {}): { aplic: Aplic; journal: Journal } {
  const journal: Journal = [];
  const aplic = domain(journal, options);
  aplic.reset();
  aplic.write(DOMAINCFG, 4, IE);
  for (let hart = 0; hart < HARTS; hart++) aplic.write(idc(hart, IDELIVERY), 4, 1);
  journal.length = 0;
  return { aplic, journal };
}

function configure(aplic: Aplic, source: number, mode: Mode, hart = 0, low = 1): void {
  aplic.write(sourcecfg(source), 4, MODES[mode]);
  aplic.write(target(source), 4, hart * 2 ** 18 + low);
  aplic.write(SETIENUM, 4, source);
}

const isPending = (aplic: Aplic, source: number) => (aplic.read(SETIP + 4 * (source >> 5), 4) >>> (source & 31)) & 1;
const rectified = (aplic: Aplic, source: number) => (aplic.read(IN_CLRIP + 4 * (source >> 5), 4) >>> (source & 31)) & 1;

for (const messages of [false, true]) {
  const kind = messages ? 'messages' : 'direct';
  checkRegisterModel(`aplic, root, ${kind}`, (journal, block) => {
    const device = domain(journal, { messages, ...(block === undefined ? {} : { block }) });
    return {
      device,
      registers: device.registers,
      clock: new FakeClock(),
      disturb: (random) => device.line(1 + random.below(96)).set(random.below(2) === 0),
    };
  });
  // Its wires are the parent's, whose state is not saved here: they stand still.
  checkRegisterModel(`aplic, child, ${kind}`, (journal, block) => {
    const parent = domain([], { messages });
    const device = domain(journal, { messages, guests: 3, parent, ...(block === undefined ? {} : { block }) });
    parent.reset();
    for (let source = 1; source <= 96; source++) parent.write(sourcecfg(source), 4, DELEGATE);
    return { device, registers: device.registers, clock: new FakeClock() };
  });
}

describe('source modes', () => {
  interface Step {
    readonly do: 'rise' | 'fall' | 'set' | 'clear' | 'claim';
    /** Pending then; with messages and no enable, what would be forwarded stays. */
    readonly direct: 0 | 1;
    readonly messages: 0 | 1;
  }
  const step = (act: Step['do'], direct: 0 | 1, messages: 0 | 1 = direct): Step => ({ do: act, direct, messages });
  const cases: Record<Mode, readonly Step[]> = {
    detached: [step('rise', 0), step('set', 1), step('fall', 1), step('clear', 0), step('set', 1), step('claim', 0, 1)],
    edge1: [
      ...[step('rise', 1), step('fall', 1), step('clear', 0), step('rise', 1), step('claim', 0, 1)],
      ...[step('clear', 0), step('fall', 0), step('set', 1)],
    ],
    edge0: [
      ...[step('rise', 0), step('fall', 1), step('rise', 1), step('clear', 0), step('fall', 1), step('claim', 0, 1)],
      ...[step('clear', 0), step('set', 1)],
    ],
    level1: [
      ...[step('set', 0), step('rise', 1), step('claim', 1), step('clear', 1, 0), step('set', 1), step('fall', 0)],
      ...[step('set', 0), step('clear', 0)],
    ],
    level0: [
      ...[step('rise', 0), step('set', 0), step('fall', 1), step('claim', 1), step('clear', 1, 0), step('set', 1)],
      ...[step('rise', 0), step('set', 0)],
    ],
  };
  for (const messages of [false, true]) {
    for (const [mode, steps] of Object.entries(cases) as [Mode, readonly Step[]][]) {
      test(`${mode}, ${messages ? 'messages' : 'direct'}`, () => {
        const { aplic, journal } = started({ messages });
        aplic.write(DOMAINCFG, 4, messages ? 0 : IE);
        const line = aplic.line(40);
        const inverted = mode === 'edge0' || mode === 'level0';
        line.set(inverted && mode === 'edge0');
        configure(aplic, 40, mode);
        // An inverted source is rectified high while its wire is low: begin with what it says low to.
        line.set(inverted);
        aplic.write(CLRIPNUM, 4, 40);
        if (inverted) assert.equal(isPending(aplic, 40), 0);
        for (const [i, { do: act, ...expected }] of steps.entries()) {
          if (act === 'rise') line.set(true);
          else if (act === 'fall') line.set(false);
          else if (act === 'set') aplic.write(SETIPNUM, 4, 40);
          else if (act === 'clear') aplic.write(CLRIPNUM, 4, 40);
          else if (!messages) assert.equal(aplic.read(idc(0, CLAIMI), 4), 0x28_0001);
          assert.equal(isPending(aplic, 40), messages ? expected.messages : expected.direct, `step ${i}: ${act}`);
        }
        if (messages) assert.deepEqual(journal, [], 'nothing is sent while IE is off');
      });
    }
  }

  test('rectified inputs, of active sources with a wire alone', () => {
    const { aplic } = started();
    for (const source of [1, 33, 96]) aplic.line(source).set(true);
    assert.deepEqual(
      [0, 1, 2, 3].map((word) => aplic.read(IN_CLRIP + 4 * word, 4)),
      [0, 0, 0, 0],
      'inactive',
    );
    aplic.write(sourcecfg(1), 4, MODES.level1);
    aplic.write(sourcecfg(33), 4, MODES.edge0);
    aplic.write(sourcecfg(34), 4, MODES.edge0);
    aplic.write(sourcecfg(96), 4, MODES.detached);
    assert.deepEqual(
      [1, 33, 34, 96].map((source) => rectified(aplic, source)),
      [1, 0, 1, 0],
    );
  });

  test('a source becomes active with its input high: a request; and inactive: nothing is left', () => {
    for (const messages of [false, true]) {
      const { aplic } = started({ messages });
      aplic.write(DOMAINCFG, 4, 0);
      aplic.line(9).set(true);
      configure(aplic, 9, 'level1');
      assert.equal(isPending(aplic, 9), 1);
      aplic.write(sourcecfg(9), 4, 0);
      assert.deepEqual([isPending(aplic, 9), aplic.read(SETIE, 4), aplic.read(target(9), 4)], [0, 0, 0]);
      for (const at of [SETIPNUM, SETIENUM]) aplic.write(at, 4, 9);
      assert.deepEqual([isPending(aplic, 9), aplic.read(SETIE, 4)], [0, 0], 'inactive: read-only zero');
    }
  });

  test('reserved modes are inactive; a leaf cannot delegate', () => {
    const { aplic } = started();
    for (const value of [2, 3, DELEGATE, DELEGATE | 1, 0x3ff & ~7]) {
      aplic.write(sourcecfg(5), 4, MODES.edge1);
      aplic.write(sourcecfg(5), 4, value);
      assert.equal(aplic.read(sourcecfg(5), 4), 0, value.toString(16));
    }
    aplic.write(sourcecfg(5), 4, 0xffff_fbff);
    assert.equal(aplic.read(sourcecfg(5), 4), 7, 'reserved bits are dropped');
  });
});

describe('registers by number and by word', () => {
  test('set and clear what they name, of active sources', () => {
    const { aplic } = started();
    for (const source of [31, 32, 63, 64, 96]) configure(aplic, source, 'detached');
    assert.deepEqual(
      [0, 1, 2, 3].map((w) => aplic.read(SETIE + 4 * w, 4)),
      [0x8000_0000, 0x8000_0001, 1, 1],
    );
    for (let word = 0; word < 4; word++) aplic.write(SETIP + 4 * word, 4, 0xffff_ffff);
    assert.deepEqual(
      [0, 1, 2, 3].map((w) => aplic.read(SETIP + 4 * w, 4)),
      [0x8000_0000, 0x8000_0001, 1, 1],
    );
    aplic.write(CLRIE + 4, 4, 0x8000_0000);
    aplic.write(CLRIENUM, 4, 96);
    assert.deepEqual(
      [0, 1, 2, 3].map((w) => aplic.read(SETIE + 4 * w, 4)),
      [0x8000_0000, 1, 1, 0],
    );
    aplic.write(IN_CLRIP, 4, 0x8000_0000);
    aplic.write(CLRIPNUM, 4, 64);
    assert.deepEqual(
      [0, 1, 2, 3].map((w) => aplic.read(SETIP + 4 * w, 4)),
      [0, 0x8000_0001, 0, 1],
    );
    for (const at of [CLRIE, SETIPNUM, CLRIPNUM, SETIENUM, CLRIENUM, 0x2000, 0x2004])
      assert.equal(aplic.read(at, 4), 0);
  });

  test('either byte order', () => {
    const { aplic } = started();
    configure(aplic, 77, 'detached');
    aplic.write(0x2004, 4, 77);
    assert.equal(isPending(aplic, 77), 0);
    aplic.write(0x2004, 4, 77 * 2 ** 24);
    assert.equal(isPending(aplic, 77), 1);
    aplic.write(CLRIPNUM, 4, 77);
    aplic.write(0x2000, 4, 77);
    assert.equal(isPending(aplic, 77), 1);
  });

  test('numbers that are no source are ignored', () => {
    const { aplic } = started();
    for (const number of [0, 97, 1023, 0xffff_ffff])
      for (const at of [SETIPNUM, CLRIPNUM, SETIENUM, CLRIENUM, 0x2000]) aplic.write(at, 4, number);
    assert.deepEqual(
      [0, 1, 2, 3].map((w) => aplic.read(SETIP + 4 * w, 4)),
      [0, 0, 0, 0],
    );
    assert.equal(aplic.state.unassignedWrites, 0);
    assert.equal(aplic.read(sourcecfg(97), 4), 0);
    assert.equal(aplic.state.unassignedReads, 1);
  });
});

describe('direct delivery', () => {
  test('domaincfg says so', () => {
    const { aplic } = started();
    assert.equal(aplic.read(DOMAINCFG, 4), 0x8000_0100);
    aplic.write(DOMAINCFG, 4, 0xffff_ffff);
    assert.equal(aplic.read(DOMAINCFG, 4), 0x8000_0100, 'DM and BE are fixed');
    assert.equal(aplic.read(GENMSI, 4), 0);
  });

  test('the hart that a source is for is interrupted while it is enabled, delivered and within the threshold', () => {
    const { aplic, journal } = started();
    const steps = (act: () => void): string[] => {
      journal.length = 0;
      act();
      return [...journal];
    };
    configure(aplic, 3, 'level1', 1, 4);
    assert.deepEqual(
      steps(() => aplic.line(3).set(true)),
      ['m 1 1'],
    );
    assert.deepEqual(
      steps(() => aplic.write(DOMAINCFG, 4, 0)),
      ['m 1 0'],
    );
    assert.deepEqual(
      steps(() => aplic.write(DOMAINCFG, 4, IE)),
      ['m 1 1'],
    );
    assert.deepEqual(
      steps(() => aplic.write(idc(1, IDELIVERY), 4, 0)),
      ['m 1 0'],
    );
    assert.deepEqual(
      steps(() => aplic.write(idc(1, IDELIVERY), 4, 1)),
      ['m 1 1'],
    );
    assert.deepEqual(
      steps(() => aplic.write(CLRIENUM, 4, 3)),
      ['m 1 0'],
    );
    assert.deepEqual(
      steps(() => aplic.write(SETIENUM, 4, 3)),
      ['m 1 1'],
    );
    assert.deepEqual(
      steps(() => aplic.write(idc(1, ITHRESHOLD), 4, 4)),
      ['m 1 0'],
      'priority 4 is not below 4',
    );
    assert.deepEqual(
      steps(() => aplic.write(idc(1, ITHRESHOLD), 4, 5)),
      ['m 1 1'],
    );
    assert.deepEqual(
      steps(() => aplic.write(idc(1, ITHRESHOLD), 4, 0)),
      [],
      'none: all come through',
    );
    assert.deepEqual(
      steps(() => aplic.write(target(3), 4, 4)),
      ['m 1 0', 'm 0 1'],
      'another hart',
    );
    assert.deepEqual(
      steps(() => aplic.line(3).set(false)),
      ['m 0 0'],
    );
  });

  test('the lowest priority number first, then the lowest source; claims of edges end them', () => {
    const { aplic } = started();
    for (const [source, priority] of [
      [5, 2],
      [4, 2],
      [70, 7],
      [9, 1],
      [96, 7],
    ] as const) {
      configure(aplic, source, 'edge1', 0, priority);
      aplic.line(source).set(true);
    }
    assert.equal(aplic.read(idc(0, TOPI), 4), 9 * 65536 + 1);
    const claimed = [1, 2, 3, 4, 5, 6].map(() => aplic.read(idc(0, CLAIMI), 4));
    assert.deepEqual(
      claimed.map((value) => [value >>> 16, value & 0xffff]),
      [
        [9, 1],
        [4, 2],
        [5, 2],
        [70, 7],
        [96, 7],
        [0, 0],
      ],
    );
  });

  test('neither IE nor idelivery is asked by topi and claimi; writes to them are ignored', () => {
    const { aplic } = started();
    configure(aplic, 9, 'edge1');
    aplic.line(9).set(true);
    aplic.write(DOMAINCFG, 4, 0);
    aplic.write(idc(0, IDELIVERY), 4, 0);
    for (const at of [TOPI, CLAIMI]) aplic.write(idc(0, at), 4, 0xffff_ffff);
    assert.equal(aplic.read(idc(0, TOPI), 4), 0x9_0001);
    assert.equal(aplic.read(idc(0, CLAIMI), 4), 0x9_0001);
    assert.equal(aplic.read(idc(0, CLAIMI), 4), 0);
    assert.equal(aplic.state.unassignedWrites, 0);
  });

  test('iforce: a spurious interrupt, until a claim finds nothing', () => {
    const { aplic, journal } = started();
    aplic.write(idc(1, IFORCE), 4, 3);
    assert.equal(aplic.read(idc(1, IFORCE), 4), 1);
    assert.equal(aplic.read(idc(1, TOPI), 4), 0);
    configure(aplic, 9, 'edge1', 1);
    aplic.line(9).set(true);
    assert.equal(aplic.read(idc(1, CLAIMI), 4), 0x9_0001);
    assert.equal(aplic.read(idc(1, IFORCE), 4), 1, 'something was claimed');
    assert.equal(aplic.read(idc(1, CLAIMI), 4), 0);
    assert.equal(aplic.read(idc(1, IFORCE), 4), 0);
    assert.deepEqual(journal, ['m 1 1', 'm 1 0']);
  });

  test('fields: three bits of priority, never zero; harts that are not there', () => {
    const { aplic, journal } = started();
    configure(aplic, 9, 'edge1');
    aplic.write(target(9), 4, 0xffff_ffff);
    assert.equal(aplic.read(target(9), 4), 0xfffc_0007);
    aplic.write(target(9), 4, 0x4_0008);
    assert.equal(aplic.read(target(9), 4), 0x4_0001);
    aplic.write(idc(0, ITHRESHOLD), 4, 0xff);
    assert.equal(aplic.read(idc(0, ITHRESHOLD), 4), 7);
    aplic.write(target(9), 4, 0xfffc_0001);
    aplic.line(9).set(true);
    assert.deepEqual(journal, [], 'hart 16383');
    assert.equal(aplic.read(idc(HARTS, TOPI), 4), 0);
  });
});

describe('delivery by messages', () => {
  /** Machine level from 0x24000000 on, supervisor level from 0x28000000 on with two pages of guests each, two harts. */
  function withAddresses(options: Options = {}) {
    const all = started({ messages: true, ...options });
    all.aplic.write(MMSIADDRCFG, 4, 0x2_4000);
    all.aplic.write(SMSIADDRCFG, 4, 0x2_8000);
    all.aplic.write(SMSIADDRCFGH, 4, 1 << 20);
    all.aplic.write(MMSIADDRCFGH, 4, 1 << 12);
    return all;
  }

  test('domaincfg says so; there are no IDCs', () => {
    const { aplic } = withAddresses();
    assert.equal(aplic.read(DOMAINCFG, 4), 0x8000_0104);
    aplic.write(DOMAINCFG, 4, 0);
    assert.equal(aplic.read(DOMAINCFG, 4), 0x8000_0004);
    const before = aplic.state.unassignedReads;
    aplic.read(idc(0, IDELIVERY), 4);
    assert.equal(aplic.state.unassignedReads, before + 1);
  });

  test('a request that is enabled becomes a message, once', () => {
    const { aplic, journal } = withAddresses();
    configure(aplic, 10, 'level1', 1, 77);
    aplic.line(10).set(true);
    assert.deepEqual(journal, ['m 24001000 77']);
    assert.equal(isPending(aplic, 10), 0);
    aplic.write(SETIPNUM, 4, 10);
    assert.deepEqual(journal.splice(0), ['m 24001000 77', 'm 24001000 77'], 'still high: asked for again');
    aplic.line(10).set(false);
    aplic.write(SETIPNUM, 4, 10);
    assert.deepEqual(journal, [], 'low: no request');
    aplic.line(10).set(true);
    assert.deepEqual(journal.splice(0), ['m 24001000 77']);
    aplic.write(CLRIENUM, 4, 10);
    aplic.line(10).set(false);
    aplic.line(10).set(true);
    assert.deepEqual(journal, []);
    aplic.write(SETIENUM, 4, 10);
    assert.deepEqual(journal.splice(0), ['m 24001000 77'], 'when it is enabled');
    aplic.write(DOMAINCFG, 4, 0);
    aplic.line(10).set(false);
    aplic.line(10).set(true);
    assert.deepEqual(journal, []);
    aplic.write(DOMAINCFG, 4, IE);
    assert.deepEqual(journal, ['m 24001000 77'], 'when the domain is');
    assert.equal(aplic.state.messages, 5);
  });

  test('genmsi sends at once, whatever IE says, and is never busy', () => {
    const { aplic, journal } = withAddresses();
    aplic.write(DOMAINCFG, 4, 0);
    aplic.write(GENMSI, 4, 0x4_f855);
    assert.equal(aplic.read(GENMSI, 4), 0x4_0055);
    assert.deepEqual(journal, ['m 24001000 85']);
  });

  test('the address is made of the fields of both levels', () => {
    const parent = withAddresses().aplic;
    const journal: Journal = [];
    const child = domain(journal, { messages: true, guests: 1, parent });
    child.reset();
    child.write(DOMAINCFG, 4, IE);
    parent.write(sourcecfg(8), 4, DELEGATE);
    // LHXW 1, HHXW 2, HHXS 12: hart 5 is hart 1 of group 2, groups 2^36 apart.
    parent.write(MMSIADDRCFGH, 4, ((12 << 24) | (2 << 16) | (1 << 12) | 0x123) >>> 0);
    parent.write(SMSIADDRCFGH, 4, 0x10_0000 | 0x1);
    configure(child, 8, 'detached', 5, (1 << 12) | 9);
    child.write(SETIPNUM, 4, 8);
    const page = (1n << 32n) | 0x2_8000n | (2n << 24n) | (1n << 1n) | 1n;
    assert.deepEqual(journal, [`s ${(page << 12n).toString(16)} 9`]);
    assert.equal(child.state.lostMessages, 1, 'nobody took it');
  });

  test('guests are for a domain of supervisor level alone, and where there are any', () => {
    const parent = withAddresses().aplic;
    configure(parent, 7, 'detached');
    parent.write(target(7), 4, 0xffff_ffff);
    assert.equal(parent.read(target(7), 4), 0xfffc_07ff);
    for (const [guests, expected] of [
      [0, 0xfffc_07ff],
      [1, 0xffff_f7ff],
    ] as const) {
      const child = domain([], { messages: true, guests, parent });
      child.reset();
      const index = guests === 0 ? 0 : 1;
      parent.write(sourcecfg(8), 4, DELEGATE | index);
      configure(child, 8, 'detached');
      child.write(target(8), 4, 0xffff_ffff);
      assert.equal(child.read(target(8), 4), expected);
    }
  });

  test('addresses are the root domain’s, until they are locked', () => {
    const { aplic } = withAddresses();
    const child = domain([], { messages: true, parent: aplic });
    child.reset();
    const registers = [MMSIADDRCFG, MMSIADDRCFGH, SMSIADDRCFG, SMSIADDRCFGH];
    assert.deepEqual(
      registers.map((at) => child.read(at, 4)),
      [0, 0, 0, 0],
    );
    for (const at of [SMSIADDRCFGH, SMSIADDRCFG, MMSIADDRCFG]) aplic.write(at, 4, 0xffff_ffff);
    aplic.write(MMSIADDRCFGH, 4, 0xffff_ffff);
    const fixed = [0xffff_ffff, 0x9f77_ffff, 0xffff_ffff, 0x0070_0fff];
    assert.deepEqual(
      registers.map((at) => aplic.read(at, 4)),
      fixed,
    );
    for (const at of registers) aplic.write(at, 4, 0);
    assert.deepEqual(
      registers.map((at) => aplic.read(at, 4)),
      fixed,
      'locked',
    );
    aplic.reset();
    assert.deepEqual(
      registers.map((at) => aplic.read(at, 4)),
      [0, 0, 0, 0],
    );
  });

  test('without messages there are no addresses', () => {
    const { aplic } = started();
    aplic.write(MMSIADDRCFG, 4, 1);
    assert.equal(aplic.read(MMSIADDRCFG, 4), 0);
  });
});

describe('delegation', () => {
  function family() {
    const { aplic: parent, journal } = started();
    const child = domain(journal, { parent });
    child.reset();
    child.write(DOMAINCFG, 4, IE);
    for (let hart = 0; hart < HARTS; hart++) child.write(idc(hart, IDELIVERY), 4, 1);
    journal.length = 0;
    return { parent, child, journal };
  }

  test('a source is its domain’s alone', () => {
    const { parent, child, journal } = family();
    parent.line(6).set(true);
    configure(child, 6, 'level1');
    assert.equal(child.read(sourcecfg(6), 4), 0, 'not delegated: not there');
    parent.write(sourcecfg(6), 4, DELEGATE);
    assert.equal(parent.read(sourcecfg(6), 4), DELEGATE);
    assert.equal(child.read(sourcecfg(6), 4), 0, 'zero until it is written');
    configure(child, 6, 'level1');
    assert.deepEqual(journal.splice(0), ['s 0 1'], 'the wire was high already');
    configure(parent, 6, 'level1');
    assert.deepEqual([child.read(sourcecfg(6), 4), isPending(child, 6), child.read(SETIE, 4)], [0, 0, 0], 'taken away');
    assert.deepEqual(journal.splice(0), ['s 0 0', 'm 0 1']);
    parent.write(sourcecfg(6), 4, DELEGATE);
    assert.deepEqual(journal.splice(0), ['m 0 0']);
    assert.equal(child.read(sourcecfg(6), 4), 0);
  });

  test('to a child that there is', () => {
    const { parent } = family();
    parent.write(sourcecfg(6), 4, DELEGATE | 1);
    assert.equal(parent.read(sourcecfg(6), 4), 0);
  });

  test('the root’s reset takes all back', () => {
    const { parent, child, journal } = family();
    parent.write(sourcecfg(6), 4, DELEGATE);
    configure(child, 6, 'level1');
    parent.line(6).set(true);
    parent.reset();
    assert.equal(child.read(sourcecfg(6), 4), 0);
    assert.deepEqual(
      journal.filter((entry) => entry.startsWith('s')),
      ['s 0 1', 's 0 0'],
    );
  });

  test('what firmware does before a supervisor starts', () => {
    for (const messages of [false, true]) {
      const journal: Journal = [];
      const parent = domain(journal, { messages });
      const child = domain(journal, { messages, guests: 3, parent });
      for (const one of [parent, child]) one.reset();
      const machine = { basePage: 0x2_4000, lowShift: 0, lowBits: 1 };
      parent.handOver(machine, { ...machine, basePage: 0x2_8000, lowShift: 2 });
      child.write(DOMAINCFG, 4, IE);
      child.write(idc(1, IDELIVERY), 4, 1);
      journal.length = 0;
      configure(child, 96, 'edge1', 1, messages ? (3 << 12) | 5 : 5);
      parent.line(96).set(true);
      assert.deepEqual(journal, [messages ? 's 28007000 5' : 's 1 1']);
      parent.write(SMSIADDRCFG, 4, 0);
      assert.equal(parent.read(SMSIADDRCFG, 4), messages ? 0x2_8000 : 0, 'locked');
    }
  });
});

test('only sources 1 to 96 have wires', () => {
  const { aplic } = started();
  for (const source of [0, 97, 1.5, -1]) assert.throws(() => aplic.line(source), AssertionError);
});
