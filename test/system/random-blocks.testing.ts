/**
 * Random programs for a comparison with QEMU: blocks of random instructions of all unprivileged rows, executed in
 * U-mode under a handler in M-mode. PMP opens the code (read, execute) and a window of data, so that any address is
 * harmless. Traps are mixed into an accumulator, and the instruction skipped. An ecall ends each block: the handler
 * logs all registers, fcsr and the accumulator. Behind the last block, the test device ends the machine.
 *
 *   0x80000000 start, handler   0x80010000 blocks   0x80400000 data window   0x80500000 handler's cell   0x80600000 log
 */

import { Random } from '../../src/engine/random.testing.ts';
import { CodeGenerator, POINTERS } from '../../src/engine/random-code.testing.ts';
import {
  assemble,
  assembleInstruction,
  COMPRESSED_CODES,
  createDecoder,
  encode,
  parseCpu,
  rowCode,
} from '../../src/isa/index.ts';

export const RAM_BASE = 0x8000_0000;
export const RAM_BYTES = 0x200_0000;
export const EXIT_DEVICE = 0x10_0000;
const CODE = 0x8001_0000;
const DATA = { base: 0x8040_0000, sizeBytes: 8192 } as const;
const CELL = 0x8050_0000;
const LOG = 0x8060_0000;
const LOG_BYTES = 536;
export const MOST_BLOCKS = Math.floor((RAM_BASE + RAM_BYTES - LOG) / LOG_BYTES);

export const extensions = parseCpu('rv64');
const decoder = createDecoder(extensions);

/** Rows that are not generated: what QEMU 10 does otherwise, or the manual leaves open. */
export const EXCLUDED: Readonly<Record<string, string>> = {
  'fround.s fround.d fround.h froundnx.s froundnx.d froundnx.h':
    'QEMU declares their helpers free of side effects (target/riscv/helper.h): flags are lost where the result is dead',
  'wrs.nto wrs.sto': 'how long they wait is open',
  'lr.w lr.d sc.w sc.d':
    'apart from pairs: QEMU fails a store-conditional without reservation before it looks at its address',
  'ecall ebreak mret sret wfi': 'they leave the block',
  'sfence.vma sinval.vma sfence.w.inval sfence.inval.ir': 'they trap in U-mode, as any word does that is none',
};
/** Rows whose address is aligned first, by how much. */
export const ALIGNED: Readonly<Record<string, { readonly bytes: number; readonly why: string }>> = {
  amo: { bytes: 8, why: 'QEMU does misaligned atomics, the engine traps' },
  ...Object.fromEntries(
    ['cbo.zero', 'cbo.inval', 'cbo.clean', 'cbo.flush'].map((name) => [
      name,
      { bytes: 64, why: 'tval is the block in QEMU; the manual says the address in rs1 (CMO, "Traps")' },
    ]),
  ),
};
const isExcluded = (name: string): boolean => Object.keys(EXCLUDED).some((names) => names.split(' ').includes(name));

const all = (line: (i: number) => string, first = 0): string =>
  Array.from({ length: 32 - first }, (_, i) => line(i + first)).join('\n');

