/**
 * Builds a Wasm module: types, imports, functions, one table, exports, branch hints, names. Functions are declared
 * first (so that they can call each other) and defined once; imports are declared before any function.
 */
import { assert, must } from '../base/assert.ts';
import { Bytes } from './bytes.ts';
import { FunctionBuilder, type Note } from './function.ts';
import { VALUE_TYPE, type ValueType } from './opcodes.ts';

export interface FunctionRef {
  readonly name: string;
  readonly index: number;
  readonly params: readonly ValueType[];
  readonly results: readonly ValueType[];
}

/** What the module's one memory is; it is always imported as `env.memory`. `width` 64 is memory64. */
export interface MemoryDescription {
  readonly width: 32 | 64;
  readonly shared: boolean;
  readonly initialPages: number;
  readonly maximumPages: number;
}

interface Defined {
  readonly ref: FunctionRef;
  body?: Uint8Array;
  hints?: { at: number; likely: boolean }[];
  notes?: readonly Note[];
}

export class ModuleBuilder {
  readonly memory: MemoryDescription;
  #types: { key: string; params: readonly ValueType[]; results: readonly ValueType[] }[] = [];
  #imports: FunctionRef[] = [];
  #functions: Defined[] = [];
  #exports: { name: string; ref: FunctionRef }[] = [];
  #table: (FunctionRef | undefined)[] = [];
  #tableStart = 0;
  #sharedTable = false;
  #tableExport: string | undefined;
  readonly #importsLate: boolean;

  /**
   * With `importsLate`, functions may be imported while others are being defined; those that are defined cannot be
   * called from the module itself, as their numbers are not known before the end.
   */
  constructor(memory: MemoryDescription, options: { importsLate?: boolean } = {}) {
    this.memory = memory;
    this.#importsLate = options.importsLate ?? false;
  }

  get pointerType(): 'i32' | 'i64' {
    return this.memory.width === 64 ? 'i64' : 'i32';
  }

  typeIndex(params: readonly ValueType[], results: readonly ValueType[]): number {
    const key = `${params.join()}:${results.join()}`;
    const found = this.#types.findIndex((t) => t.key === key);
    return found >= 0 ? found : this.#types.push({ key, params, results }) - 1;
  }

