/** Assertions: a failed one is a bug of ours, never a guest's or an operator's doing; it ends its machine process. */
export class AssertionError extends Error {
  override name = 'AssertionError';
}

/** Throws AssertionError unless `condition` holds. */
export function assert(condition: unknown, message = 'assertion failed'): asserts condition {
  if (!condition) throw new AssertionError(message);
}

/** Marks a branch that the types rule out; use in the default of an exhaustive switch. */
export function unreachable(value: never): never {
  throw new AssertionError(`unreachable: ${String(value)}`);
}

/** Returns `value` unless it is undefined or null, which is a bug. */
export function must<T>(value: T | undefined | null, message = 'value missing'): T {
  if (value === undefined || value === null) throw new AssertionError(message);
  return value;
}
