/** Data in the assembler's input: integers, zeros, alignment, text. */

export interface Directive {
  readonly kind: 'directive';
  readonly name: string;
  readonly operands: readonly string[];
}

const INTEGER_BYTES: Readonly<Record<string, number>> = {
  '.byte': 1,
  '.half': 2,
  '.2byte': 2,
  '.word': 4,
  '.4byte': 4,
  '.dword': 8,
  '.8byte': 8,
  '.quad': 8,
};

/** No program of ours needs more; it bounds what a typing error allocates. */
const MOST_BYTES = 1 << 24;

/** The size of a directive's data, which does not depend on labels. 0 for one that there is not. */
export function directiveSize({ name, operands }: Directive, at: bigint): number {
  const width = INTEGER_BYTES[name];
  if (width !== undefined) return width * operands.length;
  const argument = Number(operands[0] ?? Number.NaN);
  const sane = Number.isInteger(argument) && argument >= 0 && argument <= MOST_BYTES;
  if (name === '.zero') return sane ? argument : 0;
  if (name === '.balign') return sane && argument > 0 ? Number(-at & (BigInt(argument) - 1n)) : 0;
  if (name === '.asciz') return text(operands)?.length ?? 0;
  return 0;
}

/** The data; undefined if the directive is not known or ill-formed. Alignment is by powers of two, with zeros. */
export function directiveBytes(
  { name, operands }: Directive,
  sizeBytes: number,
  evaluate: (text: string) => bigint | undefined,
): Uint8Array | undefined {
  const width = INTEGER_BYTES[name];
  if (width !== undefined) return integers(operands, width, evaluate);
  if (name === '.asciz') return text(operands);
  const argument = Number(operands[0] ?? Number.NaN);
  const isPower = argument > 0 && Number.isInteger(Math.log2(argument));
  if (name === '.zero' ? argument !== sizeBytes : name !== '.balign' || !isPower || argument > MOST_BYTES)
    return undefined;
  return new Uint8Array(sizeBytes);
}

function integers(
  operands: readonly string[],
  width: number,
  evaluate: (text: string) => bigint | undefined,
): Uint8Array | undefined {
  const bytes = new Uint8Array(width * operands.length);
  for (const [i, operand] of operands.entries()) {
    const value = evaluate(operand);
    const bits = width * 8;
    if (value === undefined || (BigInt.asUintN(bits, value) !== value && BigInt.asIntN(bits, value) !== value))
      return undefined;
    for (let b = 0; b < width; b++) bytes[i * width + b] = Number(BigInt.asUintN(8, value >> BigInt(8 * b)));
  }
  return bytes;
}

/** A quoted string with a zero behind it; commas within it were taken for separators. */
function text(operands: readonly string[]): Uint8Array | undefined {
  const [, inside] = /^"((?:[^"\\]|\\[nt0"\\])*)"$/.exec(operands.join(', ')) ?? [];
  if (inside === undefined) return undefined;
  const escapes: Readonly<Record<string, string>> = { n: '\n', t: '\t', 0: '\0' };
  return new TextEncoder().encode(`${inside.replace(/\\(.)/g, (_, c: string) => escapes[c] ?? c)}\0`);
}
