/**
 * Reads a module as far as a listing needs it: types, functions with their names and bodies, branch hints. Written for
 * what ModuleBuilder writes; sections that it does not know are passed over.
 */
import { must } from '../base/assert.ts';
import { ByteReader } from './byte-reader.ts';
import { VALUE_TYPE, type ValueType } from './opcodes.ts';

export interface FunctionType {
  readonly params: readonly ValueType[];
  readonly results: readonly ValueType[];
}

export interface ReadFunction {
  readonly name: string;
  readonly type: FunctionType;
  /** Local declarations and code; undefined for what is imported. */
  readonly body: Uint8Array | undefined;
  /** Which way a branch at an offset into the body usually goes. */
  readonly hints: ReadonlyMap<number, 'likely' | 'unlikely'>;
}

export interface ReadModule {
  readonly types: readonly FunctionType[];
  /** By number: those that are imported first. */
  readonly functions: readonly ReadFunction[];
}

const TYPE_NAMES: ReadonlyMap<number, ValueType> = new Map(
  Object.entries(VALUE_TYPE).map(([name, code]) => [code, name as ValueType]),
);

/** An AssertionError where the bytes are no module, or one that ModuleBuilder would not write. */
export function readModule(bytes: Uint8Array): ReadModule {
  const types: FunctionType[] = [];
  const functionTypes: FunctionType[] = [];
  const bodies: Uint8Array[] = [];
  const names = new Map<number, string>();
  const hints = new Map<number, Map<number, 'likely' | 'unlikely'>>();
  const reader = new ByteReader(bytes, 8);
  while (!reader.isAtEnd) {
    const id = reader.u8();
    const section = reader.part(reader.u32());
    if (id === 1) types.push(...section.each(() => readType(section)));
    else if (id === 2) functionTypes.push(...readImports(section, types));
    else if (id === 3) functionTypes.push(...section.each(() => must(types[section.u32()])));
    else if (id === 10) bodies.push(...section.each(() => readBody(section, bytes)));
    else if (id === 0) {
      const name = section.name();
      if (name === 'name') readNames(section, names);
      else if (name === 'metadata.code.branch_hint') readHints(section, hints);
    }
  }
  const imported = functionTypes.length - bodies.length;
  const functions = functionTypes.map((type, i) => ({
    name: names.get(i) ?? `f${i}`,
    type,
    body: bodies[i - imported],
    hints: hints.get(i) ?? new Map<number, 'likely' | 'unlikely'>(),
  }));
  return { types, functions };
}

/** A value type by its code. */
export function valueType(code: number): ValueType {
  return must(TYPE_NAMES.get(code), `no value type ${code}`);
}

function readType(section: ByteReader): FunctionType {
  must(section.u8() === 0x60 || undefined, 'a type that is no function');
  const list = (): ValueType[] => section.each(() => valueType(section.u8()));
  return { params: list(), results: list() };
}

/** The types of functions; tables and memories are passed over. */
function readImports(section: ByteReader, types: readonly FunctionType[]): FunctionType[] {
  const found = section.each(() => {
    section.name();
    section.name();
    const kind = section.u8();
    if (kind === 0) return must(types[section.u32()]);
    if (kind === 1) section.u8();
    const flags = section.u8();
    section.u32();
    if ((flags & 1) !== 0) section.u32();
    return undefined;
  });
  return found.filter((type) => type !== undefined);
}

function readBody(section: ByteReader, bytes: Uint8Array): Uint8Array {
  const length = section.u32();
  const { at } = section;
  section.part(length);
  return bytes.subarray(at, at + length);
}

function readNames(section: ByteReader, names: Map<number, string>): void {
  while (!section.isAtEnd) {
    const id = section.u8();
    const part = section.part(section.u32());
    if (id === 1) part.each(() => names.set(part.u32(), part.name()));
  }
}

function readHints(section: ByteReader, hints: Map<number, Map<number, 'likely' | 'unlikely'>>): void {
  section.each(() => {
    const own = new Map<number, 'likely' | 'unlikely'>();
    hints.set(section.u32(), own);
    section.each(() => {
      const at = section.u32();
      section.u32();
      own.set(at, section.u8() === 1 ? 'likely' : 'unlikely');
    });
  });
}
