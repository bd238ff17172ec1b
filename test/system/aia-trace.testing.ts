/**
 * Random programs for APLIC and IMSIC that log everything they read: registers, CSRs, the lines in mip. The same program
 * runs in QEMU and here; the logs must agree. What QEMU 10 does otherwise than the specification says is not generated:
 *
 *   - the request of a level-sensitive source stays when its input falls: only sources whose wire stands still are level-sensitive
 *   - a source that changes its mode keeps its request: each change goes over "inactive"
 *   - target of an inactive source keeps what is written, and reserved bits of it: neither is read or written
 *   - reserved registers of an interrupt file, and words beyond its identities, are illegal instructions there
 *   - priorities of major interrupts can be configured there: of mtopi and stopi only the identity is compared
 *   - a detached source shows its wire there: none with a wire that moves is detached
 *   - csrrs and csrrc of zero claim nothing there: they name a bit
 *   - virtual interrupts for supervisor level are much its own there: they are left to directed cases
 */
import { assemble } from '../../src/isa/index.ts';

const LOG = 0x8040_0000;
const [APLIC_M, APLIC_S, IMSIC_M, IMSIC_S, RTC] = [0xc00_0000, 0xd00_0000, 0x2400_0000, 0x2800_0000, 0x10_1000];
/** The clock's, whose wire the program can move, and some whose wire is low. */
const CLOCK = 11;
const SOURCES = [17, 31, 32, 63, 64, 96] as const;
const ALL_SOURCES = [CLOCK, ...SOURCES];
const MODES = { moving: [4, 5], still: [1, 4, 5, 6, 7] } as const;
const FILES = [
  { select: 'miselect', ireg: 'mireg', topei: 'mtopei', page: IMSIC_M },
  { select: 'siselect', ireg: 'sireg', topei: 'stopei', page: IMSIC_S },
] as const;

class Random {
  #state: number;
  constructor(seed: number) {
    this.#state = (seed * 2_654_435_761) >>> 0 || 1;
  }
  below(limit: number): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x >>> 0;
    return this.#state % limit;
  }
  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)] as T;
  }
  /** Few bits, or many. */
  bits(): bigint {
    const word = (BigInt(this.below(2 ** 32)) << 32n) | BigInt(this.below(2 ** 32));
    return this.below(3) === 0 ? word : 1n << BigInt(this.below(64));
  }
}

export interface TraceOptions {
  readonly seed: number;
  readonly operations: number;
  readonly messages: boolean;
}

/** One for each thing that the log says: what was done before it. */
export interface Trace {
  readonly image: Uint8Array;
  readonly log: readonly string[];
}

export function aiaTrace({ seed, operations, messages }: TraceOptions): Trace {
  const writer = new TraceWriter(new Random(seed), messages);
  for (let i = 0; i < operations; i++) writer.step();
  return writer.finish();
}

class TraceWriter {
  readonly #random: Random;
  readonly #messages: boolean;
  readonly #lines: string[] = [];
  readonly #log: string[] = [];
  /** Sources that are active, by domain. */
  readonly #active = [new Set<number>(), new Set<number>()];
  /** Sources that the root domain delegates. */
  readonly #delegated = new Set<number>();

