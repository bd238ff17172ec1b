/**
 * The ISA naming string of a hart from its set of extensions, in the canonical order of the unprivileged manual
 * (chapter "ISA Extension Naming Conventions"): single letters, then Z names by the category of their second letter,
 * then S names, then X names. Kernels since 6.7 read the list `riscv,isa-extensions`, older ones and most firmware
 * the string `riscv,isa`; both come from here.
 */
import { OperatorError } from '../base/errors.ts';

const LETTERS = 'iemafdqlcbkjtpvnh';

/** What a name brings along and guests look for by its own name. */
const IMPLIED: readonly { readonly all: readonly string[]; readonly bring: readonly string[] }[] = [
  { all: ['m'], bring: ['zmmul'] },
  { all: ['a'], bring: ['zaamo', 'zalrsc'] },
  { all: ['f'], bring: ['zicsr'] },
  { all: ['c'], bring: ['zca'] },
  { all: ['c', 'd'], bring: ['zcd'] },
  { all: ['zcb'], bring: ['zca'] },
  { all: ['zfh'], bring: ['zfhmin'] },
  { all: ['zicntr'], bring: ['zicsr'] },
];

/** The extensions of the default CPU, lower case. */
export const DEFAULT_EXTENSIONS: readonly string[] = [
  ...['i', 'm', 'a', 'f', 'd', 'c'],
  ...['zicsr', 'zifencei', 'zicntr', 'zihpm', 'zicond', 'zihintpause', 'zimop', 'zawrs'],
  ...['zicbom', 'zicbop', 'zicboz', 'zfa', 'zfh', 'zba', 'zbb', 'zbc', 'zbs', 'zcb'],
  ...['smepmp', 'sstc', 'svadu', 'svinval', 'svnapot', 'svpbmt'],
];

/** Names in canonical order, with what they imply, each once. Throws OperatorError on a name that cannot be one. */
export function canonicalExtensions(extensions: Iterable<string>): string[] {
  const set = new Set(extensions);
  for (const name of set) {
    if (!(name.length === 1 ? LETTERS.includes(name) : /^[zsx][a-z][a-z0-9]*$/.test(name))) {
      throw new OperatorError(
        'unknown-extension',
        `'${name}' is no name of an extension`,
        'Use names such as c or zba.',
      );
    }
  }
  if (!set.has('i')) {
    throw new OperatorError('unknown-extension', 'the extension set lacks i', 'Leave the base instructions in.');
  }
  for (const { all, bring } of IMPLIED) {
    if (all.every((name) => set.has(name))) for (const name of bring) set.add(name);
  }
  return [...set].sort((a, b) => {
    const [x, y] = [rank(a), rank(b)];
    return x !== y ? x - y : a < b ? -1 : 1;
  });
}

/** `rv64imafdc_zicsr_...`. */
export function isaString(extensions: Iterable<string>): string {
  const names = canonicalExtensions(extensions);
  const letters = names.filter((name) => name.length === 1).join('');
  return [`rv64${letters}`, ...names.filter((name) => name.length > 1)].join('_');
}

function rank(name: string): number {
  if (name.length === 1) return LETTERS.indexOf(name);
  if (name.startsWith('z')) return 100 + (LETTERS.indexOf(name.charAt(1)) + 1 || LETTERS.length + 1);
  return name.startsWith('s') ? 200 : 300;
}
