/**
 * Extensions of the instruction set that a hart can have: what each needs, what it is made of, how operators name it
 * (`--cpu rv64,zba=off,svadu=on,zbb=emulate`), and the ISA string for the device tree. Unprivileged specification, chapter
 * "ISA Extension Naming Conventions". Extensions that change only what CSRs and page walks do are here too; they
 * become bits of the hart's `features`.
 */
import { must } from '../base/assert.ts';
import { OperatorError } from '../base/errors.ts';
import { FEATURE } from './state.ts';

interface Extension {
  readonly name: string;
  /** Extensions without which this one is not possible. */
  readonly needs: readonly string[];
  /** Extensions that it consists of, or contains: switched on and off with it. */
  readonly parts: readonly string[];
  /** Whether the ISA string names it. */
  readonly listed: boolean;
  readonly summary: string;
}

const extension = (name: string, summary: string, needs = '', parts = '', listed = true): Extension => ({
  name,
  needs: words(needs),
  parts: words(parts),
  listed,
  summary,
});

// biome-ignore format: table
export const EXTENSIONS: readonly Extension[] = [
  extension('i', 'base integer instructions'),
  extension('m', 'multiplication and division', 'i'),
  extension('a', 'atomics', 'i'),
  extension('f', 'single-precision floating point', 'zicsr'),
  extension('d', 'double-precision floating point', 'f'),
  extension('c', 'compressed instructions', 'i'),
  extension('g', 'general: imafd, Zicsr, Zifencei', '', 'i m a f d zicsr zifencei', false),
  extension('b', 'bit manipulation: Zba, Zbb, Zbs', '', 'zba zbb zbs', false),
  extension('u', 'user mode', 'zicsr', '', false),
  extension('s', 'supervisor mode', 'u', '', false),
  extension('h', 'hypervisor', 's'),
  extension('zicsr', 'control and status registers', 'i'),
  extension('zifencei', 'instruction-fetch fence', 'i'),
  extension('zicntr', 'cycle, time, instret', 'zicsr'),
  extension('zihpm', 'hardware performance counters', 'zicsr'),
  extension('zicond', 'conditional zeroing', 'i'),
  extension('zicbom', 'cache-block management', 'zicsr'),
  extension('zicbop', 'cache-block prefetch', 'i'),
  extension('zicboz', 'cache-block zeroing', 'zicsr'),
  extension('zihintpause', 'pause', 'i'),
  extension('zimop', 'may-be-operations', 'i'),
  extension('zawrs', 'wait on reservation set', 'a'),
  extension('zfa', 'additional floating-point instructions', 'f'),
  extension('zfh', 'half-precision floating point', 'zfhmin', 'zfhmin'),
  extension('zfhmin', 'half-precision moves and conversions', 'f'),
  extension('zcb', 'more compressed instructions', 'c'),
  extension('zcmop', 'compressed may-be-operations', 'c zimop'),
  extension('zba', 'address generation', 'i'),
  extension('zbb', 'basic bit manipulation', 'i'),
  extension('zbc', 'carry-less multiplication', 'i'),
  extension('zbs', 'single bits', 'i'),
  extension('smepmp', 'PMP for machine mode', 'zicsr'),
  extension('smstateen', 'access to state of extensions', 's'),
  extension('sstc', 'supervisor timer', 's'),
  extension('sv39', '39-bit virtual memory', 's', '', false),
  extension('sv48', '48-bit virtual memory', 'sv39', '', false),
  extension('sv57', '57-bit virtual memory', 'sv48', '', false),
  extension('svade', 'page faults for accessed and dirty bits', 'sv39'),
  extension('svadu', 'accessed and dirty bits set by hardware', 'sv39'),
  extension('svinval', 'fine-grained invalidation', 's'),
  extension('svnapot', 'contiguous translations', 'sv39'),
  extension('svpbmt', 'page-based memory types', 'sv39'),
];

const BY_NAME = new Map(EXTENSIONS.map((row) => [row.name, row]));

/** What every hart has: M-mode's CSRs, and U-mode, which mstatus.MPP can always name. */
const ALWAYS: ReadonlySet<string> = new Set(['i', 'g', 'zicsr', 'u']);

/** What a hart has only if it is asked for. */
const ASKED_FOR: ReadonlySet<string> = new Set(['h', 'smstateen']);

