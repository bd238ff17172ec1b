/**
 * Pages that were written are told, whoever wrote them: a copy of memory that is brought up to date by sweeps alone is what
 * memory is. The suite is run interpreted here, and translated by the translator's tests.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assemble, DEFAULT_EXTENSIONS } from '../isa/index.ts';
import { BareHart, type BareHartOptions } from './engine.testing.ts';
import { GuestPhysicalMap } from './guest-physical-map.ts';
import { FRAME_BYTES } from './memory-plan.ts';
import { dropWriteTranslations } from './shadows.ts';
import { WRITERS } from './shared-frames.testing.ts';

const BASE = 0x8000_0000;
const PAGES = 32;
const [CODE, ROOT, DATA, OTHER] = [0, 1, 4, 8];
const VALUE = 0x7777_8888_9999_aaaan;

class Swept {
  readonly hart: BareHart;
  readonly copy = new Uint8Array(PAGES * FRAME_BYTES);
  readonly #held = new Uint8Array(BASE / FRAME_BYTES + PAGES);

  constructor(width: 32 | 64, translate?: BareHartOptions['translate']) {
    const options = { extensions: DEFAULT_EXTENSIONS, ramBase: BASE, ramBytes: PAGES * FRAME_BYTES };
    const blockBytes = (BASE / FRAME_BYTES + PAGES) * 4 + 64;
    this.hart = new BareHart({ ...options, width, translate, blockBytes, codeBytes: 4 << 20 });
    const { state } = this.hart;
    state.menvcfg = 1n << 7n; // CBZE
    state.mstatus |= 3n << 13n; // FS
  }

  program(source: string): void {
    const loop = `again:\n${source}\naddi x20, x20, -1\nbnez x20, again\nend: j end`;
    this.hart.write(BASE + CODE * FRAME_BYTES, assemble(loop, BigInt(BASE)).bytes);
  }

  /** Numbers of the pages that were written; the copy is what memory is. */
  sweep(): number[] {
    const { map, memory, state } = this.hart;
    const pages: number[] = [];
    map.sweep(this.#held, (number, host) => {
      const page = number - BASE / FRAME_BYTES;
      pages.push(page);
      this.#held[number] = host === 0 ? 0 : 1;
      const to = page * FRAME_BYTES;
      if (host === 0) this.copy.fill(0, to, to + FRAME_BYTES);
      else this.copy.set(memory.u8.subarray(host, host + FRAME_BYTES), to);
    });
    dropWriteTranslations(state);
    return pages;
  }

  check(): void {
    const { map, memory } = this.hart;
    for (let page = 0; page < PAGES; page++) {
      const found = map.look(BASE / FRAME_BYTES + page);
      const bytes =
        found.kind === 'memory' && found.host !== 0
          ? memory.u8.subarray(found.host, found.host + FRAME_BYTES)
          : new Uint8Array(FRAME_BYTES);
      assert.ok(
        Buffer.compare(bytes, this.copy.subarray(page * FRAME_BYTES, (page + 1) * FRAME_BYTES)) === 0,
        `page ${page}`,
      );
    }
  }

  run(page: number, rounds = 1, offset = 0): void {
    const { hart } = this;
    const { state } = hart;
    state.pc = BigInt(BASE);
    state.x[10] = BigInt(BASE + page * FRAME_BYTES + offset);
    state.x[11] = BigInt.asUintN(64, VALUE + BigInt(rounds) * 0x1_0001n);
    state.x[20] = BigInt(rounds);
    hart.run(rounds * 12 + 50);
    assert.equal(state.x[20], 0n, 'it came to its end');
  }
}

