/**
 * A region's WebAssembly as text, with the names that a reader knows: locals by the guest's registers that they hold,
 * offsets by the fields of the vCPU's block and of page slots. The names follow from the code itself: what is loaded from
 * a register's place before the region's first block is that register.
 */
import { SLOT, slotOffset, vcpuState } from '../engine/index.ts';
import { F_NAMES, X_NAMES } from '../isa/index.ts';
import {
  type Expression,
  eachStatement,
  listFunction,
  type Note,
  type ReadFunction,
  readModule,
} from '../wasm/index.ts';

const at = vcpuState.offset;
const FIELDS = Object.entries(at).sort(([, a], [, b]) => a - b);
/** Parameters of a region. */
const VCPU = 0;
const BUDGET = 1;

export interface RegionText {
  readonly lines: readonly string[];
  /** Of the function's body. */
  readonly bytes: number;
}

export interface RegionTextOptions {
  /** Where guest instructions begin (ModuleBuilder.notesOf), and what to say of each. */
  readonly notes?: readonly Note[];
  noteText?(offset: number): string;
  /** Names of addresses that the code contains. */
  readonly addresses?: ReadonlyMap<number, string>;
}

/** A local is called so from an offset into the body on: before, it serves for something else. */
interface Named {
  readonly name: string;
  readonly from: number;
}

/** The function `name` of a module; undefined where it has none of that name. */
export function regionText(bytes: Uint8Array, name: string, options: RegionTextOptions = {}): RegionText | undefined {
  const module = readModule(bytes);
  const code = module.functions.find((each) => each.name === name && each.body !== undefined);
  if (code?.body === undefined) return undefined;
  const locals = new Map<number, Named>([
    [VCPU, { name: 'vcpu', from: 0 }],
    [BUDGET, { name: 'budget', from: 0 }],
  ]);
  eachStatement(module, code, nameLocals(code, locals));
  const nameOf = (index: number, at: number): string | undefined => {
    const named = locals.get(index);
    return named !== undefined && named.from <= at ? named.name : undefined;
  };
  const lines = listFunction(module, code, {
    ...options,
    localName: nameOf,
    offsetName: (local, offset, at) => {
      if (local === VCPU) return `vcpu.${fieldName(offset)}`;
      return nameOf(local, at) === 'slots' ? slotName(offset) : undefined;
    },
    constantName: (value) => options.addresses?.get(Number(value)),
  });
  return { lines, bytes: code.body.length };
}

/** Collects names from a region's entry, and the one of the pc from its end. */
function nameLocals(code: ReadFunction, names: Map<number, Named>): (statement: Expression, depth: number) => void {
  const loaded = new Map<number, string>();
  const taken = new Set([...names.values()].map(({ name }) => name));
  /** Where the entry ends. */
  let inside = 0;
  const give = (local: number, name: string | undefined, from: number): boolean => {
    if (name === undefined || taken.has(name) || names.has(local) || local < code.type.params.length) return false;
    names.set(local, { name, from });
    taken.add(name);
    return true;
  };
  return ({ mnemonic, local, operands, offset, from }, depth) => {
    if (depth > 0) return;
    const [first, second] = operands;
    if (mnemonic.name === 'block' && inside === 0) inside = from;
    if (mnemonic.name === 'i64.store' && first?.local === VCPU && offset === at.pc && second?.local !== undefined) {
      give(second.local, 'pc', inside);
      return;
    }
    if (mnemonic.name !== 'local.set' || local === undefined || first === undefined) return;
    const isState = first.operands[0]?.local === VCPU && first.offset !== undefined;
    const register = isState ? registerName(first.offset) : undefined;
    if (register !== undefined) loaded.set(local, register);
    else {
      const source = localsOf(first).find((each) => loaded.has(each));
      // A register's value moves into its local at once, and is used by nobody before.
      if (source !== undefined && give(local, loaded.get(source), from)) loaded.delete(source);
    }
  };
}

function localsOf(expression: Expression): number[] {
  if (expression.mnemonic.name === 'local.get' && expression.local !== undefined) return [expression.local];
  return expression.operands.flatMap(localsOf);
}

/** What a local is called that holds what is loaded from there; undefined: nothing that is worth a name. */
function registerName(offset: number): string | undefined {
  const register = (first: number, names: readonly string[]): string | undefined =>
    offset >= first && (offset - first) % 8 === 0 ? names[(offset - first) / 8] : undefined;
  if (offset === at.pc) return 'base';
  if (offset === at.slotBank) return 'slots';
  return register(at.x, X_NAMES) ?? register(at.f, F_NAMES);
}

/** A field of the vCPU's block: `pc`, `a0`, `fa0+4`, `validated+16`. */
function fieldName(offset: number): string {
  const [name, start] = FIELDS.findLast(([, from]) => from <= offset) ?? ['', 0];
  const names = name === 'x' ? X_NAMES : name === 'f' ? F_NAMES : undefined;
  const size = names === undefined ? 0 : 8 * Math.floor((offset - start) / 8);
  const rest = offset - start - size;
  return `${names?.[size / 8] ?? name}${rest === 0 ? '' : `+${rest}`}`;
}

/** A page slot's field, by the base register: `read.sp.tag`. */
function slotName(offset: number): string | undefined {
  for (const isWrite of [false, true]) {
    const register = X_NAMES.findIndex(
      (_, i) => offset - slotOffset(i, isWrite) >= 0 && offset - slotOffset(i, isWrite) < 16,
    );
    const rest = offset - slotOffset(Math.max(0, register), isWrite);
    const field = Object.entries(SLOT).find(([, start]) => start === rest)?.[0];
    if (register >= 0 && field !== undefined) return `${isWrite ? 'write' : 'read'}.${X_NAMES[register]}.${field}`;
  }
  return undefined;
}
