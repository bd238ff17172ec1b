/** Integer arithmetic on 64-bit unsigned bigints, as the M, Zbb and Zbc extensions define it. */

/** Modulo 2^64. */
export function wrap(value: bigint): bigint {
  return BigInt.asUintN(64, value);
}

/** The value as a two's complement number. */
export function signed(value: bigint): bigint {
  return BigInt.asIntN(64, value);
}

/** Sign-extends the low `bits`. */
export function extend(bits: number, value: bigint): bigint {
  return wrap(BigInt.asIntN(bits, value));
}

export function highProduct(a: bigint, b: bigint): bigint {
  return wrap((a * b) >> 64n);
}

/** Signed quotient towards zero: -1 by zero; the least number by -1 is itself, which wrapping gives. */
export function quotient(a: bigint, b: bigint): bigint {
  return b === 0n ? wrap(-1n) : wrap(signed(a) / signed(b));
}

export function unsignedQuotient(a: bigint, b: bigint): bigint {
  return b === 0n ? wrap(-1n) : a / b;
}

/** Has the dividend's sign; the dividend by zero. */
export function remainder(a: bigint, b: bigint): bigint {
  return b === 0n ? a : wrap(signed(a) % signed(b));
}

export function unsignedRemainder(a: bigint, b: bigint): bigint {
  return b === 0n ? a : a % b;
}

/** The product of polynomials over GF(2): up to 127 bits. */
export function carrylessProduct(a: bigint, b: bigint): bigint {
  let product = 0n;
  for (let rest = b, shifted = a; rest !== 0n; rest >>= 1n, shifted <<= 1n) {
    if ((rest & 1n) === 1n) product ^= shifted;
  }
  return product;
}

/** 64 for zero. */
export function leadingZeros(value: bigint): bigint {
  return value === 0n ? 64n : BigInt(64 - value.toString(2).length);
}

/** 64 for zero. */
export function trailingZeros(value: bigint): bigint {
  return value === 0n ? 64n : leadingZeros(0n) - 1n - leadingZeros(value & -value);
}

export function ones(value: bigint): bigint {
  return BigInt(value.toString(2).replaceAll('0', '').length);
}

export function rotateRight(value: bigint, amount: bigint): bigint {
  const right = amount & 63n;
  return wrap((value >> right) | (value << (64n - right)));
}
