/**
 * Checks of what a peer sent: a shape turns an unknown JSON value into a typed one, or throws ShapeError with the
 * place that is wrong. Every shape is bounded (lengths, ranges, counts), because peers are hostile; unknown members
 * of an object are dropped, so that a newer peer may say more.
 */

export class ShapeError extends Error {
  override name = 'ShapeError';
}

/** Returns `value` as T; `at` names its place in messages: `params.argv[2]`. */
export type Shape<T> = (value: unknown, at: string) => T;

export const limits = {
  /** Bytes of one message, its newline included. */
  messageBytes: 1 << 20,
  /** Bytes of binary data in one message; base64 makes four bytes of three. */
  dataBytes: 256 << 10,
} as const;

export function text(longest = 4096): Shape<string> {
  return (value, at) => {
    if (typeof value !== 'string') throw new ShapeError(`${at} is not a string`);
    if (value.length > longest) throw new ShapeError(`${at} is longer than ${longest} characters`);
    return value;
  };
}

export function oneOf<const T extends string>(...words: readonly T[]): Shape<T> {
  return (value, at) => {
    const word = words.find((one) => one === value);
    if (word === undefined) throw new ShapeError(`${at} is none of ${words.join(', ')}`);
    return word;
  };
}

export function integer(least: number, most: number): Shape<number> {
  return (value, at) => {
    if (!Number.isSafeInteger(value)) throw new ShapeError(`${at} is not an integer`);
    const number = Number(value);
    if (number < least || number > most) throw new ShapeError(`${at} is not within ${least} and ${most}`);
    return number;
  };
}

export function number(least: number, most: number): Shape<number> {
  return (value, at) => {
    if (typeof value !== 'number' || !(value >= least && value <= most))
      throw new ShapeError(`${at} is no number within ${least} and ${most}`);
    return value;
  };
}

export const truth: Shape<boolean> = (value, at) => {
  if (typeof value !== 'boolean') throw new ShapeError(`${at} is neither true nor false`);
  return value;
};

/** Base64, strictly: what decodes to something else when encoded again is refused. */
export const data: Shape<Uint8Array> = (value, at) => {
  const encoded = text(Math.ceil(limits.dataBytes / 3) * 4)(value, at);
  const bytes = Buffer.from(encoded, 'base64');
  if (bytes.toString('base64') !== encoded) throw new ShapeError(`${at} is not base64`);
  return new Uint8Array(bytes);
};

export function listOf<T>(item: Shape<T>, most: number): Shape<readonly T[]> {
  return (value, at) => {
    if (!Array.isArray(value)) throw new ShapeError(`${at} is not a list`);
    if (value.length > most) throw new ShapeError(`${at} has more than ${most} items`);
    return value.map((one, i) => item(one, `${at}[${i}]`));
  };
}

/** An object used as a map. */
export function mapOf<T>(item: Shape<T>, most: number): Shape<Readonly<Record<string, T>>> {
  return (value, at) => {
    const entries = Object.entries(object(value, at));
    if (entries.length > most) throw new ShapeError(`${at} has more than ${most} members`);
    return Object.fromEntries(entries.map(([name, one]) => [name, item(one, `${at}.${name}`)]));
  };
}

export function optional<T>(shape: Shape<T>): Shape<T | undefined> {
  return (value, at) => (value === undefined || value === null ? undefined : shape(value, at));
}

type Members = Readonly<Record<string, Shape<unknown>>>;
type OptionalNames<M extends Members> = { [K in keyof M]: undefined extends ReturnType<M[K]> ? K : never }[keyof M];
type Of<M extends Members> = { readonly [K in Exclude<keyof M, OptionalNames<M>>]: ReturnType<M[K]> } & {
  readonly [K in OptionalNames<M>]?: Exclude<ReturnType<M[K]>, undefined>;
};

/** An object with these members; those that are optional are absent, not undefined, where the peer left them out. */
export function record<const M extends Members>(members: M): Shape<Of<M>> {
  return (value, at) => {
    const given = object(value, at);
    const out: Record<string, unknown> = {};
    for (const [name, shape] of Object.entries(members)) {
      const member = shape(Object.hasOwn(given, name) ? given[name] : undefined, `${at}.${name}`);
      if (member !== undefined) out[name] = member;
    }
    return out as Of<M>;
  };
}

/** Any JSON object, its members unchecked: counters, which are only shown. */
export const object: Shape<Readonly<Record<string, unknown>>> = (value, at) => {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new ShapeError(`${at} is no object`);
  return value as Readonly<Record<string, unknown>>;
};

/** The encoding that `data` reads. */
export function encodeData(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
}