/** Cell: 0 log pointer, 8 accumulator, 16 to 32 saved x28 to x30, 40 the log's end. Start: registers at 64. */
const HARNESS = `
  li t0, ${CELL}
  csrw mscratch, t0
  la t1, handler
  csrw mtvec, t1
  li t1, ${pmpAddress(RAM_BASE, 0x40_0000)}
  csrw pmpaddr0, t1
  li t1, ${pmpAddress(DATA.base, DATA.sizeBytes)}
  csrw pmpaddr1, t1
  li t1, 0x1b1d
  csrw pmpcfg0, t1
  li t1, 0xf0
  csrw menvcfg, t1
  csrw senvcfg, t1
  li t1, 0x1800
  csrc mstatus, t1
  li t1, 0x2000
  csrs mstatus, t1
  li t1, ${CODE}
  csrw mepc, t1
  li x31, ${CELL + 64}
${all((i) => `  fld f${i}, ${256 + 8 * i}(x31)`)}
  csrw fcsr, x0
${all((i) => `  ld x${i}, ${8 * i}(x31)`, 1)}
  mret
  .balign 4
handler:
  csrrw x31, mscratch, x31
  sd x28, 16(x31)
  sd x29, 24(x31)
  sd x30, 32(x31)
  csrr x28, mcause
  li x29, 8
  beq x28, x29, block
  ld x30, 8(x31)
  slli x29, x30, 5
  sub x30, x29, x30
  add x30, x30, x28
  csrr x28, mtval
  slli x29, x30, 5
  sub x30, x29, x30
  add x30, x30, x28
  csrr x28, mepc
  slli x29, x30, 5
  sub x30, x29, x30
  add x30, x30, x28
  sd x30, 8(x31)
  lhu x29, 0(x28)
  andi x29, x29, 3
  addi x29, x29, -3
  addi x28, x28, 2
  bne x29, x0, resume
  addi x28, x28, 2
  j resume
block:
  ld x30, 0(x31)
${Array.from({ length: 27 }, (_, i) => `  sd x${i + 1}, ${8 * (i + 1)}(x30)`).join('\n')}
  ld x28, 16(x31)
  sd x28, 224(x30)
  ld x28, 24(x31)
  sd x28, 232(x30)
  ld x28, 32(x31)
  sd x28, 240(x30)
  csrr x28, mscratch
  sd x28, 248(x30)
${all((i) => `  fsd f${i}, ${256 + 8 * i}(x30)`)}
  csrr x28, fcsr
  sd x28, 512(x30)
  ld x28, 8(x31)
  sd x28, 520(x30)
  csrr x28, mepc
  sd x28, 528(x30)
  addi x30, x30, ${LOG_BYTES}
  sd x30, 0(x31)
  ld x29, 40(x31)
  beq x29, x30, end
  addi x28, x28, 4
resume:
  csrw mepc, x28
  ld x28, 16(x31)
  ld x29, 24(x31)
  ld x30, 32(x31)
  csrrw x31, mscratch, x31
  mret
end:
  li x28, ${EXIT_DEVICE}
  li x29, 0x5555
  sw x29, 0(x28)
  j .
`;

function pmpAddress(base: number, sizeBytes: number): number {
  return base / 4 + sizeBytes / 8 - 1;
}

/** A piece that is executed whole or left out: an instruction, or a few that belong together. */
type Unit = readonly { readonly bits: number; readonly length: 2 | 4 }[];

export interface RandomProgram {
  readonly seed: number;
  /** Units, by block. */
  readonly blocks: readonly (readonly Unit[])[];
}

export function randomProgram(seed: number, blockCount: number): RandomProgram {
  const random = new Random(seed);
  const units = new Units(random);
  return { seed, blocks: Array.from({ length: blockCount }, () => units.block()) };
}

/** RAM with the program. Of `cut.block` only the first `cut.units` are left, and nothing behind. */
export function imageOf(program: RandomProgram, cut?: { block: number; units: number }): Uint8Array {
  const ram = new Uint8Array(RAM_BYTES);
  const view = new DataView(ram.buffer);
  ram.set(assemble(HARNESS, BigInt(RAM_BASE)).bytes);
  const random = new Random(program.seed ^ 0x7654_3210);
  ram.set(random.bytes(DATA.sizeBytes), DATA.base - RAM_BASE);
  const blocks = cut ? program.blocks.slice(0, cut.block + 1) : program.blocks;
  let at = CODE - RAM_BASE;
  const put = (bits: number, length: 2 | 4): void => {
    if (length === 4) view.setUint32(at, bits, true);
    else view.setUint16(at, bits, true);
    at += length;
  };
  for (const [number, block] of blocks.entries()) {
    const kept = cut?.block === number ? block.slice(0, cut.units) : block;
    for (const unit of kept) for (const { bits, length } of unit) put(bits, length);
    put(assembleInstruction('ecall'), 4);
  }
  const cell = CELL - RAM_BASE;
  view.setBigUint64(cell, BigInt(LOG), true);
  view.setBigUint64(cell + 40, BigInt(LOG + LOG_BYTES * blocks.length), true);
  for (let i = 0; i < 64; i++) view.setBigUint64(cell + 64 + 8 * i, i === 0 ? 0n : random.value(), true);
  return ram;
}

/** The log and the data window, from RAM after the run. */
export interface Result {
  readonly log: readonly (readonly bigint[])[];
  readonly data: Uint8Array;
}

export function resultOf(ram: Uint8Array, blockCount: number): Result {
  const view = new DataView(ram.buffer, ram.byteOffset);
  const line = (block: number): bigint[] =>
    Array.from({ length: LOG_BYTES / 8 }, (_, i) =>
      view.getBigUint64(LOG - RAM_BASE + block * LOG_BYTES + 8 * i, true),
    );
  const from = DATA.base - RAM_BASE;
  return { log: Array.from({ length: blockCount }, (_, i) => line(i)), data: ram.slice(from, from + DATA.sizeBytes) };
}

