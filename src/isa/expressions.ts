/** Expressions of the assembler: numbers, characters, labels and `.` (the address at hand), added and subtracted. */

/** The address of a label; undefined if there is none. */
export type Symbols = (name: string) => bigint | undefined;

const TERM = /^\s*([+-]?)\s*(0x[\da-f]+|0b[01]+|\d+[bf]|\d+|'\\?.'|[A-Za-z_.$][\w.$]*)/i;

/** The value of `text`; undefined if it is no expression, or names a label that is not there. */
export function evaluate(text: string, symbols: Symbols, here?: bigint): bigint | undefined {
  let sum = 0n;
  let rest = text;
  if (rest.trim() === '') return undefined;
  for (let first = true; rest.trim() !== ''; first = false) {
    const match = TERM.exec(rest);
    if (!match || (!first && match[1] === '')) return undefined;
    const value = term(match[2] as string, symbols, here);
    if (value === undefined) return undefined;
    sum += match[1] === '-' ? -value : value;
    rest = rest.slice(match[0].length);
  }
  return sum;
}

function term(text: string, symbols: Symbols, here: bigint | undefined): bigint | undefined {
  if (/^(0x[\da-f]+|0b[01]+|\d+)$/i.test(text)) return BigInt(text);
  if (text.startsWith("'")) return BigInt(text.codePointAt(text.length - 2) ?? 0);
  return text === '.' ? here : symbols(text);
}
