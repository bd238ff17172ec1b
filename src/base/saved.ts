/**
 * Saved state that comes back from a file: is it what the layout asks for? `restore` (struct.ts) takes what `save`
 * gave; whoever took it from outside looks here first. A layout's digest says whether two programs mean the same by it.
 */
import type { AnyLayout, Field, Saved, Scalar } from './struct.ts';

const LIMITS: Record<Exclude<Scalar, 'u64' | 'f64'>, readonly [least: number, most: number]> = {
  u8: [0, 0xff],
  u16: [0, 0xffff],
  u32: [0, 0xffff_ffff],
  i32: [-0x8000_0000, 0x7fff_ffff],
};
const U64_END = 1n << 64n;

const FNV_PRIME = 0x0100_0193;

/** The fields' names, kinds and lengths as 16 hexadecimal digits (FNV-1a, from two starts): other fields, another digest. */
export function layoutDigest(layout: AnyLayout): string {
  const text = describe(layout);
  let [first, second] = [0x811c_9dc5, 0x1234_5678];
  for (let i = 0; i < text.length; i++) {
    first = Math.imul(first ^ text.charCodeAt(i), FNV_PRIME);
    second = Math.imul(second ^ text.charCodeAt(i), FNV_PRIME) ^ (second >>> 15);
  }
  return [first, second].map((half) => (half >>> 0).toString(16).padStart(8, '0')).join('');
}

function describe(layout: AnyLayout): string {
  const fields = Object.entries(layout.fields).map(([name, field]) => `${name}:${kindOf(field)}`);
  return `${layout.name}{${fields.join()}}`;
}

function kindOf(field: Field): string {
  if (typeof field === 'string') return field;
  return `${field.kind === 'structs' ? describe(field.of) : field.of}*${field.length}`;
}

/** The first field that is missing or is not what the layout asks for, as `uart.output`; undefined where all fits. */
export function misfit(layout: AnyLayout, value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return layout.name;
  for (const [name, field] of Object.entries(layout.fields)) {
    const found = Object.hasOwn(value, name) ? (value as Record<string, unknown>)[name] : undefined;
    if (typeof field === 'string') {
      if (!fits(field, found)) return `${layout.name}.${name}`;
      continue;
    }
    if (!Array.isArray(found) || found.length !== field.length) return `${layout.name}.${name}`;
    if (field.kind === 'array') {
      if (!found.every((one) => fits(field.of, one))) return `${layout.name}.${name}`;
      continue;
    }
    for (const one of found) {
      const inner = misfit(field.of, one);
      if (inner !== undefined) return `${layout.name}.${name}: ${inner}`;
    }
  }
  return undefined;
}

/** Whether `restore` may have it. */
export function isSaved(layout: AnyLayout, value: unknown): value is Saved {
  return misfit(layout, value) === undefined;
}

function fits(scalar: Scalar, value: unknown): boolean {
  if (scalar === 'u64') return typeof value === 'string' && /^\d{1,20}$/.test(value) && BigInt(value) < U64_END;
  if (scalar === 'f64') return typeof value === 'number';
  const [least, most] = LIMITS[scalar];
  return Number.isInteger(value) && (value as number) >= least && (value as number) <= most;
}
