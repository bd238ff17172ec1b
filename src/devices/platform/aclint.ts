/**
 * ACLINT in the CLINT's shape: machine-mode software interrupts, the machine timer's comparators and the clock, after
 * the RISC-V ACLINT specification 1.0-rc4 (MSWI, chapter 3; MTIMER, chapter 2) at SiFive's CLINT offsets, so that one
 * device serves `sifive,clint0` and the pair `riscv,aclint-mswi`, `riscv,aclint-mtimer`.
 *
 * The timer's level belongs to whoever compares: MTIP of a hart is high while the machine's clock has reached the
 * deadline that this device hands out. Writing mtime shifts it against the machine's clock; `timeOffset` is the
 * difference (modulo 2^64), which the `time` CSR must show too.
 * Left out: SSWI (supervisor software interrupts by register; SBI and Ssaia serve them).
 */
import { assert } from '../../base/assert.ts';
import { array, struct } from '../../base/struct.ts';
import type { AccessBytes, Block, Device, DeviceClock } from '../device.ts';
import { accessCounters, type Register, RegisterTable } from '../registers.ts';

/** A deadline that never comes. */
export const NEVER = 0xffff_ffff_ffff_ffffn;
const MAX_HARTS = 4095;
const MTIMECMP_AT = 0x4000;
const MTIME_AT = 0xbff8;

function aclintLayout(harts: number) {
  return struct('aclint', {
    ...accessCounters,
    /** mtime - machine's clock, modulo 2^64. */
    timeOffset: 'u64',
    mtimecmp: array('u64', harts),
    msip: array('u32', harts),
  });
}

/** The harts' machine-level pins. */
export interface LocalInterrupts {
  /** MSIP of a hart. Called on every write of the register and for every hart by reset and drive. */
  setSoftware(hart: number, level: boolean): void;
  /**
   * From now on, MTIP of `hart` is high exactly while DeviceClock.ticks() >= `ticks` (0n: now; NEVER: not at all).
   * Replaces the hart's last deadline.
   */
  setTimerDeadline(hart: number, ticks: bigint): void;
  /** What the `time` CSR adds to DeviceClock.ticks(), modulo 2^64. Called before the deadlines that follow from it. */
  setTimeOffset(ticks: bigint): void;
}

export class Aclint implements Device {
  static registers(harts: number): RegisterTable<Aclint> {
    return new RegisterTable<Aclint>([
      {
        at: 0,
        bytes: 4,
        name: 'msip',
        array: { count: harts, strideBytes: 4 },
        read: (aclint, index) => aclint.state.msip[index] ?? 0,
        write: (aclint, value, index) => {
          aclint.state.msip[index] = value & 1;
          aclint.#out.setSoftware(index, (value & 1) === 1);
        },
        reset: 0,
        does: 'software interrupt of hart n: bit 0',
      },
      ...halves(MTIMECMP_AT, 'mtimecmp', harts, {
        get: (aclint, index) => aclint.state.mtimecmp[index] ?? NEVER,
        set: (aclint, value, index) => aclint.#setCompare(index, value),
        reset: 0xffff_ffff,
        does: 'hart n is interrupted while mtime >= mtimecmp',
      }),
      ...halves(MTIME_AT, 'mtime', 1, {
        get: (aclint) => aclint.#now(),
        set: (aclint, value) => aclint.#setTime(value),
        does: 'ticks of the timebase, 10 MHz',
      }),
    ]);
  }

  static layout(harts: number): ReturnType<typeof aclintLayout> {
    return aclintLayout(harts);
  }

  readonly name: string;
  readonly sizeBytes = 0x1_0000;
  readonly layout: ReturnType<typeof aclintLayout>;
  readonly state: ReturnType<ReturnType<typeof aclintLayout>['view']>;
  readonly harts: number;
  readonly registers: RegisterTable<Aclint>;
  readonly #clock: DeviceClock;
  readonly #out: LocalInterrupts;

  /** RV64 reads and writes the timer's registers in one operation. */
  readonly wide = {
    read: (offset: number): bigint => {
      if (offset === MTIME_AT) return this.#now();
      const hart = this.#compareAt(offset);
      if (hart !== undefined) return this.state.mtimecmp[hart] ?? NEVER;
      const low = this.read(offset, 4);
      return BigInt(low) | (BigInt(this.read(offset + 4, 4)) << 32n);
    },
    write: (offset: number, value: bigint): void => {
      const hart = this.#compareAt(offset);
      if (offset === MTIME_AT) this.#setTime(value);
      else if (hart !== undefined) this.#setCompare(hart, value);
      else {
        this.write(offset, 4, Number(value & 0xffff_ffffn));
        this.write(offset + 4, 4, Number(value >> 32n));
      }
    },
  };

