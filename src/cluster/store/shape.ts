/**
 * What stands in the store was written by other hosts, perhaps of another version: it is looked at before it is
 * believed. A shape names each field's kind; what does not fit is as good as not there.
 */
export type Kind =
  | 'text'
  | 'count'
  | 'number'
  | 'truth'
  | 'optional text'
  | 'optional number'
  | readonly [Shape]
  | Check;
export type Check = (value: unknown) => boolean;
export interface Shape {
  readonly [field: string]: Kind | Shape;
}

export function fits(value: unknown, shape: Shape): boolean {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false;
  const fields = value as Record<string, unknown>;
  for (const name in shape) if (!fitsKind(fields[name], shape[name] as Kind | Shape)) return false;
  return true;
}

/** One of these words. */
export function oneOf(words: readonly string[]): Check {
  return (value) => typeof value === 'string' && words.includes(value);
}

export function listOf(check: Check): Check {
  return (value) => Array.isArray(value) && value.every(check);
}

/** A table from names to texts. */
export const texts: Check = (value) =>
  typeof value === 'object' && value !== null && Object.values(value).every((one) => typeof one === 'string');

function fitsKind(value: unknown, kind: Kind | Shape): boolean {
  if (typeof kind === 'function') return kind(value);
  if (Array.isArray(kind)) return Array.isArray(value) && value.every((one) => fits(one, kind[0] as Shape));
  switch (kind) {
    case 'text':
      return typeof value === 'string' && value.length <= 4096;
    case 'optional text':
      return value === undefined || typeof value === 'string';
    case 'count':
      return Number.isSafeInteger(value) && (value as number) >= 0;
    case 'number':
      return typeof value === 'number' && Number.isFinite(value) && value >= 0;
    case 'optional number':
      return value === undefined || (typeof value === 'number' && Number.isFinite(value) && value >= 0);
    case 'truth':
      return typeof value === 'boolean';
    default:
      return fits(value, kind as Shape);
  }
}