/** Names of a log line's places. */
export const LOG_NAMES: readonly string[] = [
  ...Array.from({ length: 32 }, (_, i) => `x${i}`),
  ...Array.from({ length: 32 }, (_, i) => `f${i}`),
  'fcsr',
  'traps',
  'pc',
];

const SHORT_JUMPS = COMPRESSED_CODES.filter(({ row }) => ['c.beqz', 'c.bnez', 'c.j'].includes(row.name));
const BRANCHES = decoder.rows.filter(({ row }) => row.kind === 'branch' || row.name === 'jal');

class Units {
  readonly #random: Random;
  readonly #code: CodeGenerator;

  constructor(random: Random) {
    this.#random = random;
    this.#code = new CodeGenerator(random, decoder, {
      csrs: 'float',
      weights: { float: 40, system: 2, branch: 0, jump: 0 },
    });
  }

  block(): Unit[] {
    const random = this.#random;
    const block: Unit[] = [];
    for (const register of POINTERS) if (random.chance(0.6)) block.push(this.#pointer(register, register > 9));
    if (random.chance(0.5)) block.push(words(`csrrwi zero, frm, ${random.below(5)}`));
    const count = 20 + random.below(60);
    for (let i = 0; i < count; i++) block.push(this.#unit());
    return block;
  }

  #unit(): Unit {
    const random = this.#random;
    if (random.chance(0.06)) return this.#jump();
    if (random.chance(0.02)) return this.#reserved();
    return this.#plain();
  }

  /** Anything that goes on behind itself. */
  #plain(): Unit {
    for (;;) {
      const instruction = this.#code.instruction();
      const row = decoder.decode(instruction.bits)?.row;
      if (!row || row.kind === 'branch' || row.kind === 'jump' || isExcluded(row.name)) continue;
      const aligned = ALIGNED[row.name] ?? ALIGNED[row.kind];
      const base = (instruction.bits >>> 15) & 31;
      return aligned ? [...words(`andi x${base}, x${base}, ${-aligned.bytes}`), instruction] : [instruction];
    }
  }

  /** Forwards, over what may be executed or not. */
  #jump(): Unit {
    const random = this.#random;
    const skipped = Array.from({ length: 1 + random.below(4) }, () => this.#plain()).flat();
    const distance = skipped.reduce((sum, { length }) => sum + length, 0);
    const kind = random.below(4);
    if (kind === 0) {
      const base = 5 + random.below(3);
      return [...words(`auipc x${base}, 0`, `jalr x${random.below(32)}, ${8 + distance}(x${base})`), ...skipped];
    }
    if (kind === 1) {
      const bits = encode(random.pick(SHORT_JUMPS).pattern, { rs1: 8 + random.below(8), imm: 2 + distance });
      if (bits !== undefined) return [{ bits, length: 2 }, ...skipped];
    }
    const operands = { rd: random.below(32), rs1: random.below(32), rs2: random.below(32), imm: 4 + distance };
    const bits = encode(random.pick(BRANCHES).pattern, operands) ?? assembleInstruction('nop');
    return [{ bits, length: 4 }, ...skipped];
  }

  /** A load-reserved with its store-conditional, and perhaps a store between them. */
  #reserved(): Unit {
    const random = this.#random;
    const size = random.pick(['w', 'd']);
    const between = random.chance(0.5)
      ? words(`s${random.pick(['b', 'w', 'd'])} x${random.below(32)}, ${random.below(16)}(x10)`)
      : [];
    const aq = (name: string): Unit => {
      const bits = encode(rowCode(`${name}.${size}`).pattern, {
        rd: 12 + random.below(16),
        rs1: 10,
        rs2: name === 'sc' ? random.below(32) : undefined,
        aq: random.below(2),
        rl: random.below(2),
      });
      return [{ bits: bits ?? 0, length: 4 }];
    };
    return [...this.#pointer(10, true), ...aq('lr'), ...between, ...aq('sc')];
  }

  /** A place in the data window, often near the boundary of its pages. */
  #pointer(register: number, isAligned: boolean): Unit {
    const random = this.#random;
    const near = random.chance(0.3) ? 4096 - random.below(32) : 64 + random.below(DATA.sizeBytes - 128);
    const address = DATA.base + (isAligned ? near & ~7 : near);
    const high = (address + 0x800) >>> 12;
    return words(
      `lui x${register}, ${high}`,
      `addiw x${register}, x${register}, ${address - high * 4096}`,
      `slli x${register}, x${register}, 32`,
      `srli x${register}, x${register}, 32`,
    );
  }
}

function words(...texts: string[]): Unit {
  return texts.map((text) => ({ bits: assembleInstruction(text), length: 4 }));
}
