/**
 * Layouts of plain data in linear memory. State that several threads and generated code share (vCPUs, devices,
 * frames) lives in one shared buffer; a layout names its fields, gives generated code their offsets and
 * TypeScript an accessor object. Because all state is described by layouts, saving and restoring it is one
 * function here and not a hundred elsewhere.
 *
 * Fields are aligned to their size. Offsets are in bytes from the start of the struct.
 */
import { assert, must } from './assert.ts';

/** Scalars: `u64` is a bigint in TypeScript, the others are numbers. `f64` is for TypeScript alone. */
export type Scalar = 'u8' | 'u16' | 'u32' | 'i32' | 'u64' | 'f64';
export interface ArrayField<S extends Scalar = Scalar> {
  readonly kind: 'array';
  readonly of: S;
  readonly length: number;
}
export interface StructsField<F extends Fields> {
  readonly kind: 'structs';
  readonly of: Layout<F>;
  readonly length: number;
}
/** A layout whose fields' types are forgotten. */
export interface AnyLayout {
  readonly name: string;
  readonly fields: Fields;
  readonly sizeBytes: number;
  readonly alignment: number;
  readonly offset: { readonly [name: string]: number };
  view(buffer: ArrayBufferLike, at: number): object;
}
export type Field = Scalar | ArrayField | { readonly kind: 'structs'; readonly of: AnyLayout; readonly length: number };
export type Fields = { readonly [name: string]: Field };

type TypedArrayOf<S extends Scalar> = S extends 'u64'
  ? BigUint64Array
  : S extends 'i32'
    ? Int32Array
    : S extends 'u32'
      ? Uint32Array
      : S extends 'u16'
        ? Uint16Array
        : S extends 'f64'
          ? Float64Array
          : Uint8Array;

/** The accessor object of a layout: scalars are properties, arrays typed arrays, nested structs arrays of accessors. */
export type View<F extends Fields> = {
  -readonly [K in keyof F as F[K] extends Scalar ? K : never]: F[K] extends 'u64' ? bigint : number;
} & {
  readonly [K in keyof F as F[K] extends Scalar ? never : K]: F[K] extends ArrayField<infer S>
    ? TypedArrayOf<S>
    : F[K] extends StructsField<infer G>
      ? readonly View<G>[]
      : never;
};

/** Plain data: what `save` returns and `restore` takes. */
export type Saved = { [name: string]: number | string | number[] | string[] | Saved[] };

export interface Layout<F extends Fields> {
  readonly name: string;
  readonly fields: F;
  /** Size in bytes, a multiple of `alignment`. */
  readonly sizeBytes: number;
  readonly alignment: number;
  /** Byte offset of each field. */
  readonly offset: { readonly [K in keyof F]: number };
  /** Accessors over `buffer` at byte `at` (aligned). The buffer is borrowed for the view's life. */
  view(buffer: ArrayBufferLike, at: number): View<F>;
}

const SIZE: Record<Scalar, number> = { u8: 1, u16: 2, u32: 4, i32: 4, u64: 8, f64: 8 };

export function array<S extends Scalar>(of: S, length: number): ArrayField<S> {
  return { kind: 'array', of, length };
}

export function structs<F extends Fields>(of: Layout<F>, length: number): StructsField<F> {
  return { kind: 'structs', of, length };
}

/** Lays the fields out in the order given. */
export function struct<const F extends Fields>(name: string, fields: F): Layout<F> {
  const offset: Record<string, number> = {};
  let end = 0;
  let alignment = 1;
  for (const [key, field] of Object.entries(fields)) {
    const align = alignmentOf(field);
    end = roundUp(end, align);
    offset[key] = end;
    end += sizeOf(field);
    alignment = Math.max(alignment, align);
  }
  const layout: Layout<F> = {
    name,
    fields,
    sizeBytes: roundUp(end, alignment),
    alignment,
    offset: offset as { [K in keyof F]: number },
    view(buffer, at) {
      assert(at % alignment === 0, `${name}: misaligned view at ${at}`);
      make ??= viewMaker(layout);
      return make(buffer, at) as View<F>;
    },
  };
  let make: MakeView | undefined;
  return layout;
}

/** An object as an accessor is called on: with the bytes that it is a view of. */
interface Viewed {
  readonly [DATA]: DataView;
}
const DATA = Symbol('data');

type MakeView = (buffer: ArrayBufferLike, at: number) => object;

/**
 * Views of a layout are of one class, and scalars are accessors of its prototype: hosts find them by the class and put them
 * in line. As own properties of each view they were looked up in hash tables, 30 ns each (measured: bench/struct-views.ts).
 */
function viewMaker<F extends Fields>(layout: Layout<F>): MakeView {
  const compounds: [string, Exclude<Field, Scalar>, number][] = [];
  const accessors: PropertyDescriptorMap = {};
  for (const [key, field] of Object.entries(layout.fields) as [string, Field][]) {
    const offset = layout.offset[key as keyof F];
    if (typeof field === 'string') accessors[key] = { ...scalar(field, offset), enumerable: true };
    else compounds.push([key, field, offset]);
  }
  class FieldsView implements Viewed {
    readonly [DATA]: DataView;
    constructor(buffer: ArrayBufferLike, at: number) {
      this[DATA] = new DataView(buffer, at, layout.sizeBytes);
      const own = this as unknown as Record<string, unknown>;
      for (const [key, field, offset] of compounds) own[key] = compound(field, buffer, at + offset);
    }
  }
  Object.defineProperties(FieldsView.prototype, accessors);
  return (buffer, at) => new FieldsView(buffer, at);
}

