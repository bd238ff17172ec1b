import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseCpu } from '../isa/index.ts';
import { BareHart } from './engine.testing.ts';
import { FRAME_BYTES } from './memory-plan.ts';
import { placeShadows, shadowBytes } from './shadows.ts';
import { FRESH_PAGES, type VcpuState, vcpuState } from './vcpu-state.ts';

const BASE = 0x8000_0000;
const PAGES = FRESH_PAGES + 64;

/** A hart that stores x11 at x10, again and again; its code lies in the first page. */
class Storer {
  readonly hart: BareHart;
  #satp = 0n;

  constructor(width: 32 | 64) {
    const extensions = parseCpu('rv64');
    const blockBytes = vcpuState.sizeBytes + shadowBytes() + 128;
    this.hart = new BareHart({ extensions, width, ramBase: BASE, ramBytes: PAGES * FRAME_BYTES, blockBytes });
    // csrw satp, x12; sd x11, 0(x10); j -8
    this.hart.write(BASE, new Uint8Array(Uint32Array.of(0x18061073, 0x00b53023, 0xff9ff06f).buffer));
    this.hart.state.pc = BigInt(BASE);
  }

  /** One store by the guest's code. What was fresh before it is looked at when the code runs. */
  store(page: number, value: bigint, offset = 8): void {
    const { state } = this.hart;
    state.x[10] = BigInt(BASE + page * FRAME_BYTES + offset);
    state.x[11] = value;
    state.x[12] = this.#satp;
    this.hart.run(3);
  }

  /** Stores from now on are an address space's own; in machine mode its addresses are the machine's. */
  useSpace(asid: bigint): void {
    this.#satp = (8n << 60n) | (asid << 44n);
  }

  load(page: number, offset = 8): bigint {
    const bytes = this.hart.read(BASE + page * FRAME_BYTES + offset, 8);
    return new DataView(bytes.buffer).getBigUint64(0, true);
  }

  get frames(): number {
    return this.hart.memory.framesUsed;
  }

  isPresent(page: number): boolean {
    return !this.hart.map.isUntouched(BASE / FRAME_BYTES + page);
  }

  /** A second vCPU of the same machine. */
  second(): { at: number; state: VcpuState } {
    const { memory, processor } = this.hart;
    const at = memory.block(vcpuState.sizeBytes);
    const state = vcpuState.view(memory.buffer, at);
    placeShadows(memory, state, memory.block(shadowBytes()));
    for (const field of ['gpaMap', 'gpaPages', 'features', 'mode'] as const) state[field] = this.hart.state[field];
    processor.contextChanged(at);
    return { at, state };
  }
}

for (const width of [32, 64] as const) {
  describe(`frames of pages to which zeros are written, memory${width}`, () => {
    test('serve one page after the other', () => {
      const guest = new Storer(width);
      guest.store(1, 0n);
      const { frames } = guest;
      for (let page = 2; page < 40; page++) guest.store(page, 0n);
      assert.equal(guest.frames, frames);
      assert.equal(guest.isPresent(20), false);
      assert.equal(guest.load(20), 0n);
    });

    test('stay where something else is in them, wherever it is', () => {
      const guest = new Storer(width);
      for (const [page, offset] of [0, 8, 56, 64, 2048, 4032, 4088].entries()) guest.store(page + 1, 0xabcn, offset);
      for (let page = 20; page < 30; page++) guest.store(page, 0n);
      for (const [page, offset] of [0, 8, 56, 64, 2048, 4032, 4088].entries())
        assert.equal(guest.load(page + 1, offset), 0xabcn, `${offset}`);
    });

    test('are not reached any more by the page that lost them', () => {
      const guest = new Storer(width);
      guest.store(1, 0n);
      guest.store(2, 5n); // page 1 goes, and its frame may become that of page 3
      guest.store(3, 6n);
      guest.store(1, 7n); // by the write buffer, if it were still there
      guest.store(1, 8n, 16);
      assert.deepEqual(
        [1, 2, 3].map((page) => guest.load(page)),
        [7n, 5n, 6n],
      );
      assert.deepEqual(
        [1, 2, 3].map((page) => guest.load(page, 16)),
        [8n, 0n, 0n],
      );
    });

    test('are not reached any more from other address spaces either', () => {
      const guest = new Storer(width);
      for (const space of [1n, 2n, 3n]) {
        guest.useSpace(space);
        guest.store(Number(space), 0n);
      }
      for (const page of [4, 5, 6, 7]) guest.store(page, BigInt(page)); // in frames of pages 1 to 3
      for (const space of [1n, 2n, 3n]) {
        guest.useSpace(space);
        guest.store(Number(space), 10n + space);
      }
      const pages = [1, 2, 3, 4, 5, 6, 7];
      assert.deepEqual(
        pages.map((page) => guest.load(page)),
        [11n, 12n, 13n, 4n, 5n, 6n, 7n],
      );
    });

    test('stay where a device has borrowed them', () => {
      const guest = new Storer(width);
      guest.store(1, 0n);
      const host = guest.hart.map.host(BASE / FRAME_BYTES + 1, 'write');
      guest.store(2, 0n);
      guest.hart.memory.u8[host] = 9;
      guest.store(3, 1n);
      assert.equal(guest.load(1, 0), 9n);
    });

    test('stay where another vCPU has come to the page', () => {
      const guest = new Storer(width);
      const other = guest.second();
      const { processor } = guest.hart;
      const va = BigInt(BASE + FRAME_BYTES + 8);
      guest.store(1, 0n);
      assert.equal(processor.load(other.at, va, 8), 0n);
      guest.store(2, 3n);
      guest.store(1, 4n);
      assert.equal(processor.load(other.at, va, 8), 4n);
      processor.store(other.at, va, 8, 5n);
      assert.equal(guest.load(1), 5n);
      assert.equal(other.state.fault, 0);
    });

    test('are looked at so many at a time; the others stay', () => {
      const guest = new Storer(width);
      const { at, processor, state } = guest.hart;
      for (let page = 1; page < PAGES; page++) processor.store(at, BigInt(BASE + page * FRAME_BYTES), 8, 0n);
      assert.equal(state.fault, 0);
      const { frames } = guest;
      guest.store(1, 1n);
      assert.equal(guest.isPresent(FRESH_PAGES), false);
      assert.equal(guest.isPresent(FRESH_PAGES + 1), true);
      for (let page = 2; page < PAGES; page++) guest.store(page, BigInt(page));
      assert.equal(guest.frames, frames, 'all were used again');
      for (let page = 2; page < PAGES; page++) assert.equal(guest.load(page), BigInt(page));
    });
  });
}
