/**
 * Frames that two partitions have, written by each kind of writer: whoever writes gets a copy, sees what it wrote at once,
 * and the other one never does. The suite is run interpreted here, and translated by the translator's tests.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assemble, DEFAULT_EXTENSIONS } from '../isa/index.ts';
import { BareHart, type BareHartOptions } from './engine.testing.ts';
import { GuestPhysicalMap } from './guest-physical-map.ts';
import { FRAME_BYTES } from './memory-plan.ts';

const BASE = 0x8000_0000;
const PAGES = 64;
/** Pages: of code, of page tables, of nobody else's memory, and of the twin's as well. */
const [CODE, ROOT, OWN, SHARED] = [0, 1, 2, 4];
const OLD = 0x1111_2222_3333_4444n;
const NEW = 0x7777_8888_9999_aaaan;
const MPRV_AS_SUPERVISOR = (1n << 17n) | (1n << 11n);
const MENVCFG_ADUE = 1n << 61n;
const MENVCFG_CBZE = 1n << 7n;

export interface Writer {
  readonly name: string;
  /** x10 is the address, x11 the value; x14 to x17 are its own. */
  readonly code: string;
  /** What is at the address behind it. */
  readonly leaves: bigint;
  readonly crosses?: boolean;
}

const half = (value: bigint, upper: bigint): bigint => (upper << 32n) | (value & 0xffff_ffffn);

export const WRITERS: readonly Writer[] = [
  { name: 'sd', code: 'sd x11, 0(x10)', leaves: NEW },
  { name: 'sb', code: 'sb x11, 0(x10)', leaves: (OLD & ~0xffn) | (NEW & 0xffn) },
  { name: 'two stores through two registers', code: 'mv x14, x10\nsd x0, 0(x14)\nsd x11, 0(x10)', leaves: NEW },
  { name: 'amoswap.d', code: 'amoswap.d x14, x11, (x10)', leaves: NEW },
  { name: 'amoadd.w', code: 'amoadd.w x14, x11, (x10)', leaves: half(OLD + NEW, OLD >> 32n) },
  { name: 'lr.d, sc.d', code: '1: lr.d x14, (x10)\nsc.d x15, x11, (x10)\nbnez x15, 1b', leaves: NEW },
  { name: 'cbo.zero', code: 'cbo.zero (x10)', leaves: 0n },
  { name: 'fsd', code: 'fmv.d.x f1, x11\nfsd f1, 0(x10)', leaves: NEW },
];

/** A hart whose memory the twin has, too. */
class Twins {
  readonly hart: BareHart;
  readonly twin: GuestPhysicalMap;
  /** Exits of the hart for a page of its own. */
  copies = 0;

  constructor(width: 32 | 64, translate?: BareHartOptions['translate']) {
    const pages = BASE / FRAME_BYTES + PAGES;
    const options = { extensions: DEFAULT_EXTENSIONS, ramBase: BASE, ramBytes: PAGES * FRAME_BYTES };
    this.hart = new BareHart({ ...options, width, translate, blockBytes: pages * 4 + 64, codeBytes: 4 << 20 });
    const { memory } = this.hart;
    this.twin = new GuestPhysicalMap(memory, memory.block(pages * 4), pages);
    this.twin.declare(BASE, PAGES * FRAME_BYTES, { readOnly: false });
    const { state } = this.hart;
    state.menvcfg = MENVCFG_CBZE;
    state.mstatus |= 3n << 13n; // FS
  }

  program(source: string): void {
    this.hart.write(BASE + CODE * FRAME_BYTES, assemble(source, BigInt(BASE)).bytes);
  }

  fill(page: number, value: bigint): void {
    this.hart.write(BASE + page * FRAME_BYTES, new Uint8Array(new BigUint64Array(FRAME_BYTES / 8).fill(value).buffer));
  }

  fork(): void {
    this.hart.map.forkTo(this.twin);
    this.hart.processor.flushTranslation(this.hart.at);
  }

