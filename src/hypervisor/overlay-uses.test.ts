/** What overlays are for beside emulation: breakpoints, and instructions that a policy traps. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { must } from '../base/assert.ts';
import { FRAME_BYTES, MOST_POLICIES } from '../engine/index.ts';
import { BASE, type BenchOptions, OverlayBench } from './overlay.testing.ts';

const A0 = 10;
const emulated = `
    li a1, 20
    li a2, 2
    sh1add a0, a1, a2
    wfi`;

for (const translates of [false, true]) {
  const benchOf = (options: BenchOptions = {}): OverlayBench => new OverlayBench({ ...options, translates });
  describe(translates ? 'translated' : 'interpreted', () => {
    describe('breakpoints', () => {
      for (const overlays of [4, 0]) {
        test(overlays > 0 ? 'in overlays' : 'without overlays', () => {
          const bench = benchOf({ overlays });
          bench.program(emulated);
          const { state } = bench.vcpus[0];
          const set = (...places: number[]): void => {
            bench.memory.setBreakpoints(
              places.map((at) => ({ address: bench.host(at), partition: 0 })),
              { inOverlays: overlays > 0 },
            );
            for (const vcpu of bench.vcpus) vcpu.forgetTranslations();
          };
          const stop = (pc: number | undefined): [string | undefined, number] => [
            bench.run(0, pc).exits.at(-1),
            Number(state.pc) - BASE,
          ];
          // Before the frame was ever executed, and on an instruction that is emulated.
          set(BASE + 4, BASE + 8);
          assert.deepEqual(stop(BASE), ['breakpoint', 4]);
          set(BASE + 8);
          assert.deepEqual(stop(undefined), ['breakpoint', 8]);
          assert.deepEqual(stop(undefined), ['breakpoint', 8], 'it stands there');
          set(BASE + 4);
          assert.deepEqual(stop(undefined), ['wait', 16]);
          assert.equal(bench.x(0, A0), 42n);
          // A write drops the overlay, not the breakpoint; dropped code neither.
          bench.write(BASE + 1024, Uint8Array.of(1));
          assert.deepEqual(stop(BASE), ['breakpoint', 4]);
          bench.memory.dropCode();
          for (const vcpu of bench.vcpus) vcpu.forgetTranslations();
          assert.deepEqual(stop(BASE), ['breakpoint', 4]);
          set();
          assert.deepEqual(stop(BASE), ['wait', 16]);
          assert.equal(bench.memory.overlays.counters.substitutes.breakpoint, 0);
        });
      }

      test('in a frame whose writes went unnoticed: the newest instruction stands behind them', () => {
        for (const overlays of [4, 0]) {
          const bench = benchOf({ overlays });
          const code = BASE + 0x1000;
          bench.program('1: sw a2, 0(a1)\n addi a3, a3, -1\n bnez a3, 1b\n jr a4\n 2: wfi');
          bench.program('addi a0, x0, 1\n wfi', code);
          /** Writes the word so many times beside the code, or into it, and goes there, or waits. */
          const write = (offset: number, bits: number, times: number, next: number): string | undefined => {
            bench.vcpus[0].state.x.set([code + offset, bits, times, next].map(BigInt), 11);
            return bench.run(0, BASE).exits.at(-1);
          };
          const put = (value: number): number => (value << 20) | 0x513;
          const [idle, data] = [BASE + 16, 0x800];
          assert.equal(write(data, 0, 1, code), 'wait');
          assert.equal(bench.x(0, A0), 1n);
          assert.equal(write(data, 0, 100, idle), 'wait');
          bench.memory.setBreakpoints([{ address: bench.host(code + 4), partition: 0 }], { inOverlays: overlays > 0 });
          for (const vcpu of bench.vcpus) vcpu.forgetTranslations();
          for (const value of [2, 3, 4]) {
            assert.equal(write(0, put(value), 1, code), 'breakpoint');
            assert.equal(bench.x(0, A0), BigInt(value), `with ${overlays} overlays`);
            assert.equal(write(data, 0, 100, idle), 'wait');
          }
        }
      });

      test('come into code that has been running, in whatever page it began', () => {
        for (const overlays of [4, 0]) {
          const bench = benchOf({ overlays });
          bench.program(`
              li s0, 300
              li s1, ${BASE + FRAME_BYTES}
            1: jalr s1
              addi s0, s0, -1
              bnez s0, 1b
              wfi`);
          bench.program('sh1add a0, a1, a2\naddi a3, a3, 1\nret', BASE + FRAME_BYTES);
          assert.deepEqual(bench.run(0, BASE).last.kind, 'wait');
          assert.equal(bench.x(0, 13), 300n);
          const address = bench.host(BASE + FRAME_BYTES + 4);
          bench.memory.setBreakpoints([{ address, partition: 0 }], { inOverlays: overlays > 0 });
          for (const vcpu of bench.vcpus) vcpu.forgetTranslations();
          assert.deepEqual(bench.run(0, BASE).last.kind, 'breakpoint');
          assert.deepEqual([bench.x(0, 13), bench.x(0, 8)], [300n, 300n]);
        }
      });

      test('stand on a straddling instruction, emulated or not', () => {
        const bench = benchOf();
        const at = BASE + FRAME_BYTES - 2;
        bench.program('sh1add a0, a1, a2\nwfi', at);
        const set = (...places: number[]): void => {
          bench.memory.setBreakpoints(
            places.map((one) => ({ address: bench.host(one), partition: 0 })),
            { inOverlays: true },
          );
          for (const vcpu of bench.vcpus) vcpu.forgetTranslations();
        };
        bench.run(0, at);
        set(at);
        assert.deepEqual(bench.run(0, at).exits.at(-1), 'breakpoint');
        set();
        assert.deepEqual(bench.run(0, at).exits, ['wait']);
      });
    });

    describe('policies', () => {
      for (const overlays of [4, 0]) {
        test(`count and log every execution, and execute it (${overlays > 0 ? 'overlays' : 'by trap'})`, () => {
          const policies = [{ row: 'addi' }, { csr: 0x340 }, { row: 'sh1add' }, { row: 'jal' }];
          const bench = benchOf({ overlays, policies });
          bench.program(`
          li s0, 0
          li s1, 10
        1: addi s0, s0, 3
          csrw mscratch, s0
          csrrs s2, mscratch, x0
          sh1add a0, s0, s2
          addi s1, s1, -1
          beqz s1, 2f
          j 1b
        2: wfi`);
          bench.run(0, BASE);
          const { state } = bench.vcpus[0];
          assert.equal(bench.x(0, A0), 90n);
          assert.deepEqual(Array.from(state.policyCounts.subarray(0, 5)), [22n, 20n, 10n, 9n, 0n]);
          assert.equal(state.policyCounts.length, MOST_POLICIES);
          assert.equal(state.trapLogNext, 61);
          const log = Array.from({ length: 6 }, (_, i) => [
            Number(must(state.trapLog[i * 2])) - BASE,
            (must(state.trapLog[i * 2 + 1]) >> 32n) & 0xffffn,
            must(state.trapLog[i * 2 + 1]) >> 48n,
          ]);
          assert.deepEqual(log, [
            [0, 1n, 3n],
            [4, 1n, 3n],
            [8, 1n, 3n],
            [12, 2n, 3n],
            [16, 2n, 3n],
            [20, 3n, 3n],
          ]);
          assert.equal(state.instret, state.steps);
        });
      }

      test('trap an instruction that straddles two pages, and one under a breakpoint', () => {
        for (const overlays of [4, 0]) {
          const bench = benchOf({ overlays, policies: [{ row: 'lui' }] });
          const at = BASE + FRAME_BYTES - 2;
          bench.program('lui a0, 0x12345\nwfi', at);
          for (let i = 1; i <= 3; i++) {
            bench.run(0, at);
            assert.equal(bench.x(0, A0), 0x12345000n);
            assert.equal(bench.vcpus[0].state.policyCounts[0], BigInt(i));
          }
        }
      });
    });
  });
}