  constructor(name: string, block: Block, harts: number, ports: { clock: DeviceClock; out: LocalInterrupts }) {
    assert(harts >= 1 && harts <= MAX_HARTS, `${harts} harts do not fit an ACLINT`);
    this.name = name;
    this.harts = harts;
    this.layout = Aclint.layout(harts);
    this.state = this.layout.view(block.buffer, block.at);
    this.registers = Aclint.registers(harts);
    this.#clock = ports.clock;
    this.#out = ports.out;
  }

  /** mtime shows the machine's clock. The specification leaves mtimecmp open: it starts so that nothing is pending. */
  reset(): void {
    const { state } = this;
    state.unassignedReads = state.unassignedWrites = 0;
    state.timeOffset = 0n;
    state.msip.fill(0);
    state.mtimecmp.fill(NEVER);
    this.drive();
  }

  read(offset: number, bytes: AccessBytes): number {
    return this.registers.read(this, offset, bytes);
  }

  write(offset: number, bytes: AccessBytes, value: number): void {
    this.registers.write(this, offset, bytes, value);
  }

  /** Tells every output again: after reset and restore. Deadlines follow from mtime and the clock as they are now. */
  drive(): void {
    this.#out.setTimeOffset(this.state.timeOffset);
    for (let hart = 0; hart < this.harts; hart++) {
      this.#out.setSoftware(hart, this.state.msip[hart] === 1);
      this.#tellDeadline(hart);
    }
  }

  #now(): bigint {
    return BigInt.asUintN(64, this.#clock.ticks() + this.state.timeOffset);
  }

  #setTime(value: bigint): void {
    this.state.timeOffset = BigInt.asUintN(64, value - this.#clock.ticks());
    this.#out.setTimeOffset(this.state.timeOffset);
    for (let hart = 0; hart < this.harts; hart++) this.#tellDeadline(hart);
  }

  #setCompare(hart: number, value: bigint): void {
    this.state.mtimecmp[hart] = value;
    this.#tellDeadline(hart);
  }

  #tellDeadline(hart: number): void {
    const now = this.#clock.ticks();
    const mtime = BigInt.asUintN(64, now + this.state.timeOffset);
    const compare = this.state.mtimecmp[hart] ?? NEVER;
    if (compare === NEVER) this.#out.setTimerDeadline(hart, NEVER);
    else if (compare <= mtime) this.#out.setTimerDeadline(hart, 0n);
    else {
      const deadline = now + (compare - mtime);
      this.#out.setTimerDeadline(hart, deadline < NEVER ? deadline : NEVER);
    }
  }

  #compareAt(offset: number): number | undefined {
    const index = (offset - MTIMECMP_AT) / 8;
    return Number.isInteger(index) && index >= 0 && index < this.harts ? index : undefined;
  }
}

interface Doubleword {
  get(aclint: Aclint, index: number): bigint;
  set(aclint: Aclint, value: bigint, index: number): void;
  readonly reset?: number;
  readonly does: string;
}

/** The two 32-bit rows of an array of 64-bit registers. */
function halves(at: number, name: string, count: number, of: Doubleword): Register<Aclint>[] {
  const reset = of.reset === undefined ? {} : { reset: of.reset };
  const array = { array: { count, strideBytes: 8 } };
  return [
    {
      at,
      bytes: 4,
      name,
      ...array,
      ...reset,
      read: (aclint, index) => Number(of.get(aclint, index) & 0xffff_ffffn),
      write: (aclint, value, index) => of.set(aclint, ((of.get(aclint, index) >> 32n) << 32n) | BigInt(value), index),
      does: `${of.does}; low half, or all in one 8-byte access`,
    },
    {
      at: at + 4,
      bytes: 4,
      name: `${name}h`,
      ...array,
      ...reset,
      read: (aclint, index) => Number(of.get(aclint, index) >> 32n),
      write: (aclint, value, index) =>
        of.set(aclint, (of.get(aclint, index) & 0xffff_ffffn) | (BigInt(value) << 32n), index),
      does: 'its high half',
    },
  ];
}