  constructor(random: Random, messages: boolean) {
    this.#random = random;
    this.#messages = messages;
    this.#lines.push(
      '  csrr t0, mhartid',
      '  beqz t0, first',
      'park: wfi',
      '  j park',
      'first:',
      '  la t0, handler',
      '  csrw mtvec, t0',
      `  li s0, ${LOG}`,
      '  csrwi mie, 0',
    );
    if (!messages) return;
    this.#write(APLIC_M + 0x1bc8, IMSIC_S >>> 12);
    this.#write(APLIC_M + 0x1bcc, 1 << 12);
    this.#write(APLIC_M + 0x1bc0, IMSIC_M >>> 12);
    this.#write(APLIC_M + 0x1bc4, 1 << 12);
  }

  step(): void {
    const kinds = [
      () => this.#source(),
      () => this.#source(),
      () => this.#wire(),
      () => this.#domain(),
      () => this.#delegate(),
      () => (this.#messages ? this.#file() : this.#delivery()),
      () => (this.#messages ? this.#file() : this.#delivery()),
      () => this.#interrupts(),
    ];
    this.#random.pick(kinds)();
    // Lines may take their way.
    this.#read('csrr a0, mip', 'mip', 0xa00);
  }

  finish(): Trace {
    const source = [
      ...this.#lines,
      `  li s1, ${LOG}`,
      // Sixteen digits and a newline for each entry.
      'next: beq s1, s0, end',
      '  ld a0, 0(s1)',
      '  addi s1, s1, 8',
      '  li t3, 60',
      'digit: srl a1, a0, t3',
      '  andi a1, a1, 15',
      '  li t4, 10',
      '  bltu a1, t4, low',
      '  addi a1, a1, 39',
      'low: addi a1, a1, 48',
      '  call put',
      '  addi t3, t3, -4',
      '  bgez t3, digit',
      '  li a1, 10',
      '  call put',
      '  j next',
      'put: li t0, 0x10000000',
      'wait: lbu t1, 5(t0)',
      '  andi t1, t1, 0x20',
      '  beqz t1, wait',
      '  sb a1, 0(t0)',
      '  ret',
      'end: li t0, 0x100000',
      '  li t1, 0x5555',
      '  sw t1, 0(t0)',
      '  j end',
      '  .balign 4',
      'handler: csrr t5, mepc',
      '  addi t5, t5, 4',
      '  csrw mepc, t5',
      '  csrr a0, mcause',
      '  not a0, a0',
      '  mret',
    ].join('\n');
    return { image: assemble(source, 0x8000_0000n).bytes, log: this.#log };
  }

  #write(address: number, value: number): void {
    this.#lines.push(`  li t0, ${address}`, `  li t1, ${value >>> 0}`, '  sw t1, 0(t0)');
  }

  #load(address: number, what: string): void {
    this.#lines.push(`  li t0, ${address}`);
    this.#read('lwu a0, 0(t0)', what);
  }

  #read(instruction: string, what: string, mask?: number): void {
    this.#lines.push(`  ${instruction}`);
    if (mask !== undefined) this.#lines.push(`  li t2, ${mask}`, '  and a0, a0, t2');
    this.#lines.push('  sd a0, 0(s0)', '  addi s0, s0, 8');
    this.#log.push(what);
  }

  #csr(form: 'csrrw' | 'csrrs' | 'csrrc', csr: string, value: bigint, mask?: number): void {
    this.#lines.push(`  li t1, ${BigInt.asIntN(64, value)}`);
    this.#read(`${form} a0, ${csr}, t1`, `${form} ${csr} ${value.toString(16)}`, mask);
  }

  /** A domain, and sources of it. */
  #place(): { base: number; active: Set<number>; sources: readonly number[]; level: number } {
    const level = this.#random.below(2);
    const sources = ALL_SOURCES.filter((source) => this.#delegated.has(source) === (level === 1));
    return { base: level === 0 ? APLIC_M : APLIC_S, active: this.#active[level] as Set<number>, sources, level };
  }

  #source(): void {
    const random = this.#random;
    const { base, active, sources, level } = this.#place();
    if (sources.length === 0) return;
    const source = random.pick(sources);
    const word = 4 * (source >> 5);
    const bit = 2 ** (source & 31);
    const acts: (() => void)[] = [
      () => {
        this.#write(base + 4 * source, 0);
        active.delete(source);
        const mode = random.pick(source === CLOCK ? MODES.moving : MODES.still);
        if (random.below(5) === 0) return;
        this.#write(base + 4 * source, mode);
        active.add(source);
        this.#write(base + 0x3000 + 4 * source, this.#target());
      },
      () => this.#write(base + (random.below(2) === 0 ? 0x1cdc : 0x2000), source),
      () => this.#write(base + 0x1ddc, source),
      () => this.#write(base + 0x1edc, source),
      () => this.#write(base + 0x1edc, source),
      () => this.#write(base + 0x1fdc, source),
      () => this.#write(base + random.pick([0x1c00, 0x1d00, 0x1e00, 0x1f00]) + word, bit),
    ];
    if (active.has(source)) {
      acts.push(() => this.#write(base + 0x3000 + 4 * source, this.#target()));
      acts.push(() => this.#load(base + 0x3000 + 4 * source, `target ${source}`));
    }
    random.pick(acts)();
    const at = random.pick([0x1c00, 0x1d00, 0x1e00]) + 4 * random.below(4);
    this.#load(base + at, `${level} ${at.toString(16)}`);
    this.#load(base + 4 * source, `${level} sourcecfg ${source}`);
  }

  #target(): number {
    const random = this.#random;
    return random.below(2) * 2 ** 18 + (this.#messages ? random.below(256) : random.below(8));
  }

  /** The clock's alarm: due at once, or cleared. */
  #wire(): void {
    if (this.#random.below(2) === 0) {
      this.#write(RTC + 0x10, 1);
      this.#write(RTC + 0x0c, 0);
      this.#write(RTC + 0x08, 1);
    } else this.#write(RTC + 0x1c, 1);
  }

  #domain(): void {
    const { base, level } = this.#place();
    const random = this.#random;
    if (random.below(3) > 0) this.#write(base, 0x100);
    else this.#write(base, random.below(2) * 0x100);
    this.#load(base, `${level} domaincfg`);
    if (!this.#messages) return;
    this.#write(base + 0x3000, this.#target());
    this.#load(base + 0x3000, `${level} genmsi`);
  }

  /** Each source changes hands inactive, as it should. */
  #delegate(): void {
    const source = this.#random.pick(ALL_SOURCES);
    // In QEMU a domain learns of a wire when it moves: each leaves it, and finds it, low.
    if (source === CLOCK) this.#write(RTC + 0x1c, 1);
    this.#write(APLIC_S + 4 * source, 0);
    this.#write(APLIC_M + 4 * source, 0);
    for (const active of this.#active) active.delete(source);
    if (this.#delegated.delete(source)) return;
    this.#write(APLIC_M + 4 * source, 0x400);
    this.#delegated.add(source);
  }

  #delivery(): void {
    const random = this.#random;
    const { base, level } = this.#place();
    const idc = base + 0x4000 + 32 * random.below(2);
    random.pick([
      () => this.#write(idc, random.below(3) === 0 ? 0 : 1),
      () => this.#write(idc + 4, random.below(2)),
      () => this.#write(idc + 8, random.below(8)),
      () => this.#load(idc + 0x1c, `${level} claimi`),
      () => this.#load(idc + 0x18, `${level} topi`),
    ])();
    const at = random.pick([0, 4, 8, 0x18]);
    this.#load(idc + at, `${level} idc ${at}`);
  }

  #file(): void {
    const random = this.#random;
    const { select, ireg, topei, page } = random.pick(FILES);
    const form = (): 'csrrw' | 'csrrs' | 'csrrc' => random.pick(['csrrw', 'csrrs', 'csrrc']);
    const window = (register: number, value: bigint): void => {
      this.#lines.push(`  li t1, ${register}`, `  csrw ${select}, t1`);
      this.#csr(form(), ireg, value);
    };
    random.pick([
      () => window(0x70, BigInt(random.below(2))),
      () => window(0x70, 1n),
      () => window(0x72, BigInt(random.below(3) === 0 ? random.below(300) : 0)),
      () => window(0x80 + 2 * random.below(4), random.bits()),
      () => window(0xc0 + 2 * random.below(4), random.bits()),
      () => window(0xc0 + 2 * random.below(4), (1n << 64n) - 1n),
      () => window(random.pick([0x31, 0x81, 0xc5, 0xff, 0x100, 0, 0x6f]), 0n),
      () => this.#write(page + 0x1000 * random.below(2), random.pick([0, 1, 63, 64, 200, 255, 256, 0x100_0001])),
      () => this.#csr(form(), topei, 1n),
      () => this.#csr(form(), topei, 1n),
    ])();
    this.#read(`csrr a0, ${topei}`, topei);
    if (random.below(4) === 0) this.#lines.push(`  csrw ${topei}, zero`);
  }

  /** Which of them are enabled or delegated, and what that leaves. */
  #interrupts(): void {
    const random = this.#random;
    const some = (): bigint => BigInt(random.pick([0, 0x200, 0x202, 0x222, 2, 0x800, 0xa02]));
    const csr = random.pick(['mie', 'mideleg', 'sie', 'mip']);
    const value = some() & (csr === 'mideleg' ? 0x222n : 0xa22n);
    this.#csr('csrrw', csr, value, 0xa22);
    for (const name of ['mie', 'sie', 'sip']) this.#read(`csrr a0, ${name}`, name, 0xa22);
    if (!this.#messages) return;
    for (const name of ['mtopi', 'stopi']) this.#read(`csrr a0, ${name}`, name, 0xfff_0000);
  }
}
