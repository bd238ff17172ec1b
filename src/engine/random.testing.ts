/** Chance with a seed, for generators of programs: the same seed makes the same program on every machine. */
import { must } from '../base/assert.ts';

/** Values at which arithmetic, rounding and addresses go wrong. */
const CORNERS: readonly bigint[] = [
  ...[0n, 1n, -1n, 2n, 63n, 64n, 0x7fff_ffffn, 0x8000_0000n, 0xffff_ffffn, -0x8000_0000n, 1n << 63n, (1n << 63n) - 1n],
  // Floating point, boxed and not: zeros, ones, infinities, NaNs, subnormals, largest, of 64, 32 and 16 bits.
  ...[0x3ff0_0000_0000_0000n, 0x7ff0_0000_0000_0000n, 0x7ff8_0000_0000_0000n, 0x7ff4_0000_0000_0000n],
  ...[0x000f_ffff_ffff_ffffn, 0x7fef_ffff_ffff_ffffn, 0x0010_0000_0000_0000n, 0x43e0_0000_0000_0000n],
  ...[0xffff_ffff_3f80_0000n, 0xffff_ffff_7f80_0000n, 0xffff_ffff_7fc0_0000n, 0xffff_ffff_7fa0_0000n],
  ...[0xffff_ffff_0000_0001n, 0xffff_ffff_7f7f_ffffn, 0xffff_ffff_8080_0000n, 0xffff_ffff_4f00_0000n],
  ...[0xffff_ffff_ffff_3c00n, 0xffff_ffff_ffff_7c00n, 0xffff_ffff_ffff_7e00n, 0xffff_ffff_ffff_0001n],
  ...[0xffff_ffff_ffff_7bffn, 0xffff_ffff_ffff_fc00n, 0xffff_ffff_ffff_8400n, 0xffff_ffff_ffff_7d00n],
].map((value) => BigInt.asUintN(64, value));

export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = Math.imul(seed, 0x9e37_79b1) ^ 0x5bd1_e995;
    for (let i = 0; i < 4; i++) this.word();
  }

  /** 32 bits, unsigned. */
  word(): number {
    this.#state = (this.#state + 0x6d2b_79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  }

  /** 0 to limit - 1. */
  below(limit: number): number {
    return Math.floor((this.word() / 2 ** 32) * limit);
  }

  /** True with that probability. */
  chance(probability: number): boolean {
    return this.word() / 2 ** 32 < probability;
  }

  pick<T>(list: readonly T[]): T {
    return must(list[this.below(list.length)]);
  }

  wide(): bigint {
    return (BigInt(this.word()) << 32n) | BigInt(this.word());
  }

  /** A register's content: a corner, a small number, random bits, or bits of few runs. */
  value(): bigint {
    const kind = this.below(8);
    if (kind < 3) return this.pick(CORNERS);
    if (kind === 3) return BigInt.asUintN(64, BigInt(this.below(512) - 256));
    if (kind === 4) return 0xffff_ffff_0000_0000n | BigInt(this.word());
    if (kind === 5) return BigInt.asUintN(64, this.pick(CORNERS) + BigInt(this.below(5) - 2));
    return this.wide() >> BigInt(this.pick([0, 0, 0, 11, 32, 48]));
  }

  bytes(count: number): Uint8Array {
    const out = new Uint8Array(count);
    for (let i = 0; i < count; i++) out[i] = this.word();
    return out;
  }
}
