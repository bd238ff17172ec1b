/**
 * The code overlay: who sees substitutes and who does not, what drops an overlay, what a guest can do about it. The
 * emulated instruction is sh1add (Zba) unless said otherwise: a0 = (a1 << 1) + a2.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { FRAME_BYTES } from '../engine/index.ts';
import { assemble, assembleInstruction } from '../isa/index.ts';
import { BASE, type BenchOptions, DATA, OverlayBench, VECTOR } from './overlay.testing.ts';

const A0 = 10;
const T0 = 5;
const emulated = `
    li a1, 20
    li a2, 2
    sh1add a0, a1, a2
    wfi`;
const word = (source: string): number => {
  const { bytes } = assemble(source, BigInt(BASE));
  return new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true);
};
const SH1ADD = word('sh1add a0, a1, a2');
const SH2ADD = word('sh2add a0, a1, a2');

for (const translates of [false, true]) {
  const benchOf = (options: BenchOptions = {}): OverlayBench => new OverlayBench({ ...options, translates });
  describe(translates ? 'translated' : 'interpreted', () => {
    describe('a substitute', () => {
      test('is met once by trap, then executed in the engine', () => {
        const bench = benchOf();
        bench.program(emulated);
        assert.deepEqual(bench.run(0, BASE).exits, ['illegal', 'wait']);
        assert.equal(bench.x(0, A0), 42n);
        assert.deepEqual(bench.run(0, BASE).exits, ['wait']);
        assert.equal(bench.vcpus[0].state.emulated, 2n);
        assert.equal(bench.vcpus[0].hart.emulations, 0);
        const { counters } = bench.memory.overlays;
        assert.deepEqual([counters.frames, counters.substitutes.emulate, counters.made], [1, 1, 1]);
      });

      test('is not made where there are no overlays: each execution is emulated, with the same result', () => {
        const bench = benchOf({ overlays: 0 });
        bench.program(emulated);
        for (let i = 1; i <= 3; i++) {
          bench.vcpus[0].state.x[A0] = 0n;
          assert.deepEqual(bench.run(0, BASE).exits, ['illegal', 'wait']);
          assert.equal(bench.x(0, A0), 42n);
          assert.equal(bench.vcpus[0].hart.emulations, i);
          assert.equal(bench.vcpus[0].state.instret, bench.vcpus[0].state.steps);
        }
      });

      test('changes neither the frame nor what loads, the debugger and devices see', () => {
        const bench = benchOf();
        bench.program(`lw t0, 12(t1)\n${emulated}`);
        const before = bench.read(BASE, FRAME_BYTES);
        bench.vcpus[0].state.x[6] = BigInt(BASE);
        bench.run(0, BASE);
        bench.run(0, BASE);
        assert.equal(bench.vcpus[0].state.emulated, 2n);
        assert.deepEqual(bench.read(BASE, FRAME_BYTES), before);
        assert.equal(BigInt.asUintN(32, bench.x(0, T0)), BigInt(SH1ADD));
      });

      test('keeps the pc: auipc and links behind it are the guest-virtual ones', () => {
        const bench = benchOf();
        bench.program(`
      sh1add a0, a1, a2
      auipc s0, 0
      jal s1, 1f
    1: sh1add a0, a1, a2
      auipc s2, 0
      wfi`);
        for (let i = 0; i < 2; i++) bench.run(0, BASE);
        assert.deepEqual(
          [8, 9, 18].map((r) => bench.x(0, r)),
          [4, 12, 16].map((at) => BigInt(BASE + at)),
        );
      });

      test('of two bytes', () => {
        const bench = benchOf({ cpu: 'rv64,zcb=emulate' });
        bench.program('c.nop\nc.mul a0, a1\nc.zext.b a1\nwfi');
        for (let i = 0; i < 2; i++) {
          bench.vcpus[0].state.x[A0] = 6n;
          bench.vcpus[0].state.x[11] = 0x107n;
          assert.deepEqual(bench.run(0, BASE).exits, i === 0 ? ['illegal', 'illegal', 'wait'] : ['wait']);
          assert.deepEqual([bench.x(0, A0), bench.x(0, 11)], [6n * 0x107n, 7n]);
        }
        assert.equal(bench.vcpus[0].state.emulated, 4n);
      });

      test('of an instruction that straddles two pages, and only while both halves are the same', () => {
        const bench = benchOf();
        const at = BASE + FRAME_BYTES - 2;
        bench.program('sh1add a0, a1, a2\nwfi', at);
        Object.assign(bench.vcpus[0].state.x, { 11: 20n, 12: 2n });
        assert.deepEqual(bench.run(0, at).exits, ['illegal', 'wait']);
        assert.deepEqual(bench.run(0, at).exits, ['wait']);
        assert.equal(bench.x(0, A0), 42n);
        // The upper half becomes that of sh2add: the overlay of the first page stays, and does not apply.
        bench.write(at + 2, Uint8Array.of((SH2ADD >> 16) & 255, SH2ADD >>> 24));
        assert.deepEqual([SH1ADD & 0xffff, SH2ADD >>> 16], [word('sh1add a0, a1, a2') & 0xffff, SH1ADD >>> 16]);
        bench.program('sh1add a0, a2, a1\nwfi', at);
        bench.vcpus[0].state.x[A0] = 0n;
        bench.run(0, at);
        assert.equal(bench.x(0, A0), 24n);
      });

      test('is no substitute for who jumps into its middle, nor for an instruction that overlaps it', () => {
        const bench = benchOf();
        // The upper half of `lui a0, 0x05d...` read alone, and a longer instruction whose upper half is the substitute's start.
        bench.program(emulated);
        bench.run(0, BASE);
        const site = BASE + 8;
        const upper = SH1ADD >>> 16;
        // 0x20c5 is c.addiw x1, 17 read alone.
        assert.equal(upper & 3, 1);
        bench.vcpus[0].state.x[1] = 1n;
        bench.run(0, site + 2, 1);
        assert.equal(
          bench.x(0, 1),
          BigInt.asUintN(64, 1n + BigInt.asIntN(6, BigInt(((upper >> 7) & 32) | ((upper >> 2) & 31)))),
        );
        // At site - 2 stands the upper half of li a2; make a 32-bit instruction of it that ends in the substitute's start.
        bench.write(site - 2, Uint8Array.of(0x37, 0x05));
        bench.run(0, BASE + 8);
        bench.run(0, BASE + 8);
        bench.run(0, site - 2, 1);
        assert.equal(
          bench.x(0, A0),
          BigInt.asUintN(64, BigInt.asIntN(32, BigInt((SH1ADD & 0xffff) << 16) & 0xfffff000n)),
        );
      });

      test("means nothing in the guest's own code, in an overlay or not", () => {
        const bench = benchOf();
        // What names the first record, in the guest's frame: the record says another offset.
        bench.program(`${emulated}\n`);
        bench.write(BASE + 64, Uint8Array.of(0x00, 0x90));
        for (let i = 0; i < 2; i++) bench.run(0, BASE);
        const { state } = bench.vcpus[0];
        bench.run(0, BASE + 64, 2);
        assert.deepEqual([state.mcause, state.mtval, state.mepc], [2n, 0x9000n, BigInt(BASE + 64)]);
      });

      test('that faults has the pc and the address of the instruction', () => {
        for (const overlays of [4, 0]) {
          const bench = benchOf({ cpu: 'rv64,zfh=emulate,zcb=emulate', overlays });
          const { state } = bench.vcpus[0];
          const at = BASE + FRAME_BYTES - 2;
          bench.program('flh fa0, 2(a1)\nnop', at);
          bench.program('nop\nc.lbu a0, 3(a1)\nwfi', BASE);
          state.mstatus = 1n << 13n;
          for (const address of [BigInt(DATA), 0x1000n, BigInt(DATA), 0x2000n]) {
            for (const [pc, extra] of [
              [at, 2n],
              [BASE + 4, 3n],
            ] as const) {
              state.x[11] = address;
              state.mcause = state.mtval = state.mepc = 0n;
              bench.run(0, pc, 2);
              const expected = address < BASE ? [5n, address + extra, BigInt(pc)] : [0n, 0n, 0n];
              // A trapped access has been reported; one that is good went on.
              assert.deepEqual([state.mcause, state.mtval, state.mepc], expected, `${overlays} ${pc.toString(16)}`);
            }
          }
          // Without the float unit's state it is illegal, emulated or not, and the bits are the guest's.
          state.mstatus = 0n;
          bench.run(0, at, 1);
          assert.deepEqual([state.mcause, state.mtval], [2n, BigInt(word('flh fa0, 2(a1)'))]);
        }
      });
    });

    test('of two partitions that share a code frame one has the overlay', () => {
      const bench = benchOf({ partitions: [7, 9] });
      bench.program(emulated);
      // Each has seen that the frame holds code: what one wrote unnoticed before would drop the overlay.
      for (const id of [0, 1] as const) bench.run(id, BASE, 1);
      bench.run(0, BASE);
      assert.deepEqual(bench.run(0, BASE).exits, ['wait']);
      assert.deepEqual(
        bench.memory.overlays.list().map(({ partition }) => partition),
        [7],
      );
      // The other one meets the instruction itself: its own overlay is another frame, with another version.
      assert.deepEqual(bench.run(1, BASE).exits, ['illegal', 'wait']);
      assert.equal(bench.x(1, A0), 42n);
      const both = bench.memory.overlays.list();
      assert.deepEqual(
        both.map(({ partition, version }) => [partition, version]),
        [
          [7, 1],
          [9, 2],
        ],
      );
      assert.equal(both[0]?.frame, both[1]?.frame);
      assert.notEqual(both[0]?.at, both[1]?.at);
      // A breakpoint of the one is none of the other's.
      const address = bench.host(BASE + 4);
      bench.memory.setBreakpoints([{ address, partition: 9 }], { inOverlays: true });
      for (const vcpu of bench.vcpus) vcpu.forgetTranslations();
      assert.deepEqual(bench.run(0, BASE).exits, ['wait']);
      assert.deepEqual(bench.run(1, BASE).exits, ['breakpoint']);
      // A write by one drops both.
      bench.write(BASE + 256, Uint8Array.of(1));
      assert.deepEqual(bench.memory.overlays.list(), []);
    });

    describe('text that checksums itself', () => {
      const source = `
      la s0, start
      la s1, end
      li a0, 0
      li s3, 50
    start:
      mv t0, s0
    1: lwu t1, 0(t0)
      add a0, a0, t1
      sh1add s2, t1, a0
      slli t2, a0, 7
      xor a0, a0, t2
      addi t0, t0, 4
      bltu t0, s1, 1b
      addi s3, s3, -1
      bnez s3, start
    end:
      wfi`;
      const sum = (cpu: string, overlays: number): [bigint, number] => {
        const bench = benchOf({ cpu, overlays });
        bench.program(source);
        const { last } = bench.run(0, BASE, 100_000);
        assert.equal(last.kind, 'wait');
        return [bench.x(0, A0), bench.memory.overlays.counters.frames];
      };
      test('sees what it would see without an overlay', () => {
        const [expected] = sum('rv64', 0);
        assert.deepEqual(sum('rv64,zba=emulate', 4), [expected, 1]);
        assert.deepEqual(sum('rv64,zba=emulate', 0), [expected, 0]);
      });
    });

    describe('a write to the frame drops the overlay', () => {
      /** Code that executes an emulated instruction, overwrites it with `a2`'s bits, and executes what is there now. */
      const rewriting = `
      la t0, site
      mv a1, a4
      mv a2, a5
    site:
      sh1add a0, a1, a2
      wfi
    store:
      la t0, site
      sw a3, 0(t0)
      fence.i
      j site`;
      const storeAt = (): number => {
        const { bytes } = assemble(rewriting, BigInt(BASE));
        for (let at = 0; at < bytes.length; at += 2)
          if (new DataView(bytes.buffer, bytes.byteOffset + at).getUint32(0, true) === SH1ADD) return BASE + at + 8;
        throw new Error('there is no sh1add');
      };
      const prepare = (): { bench: OverlayBench; store: number } => {
        const bench = benchOf();
        bench.program(rewriting);
        for (const { state } of bench.vcpus) Object.assign(state.x, { 14: 20n, 15: 2n, 13: BigInt(SH2ADD) });
        bench.run(0, BASE);
        assert.deepEqual(bench.run(0, BASE).exits, ['wait']);
        assert.equal(bench.memory.overlays.counters.frames, 1);
        return { bench, store: storeAt() };
      };

      test('by the vCPU itself, before the next instruction', () => {
        const { bench, store } = prepare();
        bench.run(0, store);
        assert.equal(bench.x(0, A0), 82n);
        assert.equal(bench.memory.overlays.counters.droppedByWrites, 1);
      });

      test('by another vCPU', () => {
        const { bench, store } = prepare();
        // Its own a1 and a2 are zero.
        bench.run(1, store);
        assert.equal(bench.x(1, A0), 0n);
        bench.run(0, BASE);
        assert.equal(bench.x(0, A0), 82n);
      });

      test('by a device', () => {
        const { bench, store } = prepare();
        bench.write(store - 8, new Uint8Array(new Uint32Array([SH2ADD]).buffer));
        bench.run(0, BASE);
        assert.equal(bench.x(0, A0), 82n);
      });

      test('to another place in it, and the instruction gets another overlay, with patience', () => {
        const { bench } = prepare();
        for (let drops = 1; drops < 5; drops++) {
          bench.write(BASE + 1024, Uint8Array.of(drops));
          assert.equal(bench.memory.overlays.counters.frames, 0);
          let exceptions = 0;
          while (bench.run(0, BASE).exits[0] === 'illegal') exceptions++;
          assert.equal(exceptions, 2 ** drops);
          assert.equal(bench.x(0, A0), 42n);
        }
      });

      test('and the place is not used again while another vCPU may stand in it', () => {
        const bench = benchOf({ overlays: 1 });
        bench.program(emulated);
        bench.run(0, BASE);
        const [first] = bench.memory.overlays.list();
        bench.vcpus[1].running = true;
        bench.write(BASE + 1024, Uint8Array.of(1));
        for (let i = 0; i < 200; i++) assert.equal(bench.run(0, BASE).exits[0], 'illegal');
        bench.vcpus[1].running = false;
        for (let i = 0; i < 200; i++) bench.run(0, BASE);
        const [second] = bench.memory.overlays.list();
        assert.equal(second?.at, first?.at);
        assert.notEqual(second?.version, first?.version);
      });
    });

    test('overlays are bounded: the oldest gives its place to a frame that traps often', () => {
      const bench = benchOf({ overlays: 1 });
      bench.program(emulated);
      bench.program(emulated, BASE + FRAME_BYTES);
      bench.run(0, BASE);
      assert.equal(bench.memory.overlays.counters.frames, 1);
      let exceptions = 0;
      while (bench.run(0, BASE + FRAME_BYTES).exits[0] === 'illegal') exceptions++;
      assert.equal(exceptions, 64);
      const { counters } = bench.memory.overlays;
      assert.deepEqual([counters.frames, counters.evicted, counters.limit], [1, 1, 1]);
      assert.equal(bench.run(0, BASE).exits[0], 'illegal');
      assert.equal(bench.x(0, A0), 42n);
    });

    test('a frame full of emulated instructions', () => {
      const bench = benchOf({ cpu: 'rv64,zcb=emulate' });
      const half = assembleInstruction('c.not a0', 0n);
      const bytes = new Uint8Array(FRAME_BYTES);
      for (let i = 0; i < FRAME_BYTES; i += 2) bytes.set([half & 255, half >> 8], i);
      bench.write(BASE, bytes);
      bench.program('wfi', BASE + FRAME_BYTES);
      for (let round = 0; round < 2; round++) {
        bench.vcpus[0].state.x[A0] = 5n;
        const { exits } = bench.run(0, BASE);
        assert.equal(bench.x(0, A0), 5n);
        // There are 1024 records; the other half of the instructions is emulated by trap.
        assert.equal(exits.length, round === 0 ? 2049 : 1025);
      }
    });

    test('dropped code takes the overlays along, and all is made anew', () => {
      const bench = benchOf();
      bench.program(emulated);
      bench.run(0, BASE);
      bench.memory.dropCode();
      for (const vcpu of bench.vcpus) vcpu.forgetTranslations();
      assert.equal(bench.memory.overlays.counters.frames, 0);
      assert.deepEqual(bench.run(0, BASE).exits, ['illegal', 'wait']);
      assert.deepEqual(bench.run(0, BASE).exits, ['wait']);
    });
  });
}

test('the vector is where traps end', () => {
  const bench = new OverlayBench({ cpu: 'rv64,zba=off' });
  bench.program(emulated);
  bench.run(0, BASE, 20);
  assert.deepEqual([bench.vcpus[0].state.pc, bench.vcpus[0].state.mtval], [BigInt(VECTOR), BigInt(SH1ADD)]);
});