/** CPU models: what they have before switches. */
const MODELS: Readonly<Record<string, readonly string[]>> = {
  rv64: EXTENSIONS.map(({ name }) => name).filter((name) => !ASKED_FOR.has(name)),
  rv64i: ['i', 'zicsr', 'u'],
};

/**
 * What the hypervisor can emulate for a hart that is without it: extensions whose instructions work on registers and
 * memory alone and ask nothing of CSRs that an extension brings.
 */
export const EMULATED_EXTENSIONS: ReadonlySet<string> = new Set(
  words('m b zicond zimop zcmop zcb zfa zfh zfhmin zba zbb zbc zbs'),
);

/** A processor as operators name it: what the hart has, and what it is without but the hypervisor emulates. */
export interface CpuModel {
  readonly extensions: ReadonlySet<string>;
  readonly emulated: ReadonlySet<string>;
}

/** What a hart has unless told otherwise. */
export const DEFAULT_EXTENSIONS: ReadonlySet<string> = withoutGroups(new Set(MODELS['rv64']));

/** The extensions of `parseCpuModel`. */
export function parseCpu(text: string): ReadonlySet<string> {
  return parseCpuModel(text).extensions;
}

/**
 * Parses `rv64` or `rv64i`, followed by switches `,NAME=on|off|emulate`, applied from left to right: `on` brings what
 * the extension needs, `off` takes what needs it, `emulate` is `off` for the guest. Throws OperatorError for names and
 * values that are not there, and for switches that contradict each other.
 */
export function parseCpuModel(text: string): CpuModel {
  const [model = '', ...switches] = text
    .toLowerCase()
    .split(',')
    .map((part) => part.trim());
  const initial = Object.hasOwn(MODELS, model) ? MODELS[model] : undefined;
  if (!initial) {
    const fix = `Use one of ${Object.keys(MODELS).join(', ')}, then switches such as ,zba=off.`;
    throw new OperatorError('unknown-cpu', `There is no CPU model '${model}'.`, fix);
  }
  const enabled = new Set(initial);
  const emulated = new Set<string>();
  const asked = new Map<string, boolean>();
  for (const part of switches) {
    const { name, value } = parseSwitch(part);
    const concerned = [name, ...must(BY_NAME.get(name)).parts];
    asked.set(name, value === 'on');
    if (value === 'on') enable(enabled, name);
    else disable(enabled, name);
    for (const one of concerned) {
      if (value === 'emulate') emulated.add(one);
      else emulated.delete(one);
    }
  }
  for (const [name, on] of asked) checkSwitch(enabled, name, on);
  // What a later switch brought after all is the hart's own; what lacks its base cannot be emulated.
  for (const name of emulated) {
    if (enabled.has(name)) emulated.delete(name);
    const missing = must(BY_NAME.get(name)).needs.find((need) => !enabled.has(need) && !emulated.has(need));
    if (missing !== undefined) {
      const fix = `Leave ${missing} on, or ${name} off.`;
      throw new OperatorError('cpu-conflict', `'${name}=emulate' needs '${missing}', which the hart is without.`, fix);
    }
  }
  return { extensions: withoutGroups(enabled), emulated: withoutGroups(emulated) };
}

/** Subsets that guests look for by names of their own, which no switch has: what must be on for each. */
const IMPLIED: readonly { readonly name: string; readonly by: readonly string[] }[] = [
  { name: 'zmmul', by: ['m'] },
  { name: 'zaamo', by: ['a'] },
  { name: 'zalrsc', by: ['a'] },
  { name: 'zca', by: ['c'] },
  { name: 'zcd', by: ['c', 'd'] },
];

/** What a set is called in a device tree, in canonical order: single letters, then Z names, then S names. */
export function isaNames(extensions: ReadonlySet<string>): readonly string[] {
  const listed = EXTENSIONS.filter(({ name, listed }) => listed && extensions.has(name)).map(({ name }) => name);
  const implied = IMPLIED.filter(({ by }) => by.every((name) => extensions.has(name))).map(({ name }) => name);
  const letters = listed.filter((name) => name.length === 1);
  const others = [...listed.filter((name) => name.length > 1), ...implied];
  return [...letters, ...others.toSorted((a, b) => compareText(sortKey(a), sortKey(b)))];
}

/** The ISA string of a set: `rv64imafdc_zicbom_..._svpbmt`. */
export function isaString(extensions: ReadonlySet<string>): string {
  const names = isaNames(extensions);
  const letters = names.filter((name) => name.length === 1).join('');
  return [`rv64${letters}`, ...names.filter((name) => name.length > 1)].join('_');
}

