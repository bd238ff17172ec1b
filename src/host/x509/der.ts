/**
 * The few structures of DER (ITU-T X.690) that a certificate is made of. An element is a tag, a length and its content; Node signs and
 * checks certificates, and has no writer of them.
 */

const TAG = {
  truth: 1,
  integer: 2,
  bitString: 3,
  octets: 4,
  oid: 6,
  utf8: 12,
  utcTime: 23,
  sequence: 0x30,
  set: 0x31,
} as const;

export function tagged(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(parts);
  const { length } = body;
  const bytes = length < 0x80 ? [] : length < 0x100 ? [length] : [length >> 8, length & 0xff];
  const head = bytes.length === 0 ? [length] : [0x80 | bytes.length, ...bytes];
  return Buffer.concat([Buffer.from([tag, ...head]), body]);
}

export function sequence(...parts: readonly Uint8Array[]): Buffer {
  return tagged(TAG.sequence, ...parts);
}

export function set(...parts: readonly Uint8Array[]): Buffer {
  return tagged(TAG.set, ...parts);
}

export function explicit(number: number, inner: Buffer): Buffer {
  return tagged(0xa0 | number, inner);
}

export function truth(): Buffer {
  return tagged(TAG.truth, Buffer.from([0xff]));
}

export function integer(bytes: Buffer): Buffer {
  return tagged(TAG.integer, bytes);
}

/** A number of that many bytes: the sign is in the first bit, and leading zeros are not allowed. */
export function positive(bytes: Buffer): Buffer {
  bytes[0] = (bytes.readUInt8(0) & 0x7f) | 0x40;
  return bytes;
}

export function bitString(bytes: Uint8Array, unusedBits = 0): Buffer {
  return tagged(TAG.bitString, Buffer.from([unusedBits]), bytes);
}

export function octets(bytes: Uint8Array): Buffer {
  return tagged(TAG.octets, bytes);
}

export function utf8(text: string): Buffer {
  return tagged(TAG.utf8, Buffer.from(text));
}

/** UTCTime, to the second, as section 4.1.2.5 of RFC 5280 wants it for years before 2050. */
export function utcTime(ms: number): Buffer {
  const digits = new Date(ms)
    .toISOString()
    .replaceAll(/[-:T]|\.\d+/g, '')
    .slice(2);
  return tagged(TAG.utcTime, Buffer.from(digits));
}

export function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const bytes = [first * 40 + second, ...rest.flatMap(base128)];
  return tagged(TAG.oid, Buffer.from(bytes));
}

/** The elements that an element consists of, each with its tag and length. Throws RangeError where it is none. */
export function parts(element: Buffer): Buffer[] {
  const list: Buffer[] = [];
  for (let rest = contentOf(element); rest.length > 0; ) {
    const { length } = headed(rest);
    list.push(rest.subarray(0, length));
    rest = rest.subarray(length);
  }
  return list;
}

export function contentOf(element: Buffer): Buffer {
  const { headBytes, length } = headed(element);
  return element.subarray(headBytes, length);
}

/** Of the element at the beginning: its head's bytes, and all of them. */
function headed(bytes: Buffer): { readonly headBytes: number; readonly length: number } {
  const short = bytes.readUInt8(1);
  const more = short < 0x80 ? 0 : short & 0x7f;
  const headBytes = 2 + more;
  const length = headBytes + (more === 0 ? short : bytes.readUIntBE(2, more));
  if (length > bytes.length) throw new RangeError('an element is cut off');
  return { headBytes, length };
}

/** Seven bits a byte, the highest first; the eighth bit says that there is another. */
function base128(value: number): number[] {
  const bytes = [value & 0x7f];
  for (let rest = Math.floor(value / 128); rest > 0; rest = Math.floor(rest / 128)) bytes.unshift((rest & 0x7f) | 0x80);
  return bytes;
}
