/** The instructions behind `li` and `la`. */

/**
 * Instructions that load a 64-bit constant: the lowest twelve bits, signed, are added last; what is above them is
 * loaded first, without its trailing zeros, and shifted. At most eight instructions.
 */
export function loadImmediate(register: string, constant: bigint): readonly string[] {
  const value = BigInt.asIntN(64, constant);
  if (BigInt.asIntN(12, value) === value) return [`addi ${register}, zero, ${value}`];
  const low = BigInt.asIntN(12, value);
  const add = (mnemonic: string): readonly string[] =>
    low === 0n ? [] : [`${mnemonic} ${register}, ${register}, ${low}`];
  if (BigInt.asIntN(32, value) === value) {
    const upper = BigInt.asUintN(20, (value - low) >> 12n);
    return [`lui ${register}, ${upper}`, ...add('addiw')];
  }
  let above = BigInt.asIntN(64, value - low) >> 12n;
  let shift = 12;
  while ((above & 1n) === 0n) {
    above >>= 1n;
    shift++;
  }
  return [...loadImmediate(register, above), `slli ${register}, ${register}, ${shift}`, ...add('addi')];
}

/**
 * The two instructions that load an address from its distance to the first of them; undefined beyond +-2 GiB.
 */
export function loadAddress(register: string, distance: bigint): readonly [string, string] | undefined {
  const low = BigInt.asIntN(12, distance);
  const upper = distance - low;
  if (BigInt.asIntN(32, upper) !== upper) return undefined;
  return [`auipc ${register}, ${BigInt.asUintN(20, upper >> 12n)}`, `addi ${register}, ${register}, ${low}`];
}