/** The `features` field of a hart with these extensions (bits of FEATURE, without sbi, which is the machine's choice). */
export function featuresOf(extensions: ReadonlySet<string>): bigint {
  const bits: readonly (readonly [bigint, readonly string[]])[] = [
    [FEATURE.svadu, ['svadu']],
    [FEATURE.sstc, ['sstc']],
    [FEATURE.sv39, ['sv39']],
    [FEATURE.sv48, ['sv48']],
    [FEATURE.sv57, ['sv57']],
    [FEATURE.svnapot, ['svnapot']],
    [FEATURE.svpbmt, ['svpbmt']],
    [FEATURE.smepmp, ['smepmp']],
    [FEATURE.float, ['f']],
    [FEATURE.supervisor, ['s']],
    [FEATURE.zicntr, ['zicntr']],
    [FEATURE.zihpm, ['zihpm']],
    [FEATURE.c, ['c']],
    [FEATURE.cbo, ['zicbom', 'zicboz']],
    [FEATURE.h, ['h']],
    [FEATURE.smstateen, ['smstateen']],
  ];
  return bits.reduce((all, [bit, names]) => (names.some((name) => extensions.has(name)) ? all | bit : all), 0n);
}

type SwitchValue = 'on' | 'off' | 'emulate';
const SWITCH_VALUES: ReadonlyMap<string, SwitchValue> = new Map([
  ['on', 'on'],
  ['true', 'on'],
  ['off', 'off'],
  ['false', 'off'],
  ['emulate', 'emulate'],
]);

function parseSwitch(part: string): { name: string; value: SwitchValue } {
  const [, name = '', text = ''] = /^([^=]*)(?:=(.*))?$/.exec(part) ?? [];
  if (!BY_NAME.has(name)) {
    const known = EXTENSIONS.map((row) => row.name).join(' ');
    throw new OperatorError('unknown-extension', `There is no extension '${name}'.`, `Known ones: ${known}.`);
  }
  const value = SWITCH_VALUES.get(text);
  if (value === undefined) {
    throw new OperatorError(
      'bad-extension-switch',
      `'${part}' is neither on nor off nor emulate.`,
      `Write ${name}=on, ${name}=off or ${name}=emulate.`,
    );
  }
  if (value === 'emulate' && !EMULATED_EXTENSIONS.has(name)) {
    const fix = `Those that can be: ${[...EMULATED_EXTENSIONS].join(' ')}.`;
    throw new OperatorError('cannot-emulate', `The extension '${name}' cannot be emulated.`, fix);
  }
  if (value !== 'on' && ALWAYS.has(name)) {
    const fix = `Leave ${name} on, or start from rv64i and switch on what you want.`;
    throw new OperatorError('cpu-conflict', `No hart can be without '${name}'.`, fix);
  }
  return { name, value };
}

function checkSwitch(enabled: ReadonlySet<string>, name: string, on: boolean): void {
  if (enabled.has(name) === on) return;
  const fix = `Leave out one of the switches that contradict each other.`;
  const message = on
    ? `'${name}=on' needs an extension that a later switch turns off.`
    : `A later switch needs '${name}', which '${name}=off' turns off.`;
  throw new OperatorError('cpu-conflict', message, fix);
}

function enable(enabled: Set<string>, name: string): void {
  if (enabled.has(name)) return;
  enabled.add(name);
  const { needs, parts } = must(BY_NAME.get(name));
  for (const other of [...needs, ...parts]) enable(enabled, other);
}

function disable(enabled: Set<string>, name: string): void {
  if (!enabled.delete(name)) return;
  for (const part of must(BY_NAME.get(name)).parts) disable(enabled, part);
  for (const row of EXTENSIONS) if (row.needs.includes(name)) disable(enabled, row.name);
}

/** `g` and `b` are names of sets, not extensions of their own. */
function withoutGroups(extensions: ReadonlySet<string>): ReadonlySet<string> {
  return new Set([...extensions].filter((name) => name !== 'g' && name !== 'b'));
}

/** Z before S; among Z by the letter behind, in the order of single letters, then by the alphabet. */
function sortKey(name: string): string {
  if (name.startsWith('s')) return `1${name}`;
  const category = 'iemafdqlcbkjtpvnh'.indexOf(name[1] as string);
  return `0${String.fromCharCode(65 + category)}${name}`;
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function words(text: string): readonly string[] {
  return text === '' ? [] : text.split(' ');
}