function scalar(type: Scalar, at: number): PropertyDescriptor & ThisType<Viewed> {
  switch (type) {
    case 'u8':
      return {
        get() {
          return this[DATA].getUint8(at);
        },
        set(value: number) {
          this[DATA].setUint8(at, value);
        },
      };
    case 'u16':
      return {
        get() {
          return this[DATA].getUint16(at, true);
        },
        set(value: number) {
          this[DATA].setUint16(at, value, true);
        },
      };
    case 'u32':
      return {
        get() {
          return this[DATA].getUint32(at, true);
        },
        set(value: number) {
          this[DATA].setUint32(at, value, true);
        },
      };
    case 'i32':
      return {
        get() {
          return this[DATA].getInt32(at, true);
        },
        set(value: number) {
          this[DATA].setInt32(at, value, true);
        },
      };
    case 'u64':
      return {
        get() {
          return this[DATA].getBigUint64(at, true);
        },
        set(value: bigint) {
          this[DATA].setBigUint64(at, value, true);
        },
      };
    case 'f64':
      return {
        get() {
          return this[DATA].getFloat64(at, true);
        },
        set(value: number) {
          this[DATA].setFloat64(at, value, true);
        },
      };
  }
}

function compound(field: Exclude<Field, Scalar>, buffer: ArrayBufferLike, at: number): unknown {
  if (field.kind === 'structs')
    return Array.from({ length: field.length }, (_, i) => field.of.view(buffer, at + i * field.of.sizeBytes));
  switch (field.of) {
    case 'u8':
      return new Uint8Array(buffer, at, field.length);
    case 'u16':
      return new Uint16Array(buffer, at, field.length);
    case 'u32':
      return new Uint32Array(buffer, at, field.length);
    case 'i32':
      return new Int32Array(buffer, at, field.length);
    case 'u64':
      return new BigUint64Array(buffer, at, field.length);
    case 'f64':
      return new Float64Array(buffer, at, field.length);
  }
}

/** The fields of a view as they are now, as an object of its own; arrays are the view's. */
export function fieldsOf<F extends Fields>({ fields }: Layout<F>, view: View<F>): View<F> {
  const source = view as Record<string, unknown>;
  return Object.fromEntries(Object.keys(fields).map((key) => [key, source[key]])) as View<F>;
}

/** Writes all fields of one view into another of the same layout. */
export function copyFields(layout: AnyLayout, from: object, to: object): void {
  const [source, target] = [from as Record<string, unknown>, to as Record<string, unknown>];
  for (const [key, field] of Object.entries(layout.fields)) {
    if (typeof field === 'string') target[key] = source[key];
    else if (field.kind === 'array') (target[key] as Uint8Array).set(source[key] as Uint8Array);
    else (source[key] as object[]).forEach((view, i) => copyFields(field.of, view, must((target[key] as object[])[i])));
  }
}

/** All fields as plain data (JSON-safe: u64 as decimal strings). */
export function save(layout: AnyLayout, view: object): Saved {
  const out: Saved = {};
  for (const [key, field] of Object.entries(layout.fields)) {
    const value = (view as Record<string, unknown>)[key];
    if (typeof field === 'string') out[key] = typeof value === 'bigint' ? value.toString() : (value as number);
    else if (field.kind === 'structs') out[key] = (value as object[]).map((v) => save(field.of, v));
    else if (field.of === 'u64') out[key] = Array.from(value as BigUint64Array, String);
    else out[key] = Array.from(value as Uint8Array);
  }
  return out;
}

/** Writes what `save` returned. Throws on a missing or ill-shaped field: saved state comes from files. */
export function restore(layout: AnyLayout, view: object, saved: Saved): void {
  const target = view as Record<string, unknown>;
  for (const [key, field] of Object.entries(layout.fields)) {
    const value = must(saved[key], `${layout.name}.${key} is missing in the saved state`);
    if (typeof field === 'string') {
      target[key] = field === 'u64' ? BigInt(value as string) : (value as number);
      continue;
    }
    assert(
      Array.isArray(value) && value.length === field.length,
      `${layout.name}.${key} has another length in the saved state`,
    );
    if (field.kind === 'structs')
      (value as Saved[]).forEach((s, i) => restore(field.of, must((target[key] as object[])[i]), s));
    else if (field.of === 'u64') (target[key] as BigUint64Array).set((value as string[]).map(BigInt));
    else (target[key] as Uint8Array).set(value as number[]);
  }
}

function sizeOf(field: Field): number {
  if (typeof field === 'string') return SIZE[field];
  return field.length * (field.kind === 'array' ? SIZE[field.of] : field.of.sizeBytes);
}

function alignmentOf(field: Field): number {
  if (typeof field === 'string') return SIZE[field];
  return field.kind === 'array' ? SIZE[field.of] : field.of.alignment;
}

/** The least multiple of `to` (a positive integer) that is not below `value`. */
export function roundUp(value: number, to: number): number {
  return Math.ceil(value / to) * to;
}
