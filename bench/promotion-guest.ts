/**
 * Programs in the place of a kernel, for promotion: phases of sensitive instructions, each announced and ended by a
 * letter on the console. In supervisor mode, addresses are physical, interrupts stay off.
 */
import { assemble } from '../src/isa/index.ts';

export interface Phases {
  /** `s`: so many sites, each executed twice. */
  readonly sites?: number;
  /** `f`: four sites, executed so many times. */
  readonly often?: number;
  /** `h`: time, timer calls, CSRs, registers of a virtio device, so many times. */
  readonly heavy?: number;
  /** `c`: turns of a loop without any. */
  readonly cool?: number;
}

/** What stands in a phase of many sites, in turn. None has an effect that another could see. */
const SITES = [
  'csrrw t2, sscratch, t3',
  'csrr t2, sie',
  'csrr t2, scause',
  'csrw stval, t3',
  'csrr t2, time',
  'csrr t3, sstatus',
] as const;
/** Ordinary work between sensitive instructions. */
const WORK = Array.from({ length: 12 }, (_, i) =>
  i % 3 === 0 ? 'add t6, t6, t2' : i % 3 === 1 ? 'xor t6, t6, s1' : 'slli t6, t6, 1',
);

/** A Linux Image that runs the phases in the order of their letters above, and powers off. */
export function promotionGuest({ sites = 0, often = 0, heavy = 0, cool = 0 }: Phases): Uint8Array {
  const loop = (letter: string, turns: number, body: readonly string[]): readonly string[] =>
    turns === 0
      ? []
      : [
          ...say(letter),
          `li s1, ${turns}`,
          `${letter}_again:`,
          ...body,
          'addi s1, s1, -1',
          // The body may be longer than a branch reaches.
          `beqz s1, ${letter}_done`,
          `j ${letter}_again`,
          `${letter}_done:`,
          ...say(letter.toUpperCase()),
        ];
  const source = [
    ...header(),
    'start:',
    'li s0, 0x10001000',
    'csrw sie, zero',
    ...loop(
      's',
      sites === 0 ? 0 : 2,
      Array.from({ length: sites }, (_, i) => SITES[i % SITES.length] ?? ''),
    ),
    ...loop('f', often, ['csrrw t3, sscratch, t3', 'csrr t2, scause', ...WORK, 'csrw stval, t2', 'csrr t4, sstatus']),
    ...loop('h', heavy, [
      ...['csrr t2, time', 'li t3, 1000000000', 'add a0, t2, t3', 'li a6, 0', 'li a7, 0x54494d45', 'ecall'],
      ...['csrrw t3, sscratch, t3', 'csrrci t4, sstatus, 2', ...WORK],
      ...['csrrsi t4, sstatus, 2', 'lw t2, 0x70(s0)', 'sw zero, 0x30(s0)', 'lw t5, 0x60(s0)'],
    ]),
    ...loop('c', cool, WORK),
    ...['li t0, 0x100000', 'li t1, 0x5555', 'sw t1, 0(t0)', 'end: j end'],
  ];
  return assemble(source.join('\n'), 0x8020_0000n).bytes;
}

function say(letter: string): readonly string[] {
  return ['li t0, 0x10000000', `li t1, ${letter.charCodeAt(0)}`, 'sb t1, 0(t0)'];
}

/** Documentation/arch/riscv/boot-image-header.rst: loaded 2 MiB into memory. */
function header(): readonly string[] {
  return [
    'j start',
    '.balign 8',
    '.dword 0x200000, 0x400000, 0',
    '.word 2, 0',
    '.dword 0, 0x5643534952',
    '.word 0x05435352, 0',
  ];
}