  /** From the program's start, with x10 at the page, for so many rounds of it. */
  run(page: number, rounds = 1, offset = 0): void {
    const { hart } = this;
    const { state, map } = hart;
    state.pc = BigInt(BASE);
    state.x[10] = BigInt(BASE + page * FRAME_BYTES + offset);
    state.x[11] = NEW;
    state.x[20] = BigInt(rounds);
    for (;;) {
      const exit = hart.run(rounds * 12 + 50);
      if (exit.kind !== 'copyPage') break;
      this.copies++;
      map.own(exit.gpa / FRAME_BYTES, (copy) => {
        copy();
        return true;
      });
      hart.processor.flushTranslation(hart.at);
    }
    assert.equal(state.x[20], 0n, 'it came to its end');
  }

  at(who: 'hart' | 'twin', page: number, offset = 0): bigint {
    const found = (who === 'hart' ? this.hart.map : this.twin).look(BASE / FRAME_BYTES + page);
    assert.ok(found.kind === 'memory' && found.host !== 0);
    const { u8 } = this.hart.memory;
    return new DataView(u8.buffer, found.host + offset, 8).getBigUint64(0, true);
  }

  sharers(page: number): number {
    return this.hart.memory.sharers.of(this.twin.frame(BASE / FRAME_BYTES + page));
  }
}

const loop = (body: string): string => `
again:
${body}
    addi x20, x20, -1
    bnez x20, again
end:
    j end
`;