  /** A function that the instance is given as `env.NAME`. */
  importFunction(name: string, params: readonly ValueType[], results: readonly ValueType[]): FunctionRef {
    assert(this.#importsLate || this.#functions.length === 0, 'imports come before functions');
    const ref = { name, index: this.#imports.length, params, results };
    this.#imports.push(ref);
    this.typeIndex(params, results);
    return ref;
  }

  declare(name: string, params: readonly ValueType[], results: readonly ValueType[]): FunctionRef {
    const number = this.#functions.length;
    const index = this.#importsLate ? -1 - number : this.#imports.length + number;
    const ref = { name, index, params, results };
    this.#functions.push({ ref });
    this.typeIndex(params, results);
    return ref;
  }

  define(ref: FunctionRef, build: (f: FunctionBuilder) => void): void {
    const defined = must(this.#functions[this.#numberOf(ref)]);
    assert(!defined.body, `${ref.name} is defined twice`);
    const f = new FunctionBuilder(this, ref.params, ref.results);
    build(f);
    const { body, hints, notes } = f.finish();
    defined.body = body;
    defined.hints = hints;
    defined.notes = notes;
  }

  /** Notes of a function that is defined, by offset into its body; they are no part of the module. */
  notesOf(ref: FunctionRef): readonly Note[] {
    return must(this.#functions[this.#numberOf(ref)]).notes ?? [];
  }

  /** Declares and defines. */
  function(
    name: string,
    params: readonly ValueType[],
    results: readonly ValueType[],
    build: (f: FunctionBuilder) => void,
  ): FunctionRef {
    const ref = this.declare(name, params, results);
    this.define(ref, build);
    return ref;
  }

  export(name: string, ref: FunctionRef): void {
    this.#exports.push({ name, ref });
  }

  /** Entries of table 0 from `start` on, for callIndirect; holes trap. */
  setTable(entries: readonly (FunctionRef | undefined)[], start = 0): void {
    this.#tableStart = start;
    this.#table = [...entries];
  }

  exportTable(name: string): void {
    this.#tableExport = name;
  }

  /** Table 0 is imported as `env.table` instead. */
  importTable(): void {
    this.#sharedTable = true;
  }

  build(): Uint8Array<ArrayBuffer> {
    const out = new Bytes();
    out.append(Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0));
    section(out, 1, (b) => {
      b.u32(this.#types.length);
      for (const { params, results } of this.#types) {
        b.u8(0x60);
        for (const list of [params, results]) {
          b.u32(list.length);
          for (const type of list) b.u8(VALUE_TYPE[type]);
        }
      }
    });
    section(out, 2, (b) => this.#importSection(b));
    section(out, 3, (b) => {
      b.u32(this.#functions.length);
      for (const { ref } of this.#functions) b.u32(this.typeIndex(ref.params, ref.results));
    });
    if (this.#table.length > 0 && !this.#sharedTable)
      section(out, 4, (b) => {
        b.append(Uint8Array.of(1, 0x70, 0));
        b.u32(this.#tableStart + this.#table.length);
      });
    section(out, 7, (b) => {
      b.u32(this.#exports.length + (this.#tableExport === undefined ? 0 : 1));
      if (this.#tableExport !== undefined) {
        b.name(this.#tableExport);
        b.append(Uint8Array.of(1, 0));
      }
      for (const { name, ref } of this.#exports) {
        b.name(name);
        b.u8(0);
        b.u32(this.#indexOf(ref));
      }
    });
    if (this.#table.length > 0) section(out, 9, (b) => this.#elementSection(b));
    this.#hintSection(out);
    section(out, 10, (b) => {
      b.u32(this.#functions.length);
      for (const { ref, body } of this.#functions) {
        const bytes = must(body, `${ref.name} is declared, not defined`);
        b.u32(bytes.length);
        b.append(bytes);
      }
    });
    section(out, 0, (b) => {
      b.name('name');
      section(b, 1, (n) => {
        const all = [...this.#imports, ...this.#functions.map((d) => d.ref)];
        n.u32(all.length);
        for (const ref of all) {
          n.u32(this.#indexOf(ref));
          n.name(ref.name);
        }
      });
    });
    return out.view.slice();
  }

  /** A function's number among those that are defined. */
  #numberOf(ref: FunctionRef): number {
    return this.#importsLate ? -1 - ref.index : ref.index - this.#imports.length;
  }

  /** A function's number in the finished module. */
  #indexOf(ref: FunctionRef): number {
    return ref.index < 0 ? this.#imports.length - 1 - ref.index : ref.index;
  }

  #importSection(b: Bytes): void {
    b.u32(this.#imports.length + 1 + (this.#sharedTable ? 1 : 0));
    for (const { name, params, results } of this.#imports) {
      b.name('env');
      b.name(name);
      b.u8(0);
      b.u32(this.typeIndex(params, results));
    }
    if (this.#sharedTable) {
      b.name('env');
      b.name('table');
      b.append(Uint8Array.of(1, 0x70, 0, 0));
    }
    b.name('env');
    b.name('memory');
    b.u8(2);
    b.u8((this.memory.shared ? 3 : 1) | (this.memory.width === 64 ? 4 : 0));
    b.u32(this.memory.initialPages);
    b.u32(this.memory.maximumPages);
  }

  /** One active segment per run of entries. */
  #elementSection(b: Bytes): void {
    const runs: { start: number; refs: FunctionRef[] }[] = [];
    this.#table.forEach((ref, i) => {
      if (!ref) return;
      const last = runs.at(-1);
      if (last && last.start + last.refs.length === i) last.refs.push(ref);
      else runs.push({ start: i, refs: [ref] });
    });
    b.u32(runs.length);
    for (const { start, refs } of runs) {
      b.u8(0);
      b.u8(0x41);
      b.s32(this.#tableStart + start);
      b.u8(0x0b);
      b.u32(refs.length);
      for (const ref of refs) b.u32(this.#indexOf(ref));
    }
  }

  /** The branch hinting proposal: which way a conditional branch usually goes. */
  #hintSection(out: Bytes): void {
    const hinted = this.#functions.filter((d) => d.hints && d.hints.length > 0);
    if (hinted.length === 0) return;
    section(out, 0, (b) => {
      b.name('metadata.code.branch_hint');
      b.u32(hinted.length);
      for (const { ref, hints } of hinted) {
        b.u32(this.#indexOf(ref));
        b.u32(must(hints).length);
        for (const { at, likely } of must(hints)) {
          b.u32(at);
          b.u8(1);
          b.u8(likely ? 1 : 0);
        }
      }
    });
  }
}

function section(out: Bytes, id: number, fill: (b: Bytes) => void): void {
  const body = new Bytes();
  fill(body);
  out.u8(id);
  out.u32(body.length);
  out.append(body.view);
}
