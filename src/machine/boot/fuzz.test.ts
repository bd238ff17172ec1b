import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OperatorError } from '../../base/errors.ts';
import { Random } from '../machine.testing.ts';
import { VIRT } from '../virt-map.ts';
import { binary, decompress, elf, file, gzip, linuxImage, zboot } from './boot.testing.ts';
import { type BootPlan, planBoot } from './index.ts';

const memoryBytes = 64 * 2 ** 20;
const tree = new Uint8Array(3000);

const seeds: readonly [name: string, bytes: Uint8Array][] = [
  ['Image', linuxImage({ peMachine: 0x5064 })],
  ['zboot', zboot(gzip(linuxImage()))],
  [
    'ELF',
    elf({
      segments: [
        { virtual: 0x8000_0000n, content: 'text' },
        { virtual: 0xffff_ffff_8020_0000n, physical: 0x8020_0000n, content: 'data', sizeBytes: 4096n },
      ],
    }),
  ],
  ['position-independent ELF', elf({ type: 3, segments: [{ virtual: 0n, content: 'text', sizeBytes: 64n }] })],
  ['raw bytes', binary(512, [[0, 0x0000_0013]])],
];

/** Values on which arithmetic of sizes and offsets trips. */
const nasty = [0, 1, 2, 0x7f, 0x80, 0xff, 0xfe, 0x40];

function mutate(bytes: Uint8Array, random: Random): Uint8Array {
  const out = random.below(5) === 0 ? bytes.slice(0, random.below(bytes.length + 1)) : bytes.slice();
  for (let hits = random.below(6); hits > 0 && out.length > 0; hits--) {
    // Headers lie in the first 200 bytes.
    const at = random.below(Math.min(out.length, random.below(4) === 0 ? out.length : 200));
    for (let run = 1 + random.below(8); run > 0 && at + run <= out.length; run--) {
      out[at + run - 1] = random.below(3) === 0 ? random.next() : random.pick(nasty);
    }
  }
  return out;
}

/** What every plan must promise to whoever carries it out. */
function check(plan: BootPlan): void {
  const end = VIRT.ram.base + memoryBytes;
  let last = 0;
  for (const { gpa, bytes, sizeBytes, what } of plan.segments) {
    assert.ok(Number.isSafeInteger(gpa) && gpa >= last, `${what} at ${gpa}`);
    assert.ok(Number.isSafeInteger(sizeBytes) && bytes.length <= sizeBytes, `${what} has ${sizeBytes}`);
    last = gpa + sizeBytes;
    const inRom = gpa >= VIRT.resetRom.base && last <= VIRT.resetRom.base + VIRT.resetRom.sizeBytes;
    assert.ok(inRom || (gpa >= VIRT.ram.base && last <= end), `${what} lies at ${gpa} to ${last}`);
  }
  const within = (address: number) =>
    plan.segments.some(({ gpa, sizeBytes }) => address >= gpa && address < gpa + sizeBytes);
  assert.ok(within(plan.entry) && within(plan.fdtAddress));
}

for (const [name, bytes] of seeds) {
  test(`fuzz: a damaged ${name} gives a plan that holds or an operator error`, () => {
    const random = new Random(bytes.length);
    let planned = 0;
    for (let i = 0; i < 2000; i++) {
      const hurt = mutate(bytes, random);
      const kernel = file('kernel', hurt);
      const base = { memoryBytes, decompress, deviceTree: () => tree };
      const requests = [
        { ...base, firmware: 'built-in' as const, kernel },
        { ...base, firmware: 'none' as const, kernel, initrd: file('initrd', mutate(hurt, random)) },
        { ...base, firmware: file('firmware', hurt) },
      ];
      try {
        check(planBoot(random.pick(requests)));
        planned++;
      } catch (error) {
        assert.ok(error instanceof OperatorError, `${i}: ${error instanceof Error ? error.stack : error}`);
        assert.ok(error.message.length < 400 && !error.message.includes('\n'), error.message);
      }
    }
    assert.ok(planned > 0 && planned < 2000, `${planned} of 2000 were planned`);
  });
}