/** `translate`: with what makes regions of the loop, which it runs before on a page of its own. */
export function sharedFramesSuite(width: 32 | 64, translate?: BareHartOptions['translate']): void {
  const warm = translate === undefined ? 1 : 3000;

  for (const { name, code, leaves } of WRITERS)
    for (const isRead of [false, true])
      test(`${name} to a page that was ${isRead ? '' : 'not '}read before gets a copy of it`, () => {
        const twins = new Twins(width, translate);
        twins.program(loop(`${isRead ? 'ld x12, 0(x10)' : ''}\n${code}\nld x13, 0(x10)`));
        twins.fill(OWN, OLD);
        twins.fill(SHARED, OLD);
        twins.fork();
        twins.run(OWN, warm);
        const before = twins.hart.memory.header.framesCopied;
        const exits = twins.copies;
        twins.run(SHARED);
        assert.equal(twins.hart.memory.header.regionsMade > 0, translate !== undefined);
        assert.equal(twins.hart.state.x[13], leaves, 'it reads what it wrote');
        assert.equal(twins.at('hart', SHARED), leaves);
        assert.equal(twins.at('hart', SHARED, 4088), OLD, 'the rest is as it was');
        assert.deepEqual([twins.at('twin', SHARED), twins.at('twin', SHARED, 4088)], [OLD, OLD]);
        assert.equal(twins.hart.memory.header.framesCopied - before, 1);
        const isAtomic = name.startsWith('lr');
        assert.equal(twins.copies - exits, isRead || isAtomic ? 1 : 0, 'only what was read has to leave the engine');
        // The twin has the old frame alone now, and keeps it.
        const frame = twins.twin.frame(BASE / FRAME_BYTES + SHARED);
        assert.equal(twins.sharers(SHARED), 0);
        assert.equal(twins.twin.host(BASE / FRAME_BYTES + SHARED, 'write'), frame * FRAME_BYTES);
        assert.equal(twins.hart.memory.header.framesCopied - before, 1);
      });

  test('a store across two pages gets copies of both', () => {
    const twins = new Twins(width, translate);
    twins.program(loop('ld x12, 0(x10)\nsd x11, 0(x10)\nld x13, 0(x10)'));
    for (const page of [OWN, OWN + 1, SHARED, SHARED + 1]) twins.fill(page, OLD);
    twins.fork();
    twins.run(OWN, warm, 4092);
    twins.run(SHARED, 1, 4092);
    assert.equal(twins.hart.state.x[13], NEW);
    for (const page of [SHARED, SHARED + 1])
      assert.deepEqual([twins.at('twin', page, 0), twins.at('twin', page, 4088)], [OLD, OLD]);
  });

  test('a store into its own code: the twin executes what was there', () => {
    const twins = new Twins(width, translate);
    // Round by round the immediate of the addi changes: it is a store to the page of the program itself.
    twins.program(`
again:
    auipc x14, 0
    lw x15, place - again(x14)
    li x16, 0x100000
    add x15, x15, x16
    sw x15, place - again(x14)
    fence.i
place:
    addi x13, x0, 1
    addi x20, x20, -1
    bnez x20, again
end:
    j end
`);
    twins.fork();
    const entry = BASE / FRAME_BYTES + CODE;
    const before = twins.hart.memory.u8.slice(
      twins.twin.frame(entry) * FRAME_BYTES,
      (twins.twin.frame(entry) + 1) * FRAME_BYTES,
    );
    twins.run(OWN, 1);
    assert.equal(twins.hart.state.x[13], 2n);
    twins.run(OWN, 5);
    assert.equal(twins.hart.state.x[13], 7n);
    const frame = twins.twin.frame(entry);
    assert.notEqual(twins.hart.map.frame(entry), frame);
    assert.deepEqual(twins.hart.memory.u8.slice(frame * FRAME_BYTES, (frame + 1) * FRAME_BYTES), before);
  });

  test('a walk that sets A and D gets a copy of the page table', () => {
    for (const [instruction, bits] of [
      ['ld x13, 0(x10)', 0x40n],
      ['sd x11, 0(x10)', 0xc0n],
    ] as const) {
      const twins = new Twins(width, translate);
      twins.program(loop(instruction));
      twins.fill(OWN, OLD);
      const pte = (BigInt(BASE / FRAME_BYTES) << 10n) | 0xfn;
      twins.hart.write(BASE + ROOT * FRAME_BYTES + 16, new Uint8Array(BigUint64Array.of(pte).buffer));
      twins.fork();
      const { state } = twins.hart;
      state.satp = (8n << 60n) | BigInt(BASE / FRAME_BYTES + ROOT);
      state.mstatus |= MPRV_AS_SUPERVISOR;
      state.menvcfg |= MENVCFG_ADUE;
      Object.assign(state, { pmpaddr0: (1n << 54n) - 1n, pmpcfg0: 0x1fn });
      twins.hart.processor.contextChanged(twins.hart.at);
      twins.run(OWN, warm);
      assert.equal(twins.at('hart', ROOT, 16), pte | bits);
      assert.equal(twins.at('twin', ROOT, 16), pte);
    }
  });

  test('whoever is no vCPU gets a copy to read and to write', () => {
    const page = BASE / FRAME_BYTES + SHARED;
    for (const access of ['read', 'write', 'setup'] as const) {
      const twins = new Twins(width, translate);
      twins.fill(SHARED, OLD);
      twins.fork();
      const host = twins.hart.map.host(page, access);
      assert.notEqual(host, twins.twin.frame(page) * FRAME_BYTES);
      twins.hart.memory.u8.fill(0xee, host, host + FRAME_BYTES);
      assert.equal(twins.at('twin', SHARED), OLD);
      assert.equal(twins.hart.map.host(page, access), host);
    }
  });

  test('where no frame is left, the writer leaves the engine, and nothing is changed', () => {
    const twins = new Twins(width, translate);
    const { hart } = twins;
    twins.program(loop('sd x11, 0(x10)'));
    twins.fill(SHARED, OLD);
    twins.fork();
    hart.memory.header.frameLimit = hart.memory.header.frameNext;
    hart.state.pc = BigInt(BASE);
    hart.state.x[10] = BigInt(BASE + SHARED * FRAME_BYTES);
    assert.equal(hart.run(100).kind, 'memoryFull');
    assert.equal(hart.state.pc, BigInt(BASE));
    assert.deepEqual([twins.at('hart', SHARED), twins.at('twin', SHARED)], [OLD, OLD]);
    assert.equal(twins.sharers(SHARED), 1);
    assert.equal(hart.map.own(BASE / FRAME_BYTES + SHARED), 0);
  });

  test('frames stay as long as anybody has them', () => {
    const twins = new Twins(width, translate);
    const { memory, map } = twins.hart;
    twins.fill(SHARED, OLD);
    twins.fork();
    const frame = map.frame(BASE / FRAME_BYTES + SHARED);
    assert.deepEqual(memory.leaveFrames([frame]), []);
    assert.deepEqual(memory.leaveFrames([frame]), [frame]);
  });
}
