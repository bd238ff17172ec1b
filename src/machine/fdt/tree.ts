/**
 * Device trees as values: nodes with properties, and the encodings that properties use (Devicetree Specification
 * 0.4, section 2.2.4). Everything is big-endian, strings end in a zero byte.
 */
import { assert } from '../../base/assert.ts';

export interface TreeNode {
  /** `serial@10000000`; the root's is empty. */
  readonly name: string;
  /** In the order in which they are written. */
  readonly properties: ReadonlyMap<string, Uint8Array>;
  readonly children: readonly TreeNode[];
}

/** A node from a plain object: numbers are cells, strings strings, arrays of either lists, `true` an empty property. */
export function node(
  name: string,
  properties: Record<string, PropertyValue>,
  children: readonly TreeNode[] = [],
): TreeNode {
  const encoded = new Map<string, Uint8Array>();
  for (const [key, value] of Object.entries(properties)) {
    if (value !== undefined) encoded.set(key, encodeProperty(value));
  }
  return { name, properties: encoded, children };
}

/** `undefined` leaves the property out. */
export type PropertyValue = number | string | true | readonly number[] | readonly string[] | Uint8Array | undefined;

function encodeProperty(value: Exclude<PropertyValue, undefined>): Uint8Array {
  if (value === true) return new Uint8Array(0);
  if (value instanceof Uint8Array) return value;
  if (typeof value === 'number') return cells([value]);
  if (typeof value === 'string') return strings([value]);
  return isStrings(value) ? strings(value) : cells(value);
}

function isStrings(value: readonly number[] | readonly string[]): value is readonly string[] {
  return typeof value[0] === 'string';
}

/** 32-bit cells. */
export function cells(values: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(values.length * 4);
  const data = new DataView(bytes.buffer);
  values.forEach((value, i) => {
    assert(Number.isInteger(value) && value >= 0 && value <= 0xffff_ffff, `${value} is no cell`);
    data.setUint32(i * 4, value);
  });
  return bytes;
}

/** A number as two cells, high first. `value` is a safe integer. */
export function two(value: number): [number, number] {
  assert(Number.isSafeInteger(value) && value >= 0, `${value} is no address`);
  return [Math.floor(value / 2 ** 32), value % 2 ** 32];
}

/** A number as one property of 64 bits. */
export function u64(value: number): Uint8Array {
  return cells(two(value));
}

function strings(values: readonly string[]): Uint8Array {
  return new TextEncoder().encode(values.map((value) => `${value}\0`).join(''));
}

/** The cells of a property; undefined if it is not made of cells. */
export function readCells(property: Uint8Array | undefined): number[] | undefined {
  if (property === undefined || property.length % 4 !== 0) return undefined;
  const data = new DataView(property.buffer, property.byteOffset, property.length);
  return Array.from({ length: property.length / 4 }, (_, i) => data.getUint32(i * 4));
}

/** Longer properties are data, not text. */
const MAX_TEXT = 16_384;

/** The strings of a property; undefined if it is not a list of printable, non-empty strings. */
export function readStrings(property: Uint8Array | undefined): string[] | undefined {
  if (property === undefined || property.length < 2 || property.length > MAX_TEXT || property.at(-1) !== 0) return;
  const text = String.fromCharCode(...property.subarray(0, -1));
  return /^[\x20-\x7e]+(?:\0[\x20-\x7e]+)*$/.test(text) ? text.split('\0') : undefined;
}

/**
 * The tree with `properties` put into the node at `path`, which is made where it is missing: how a tree from a file
 * gets this boot's /chosen. What is not named stays as it was.
 */
export function withProperties(root: TreeNode, path: string, properties: Record<string, PropertyValue>): TreeNode {
  const [name, ...rest] = path.split('/').filter((part) => part !== '');
  if (name === undefined) {
    return { ...root, properties: new Map([...root.properties, ...node('', properties).properties]) };
  }
  const at = root.children.findIndex((child) => child.name === name);
  const child = withProperties(root.children[at] ?? node(name, {}), rest.join('/'), properties);
  return { ...root, children: at < 0 ? [...root.children, child] : root.children.with(at, child) };
}

/** The node at `path`, such as `/soc/serial@10000000`; undefined if there is none. */
export function nodeAt(root: TreeNode, path: string): TreeNode | undefined {
  let at: TreeNode | undefined = root;
  for (const name of path.split('/').filter((part) => part !== '')) {
    at = at?.children.find((child) => child.name === name);
  }
  return at;
}