/** `translate`: with what makes regions of the loop. */
export function dirtyPagesSuite(width: 32 | 64, translate?: BareHartOptions['translate']): void {
  const warm = translate === undefined ? 2 : 3000;

  for (const { name, code } of WRITERS)
    test(`${name}: told once for each sweep, and only where it was`, () => {
      const swept = new Swept(width, translate);
      swept.program(`ld x12, 0(x10)\n${code}`);
      swept.run(DATA, warm);
      assert.equal(swept.hart.memory.header.regionsMade > 0, translate !== undefined);
      assert.deepEqual(swept.sweep(), [CODE, DATA]);
      swept.check();
      assert.deepEqual(swept.sweep(), []);
      for (let round = 0; round < 3; round++) {
        swept.run(DATA, warm + round);
        assert.deepEqual(swept.sweep(), [DATA]);
        swept.check();
        swept.run(OTHER, warm + round);
        swept.run(DATA, 1);
        assert.equal(swept.hart.map.countWritten(), 2);
        assert.deepEqual(swept.sweep(), [DATA, OTHER]);
        swept.check();
      }
    });

  test('a store across two pages', () => {
    const swept = new Swept(width, translate);
    swept.program('sd x11, 0(x10)');
    swept.run(DATA, warm, 4092);
    swept.sweep();
    swept.run(DATA, 1, 4092);
    assert.deepEqual(swept.sweep(), [DATA, DATA + 1]);
    swept.check();
  });

  test('loads and fetches write nothing', () => {
    const swept = new Swept(width, translate);
    swept.program('ld x12, 0(x10)\nlr.d x13, (x10)');
    swept.run(DATA, warm);
    swept.sweep();
    swept.run(DATA, warm);
    assert.deepEqual(swept.sweep(), []);
  });

  test('a walk that sets A, and one that sets D', () => {
    const swept = new Swept(width, translate);
    const { hart } = swept;
    const { state } = hart;
    swept.program('ld x12, 0(x10)\nadd x14, x14, x12');
    const pte = (BigInt(BASE / FRAME_BYTES) << 10n) | 0xfn;
    hart.write(BASE + ROOT * FRAME_BYTES + 16, new Uint8Array(BigUint64Array.of(pte).buffer));
    state.satp = (8n << 60n) | BigInt(BASE / FRAME_BYTES + ROOT);
    state.mstatus |= (1n << 17n) | (1n << 11n); // MPRV as supervisor
    state.menvcfg |= 1n << 61n; // ADUE
    Object.assign(state, { pmpaddr0: (1n << 54n) - 1n, pmpcfg0: 0x1fn });
    hart.processor.contextChanged(hart.at);
    hart.map.host(BASE / FRAME_BYTES + DATA, 'write');
    swept.sweep();
    swept.run(DATA);
    assert.deepEqual(swept.sweep(), [ROOT]);
    swept.check();
    swept.program('sd x11, 0(x10)');
    swept.sweep();
    swept.run(DATA);
    assert.deepEqual(swept.sweep(), [ROOT, DATA]);
    swept.check();
  });

  test('whoever is no vCPU: tells of what it may write, not of what it reads', () => {
    const swept = new Swept(width, translate);
    const { map } = swept.hart;
    const page = BASE / FRAME_BYTES + DATA;
    map.host(page, 'write');
    swept.sweep();
    map.host(page, 'read');
    assert.deepEqual(swept.sweep(), []);
    for (const access of ['write', 'setup'] as const) {
      const host = map.host(page, access);
      swept.hart.memory.u8.fill(0xee, host, host + 8);
      assert.deepEqual(swept.sweep(), [DATA]);
      swept.check();
    }
  });

  test('a page that lost its frame holds zeros, and is told as such once', () => {
    const swept = new Swept(width, translate);
    const { map, memory } = swept.hart;
    swept.hart.write(BASE + DATA * FRAME_BYTES, Uint8Array.of(1, 2, 3));
    swept.sweep();
    memory.giveFrames([map.release(BASE / FRAME_BYTES + DATA)]);
    assert.deepEqual(swept.sweep(), [DATA]);
    swept.check();
    assert.deepEqual(swept.sweep(), []);
  });

  test('a page that a twin has, too: the copy is told, and the twin is not disturbed', () => {
    const swept = new Swept(width, translate);
    const { hart } = swept;
    const { memory, map } = hart;
    const twin = new GuestPhysicalMap(
      memory,
      memory.block((BASE / FRAME_BYTES + PAGES) * 4),
      BASE / FRAME_BYTES + PAGES,
    );
    twin.declare(BASE, PAGES * FRAME_BYTES, { readOnly: false });
    swept.program('sd x11, 0(x10)');
    swept.run(DATA, warm);
    swept.sweep();
    map.forkTo(twin);
    hart.processor.flushTranslation(hart.at);
    swept.run(DATA);
    assert.deepEqual(swept.sweep(), [DATA]);
    swept.check();
    assert.notEqual(map.frame(BASE / FRAME_BYTES + DATA), twin.frame(BASE / FRAME_BYTES + DATA));
  });

  test('pages are told in rising order, whichever range was declared first', () => {
    const swept = new Swept(width, translate);
    const { map } = swept.hart;
    map.declare(0x1000_0000, FRAME_BYTES, { readOnly: true });
    map.host(0x1000_0000 / FRAME_BYTES, 'setup');
    map.host(BASE / FRAME_BYTES + DATA, 'write');
    const pages: number[] = [];
    map.sweep(new Uint8Array(map.pages), (page) => pages.push(page));
    assert.deepEqual(pages, [0x1000_0000 / FRAME_BYTES, BASE / FRAME_BYTES + DATA]);
  });

  test('when nobody sweeps any more, nothing is clean', () => {
    const swept = new Swept(width, translate);
    swept.program('sd x11, 0(x10)');
    swept.run(DATA, warm);
    swept.sweep();
    swept.hart.map.endSweeps();
    assert.equal(swept.hart.map.countWritten(), 2);
  });
}
