/** Names of the registers: by number, and by their role in the calling convention (psABI, "Register Convention"). */

/** The convention's names, as disassemblers print them. */
export const X_NAMES: readonly string[] = [
  ...['zero', 'ra', 'sp', 'gp', 'tp', 't0', 't1', 't2', 's0', 's1'],
  ...numbered('a', 0, 7),
  ...numbered('s', 2, 11),
  ...numbered('t', 3, 6),
];

export const F_NAMES: readonly string[] = [
  ...numbered('ft', 0, 7),
  ...['fs0', 'fs1'],
  ...numbered('fa', 0, 7),
  ...numbered('fs', 2, 11),
  ...numbered('ft', 8, 11),
];

const X_NUMBERS = new Map([...X_NAMES.map((name, i) => [name, i] as const), ['fp', 8]]);
const F_NUMBERS = new Map(F_NAMES.map((name, i) => [name, i]));

/** `a0`, `x10`, `fp` ...: the number of an integer register. */
export function registerNumber(name: string): number | undefined {
  return X_NUMBERS.get(name) ?? byNumber(name, 'x');
}

/** `fa0`, `f10` ...: the number of a floating-point register. */
export function floatRegisterNumber(name: string): number | undefined {
  return F_NUMBERS.get(name) ?? byNumber(name, 'f');
}

function byNumber(name: string, letter: string): number | undefined {
  if (!/^[xf](\d|[12]\d|3[01])$/.test(name) || name[0] !== letter) return undefined;
  return Number(name.slice(1));
}

function numbered(letters: string, first: number, last: number): readonly string[] {
  return Array.from({ length: last - first + 1 }, (_, i) => `${letters}${first + i}`);
}
