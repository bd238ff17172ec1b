/**
 * Reads flattened device trees, versions 16 and 17, for `--dtb` files and for tests. The bytes are hostile: every
 * offset is checked against the block it must lie in, depth is bounded, and every step consumes input, so the work
 * is at most linear in the size. Reserved memory is not returned: nothing here needs it.
 */
import { OperatorError } from '../../base/errors.ts';
import type { TreeNode } from './tree.ts';
import { FDT, TOKEN } from './writer.ts';

const MAX_DEPTH = 64;
/** Also bounds the sum of work: names of properties may be shared, so their lengths are not bounded by the size. */
const MAX_NAME_BYTES = 256;

/** The tree in `bytes`; property values are copies. Throws OperatorError `device-tree-invalid`. */
export function readDeviceTree(bytes: Uint8Array): TreeNode {
  return new Reader(bytes).read();
}

interface OpenNode {
  readonly name: string;
  readonly properties: Map<string, Uint8Array>;
  readonly children: OpenNode[];
}

class Reader {
  readonly #bytes: Uint8Array;
  readonly #data: DataView;
  #at = 0;
  #end = 0;
  #stringsAt = 0;
  #stringsEnd = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#data = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  read(): TreeNode {
    this.#readHeader();
    const open: OpenNode[] = [];
    let root: OpenNode | undefined;
    for (;;) {
      const token = this.#u32();
      const top = open.at(-1);
      switch (token) {
        case TOKEN.NOP:
          break;
        case TOKEN.BEGIN_NODE: {
          if (root !== undefined && top === undefined) invalid('it has two roots');
          if (open.length >= MAX_DEPTH) invalid(`its nodes are more than ${MAX_DEPTH} deep`);
          const node: OpenNode = { name: this.#nodeName(), properties: new Map(), children: [] };
          top?.children.push(node);
          root ??= node;
          open.push(node);
          break;
        }
        case TOKEN.END_NODE:
          if (open.pop() === undefined) invalid('a node ends that has not begun');
          break;
        case TOKEN.PROPERTY: {
          if (top === undefined) invalid('a property lies outside every node');
          const length = this.#u32();
          const name = this.#string(this.#stringsAt + this.#u32(), this.#stringsEnd).text;
          // Not slice(): on a Node Buffer that would share the memory.
          top.properties.set(name, new Uint8Array(this.#take(length)));
          break;
        }
        case TOKEN.END:
          if (root === undefined || open.length > 0) invalid('it ends within a node');
          return root;
        default:
          invalid(`there is no token ${token}`);
      }
    }
  }

  #readHeader(): void {
    if (this.#bytes.length < FDT.HEADER_BYTES) invalid('it is shorter than a header');
    const field = (index: number) => this.#data.getUint32(index * 4);
    if (field(0) !== FDT.MAGIC) invalid('it does not start with the magic number');
    const total = field(1);
    if (total > this.#bytes.length) invalid(`it is cut off: ${this.#bytes.length} of ${total} bytes`);
    const version = field(5);
    if (field(6) > FDT.VERSION || version < FDT.LAST_COMPATIBLE) invalid(`version ${version} is not known`);
    this.#at = field(2);
    // Version 16 does not tell the structure's size: it ends by its own token.
    this.#end = version >= 17 ? this.#at + field(9) : total;
    this.#stringsAt = field(3);
    this.#stringsEnd = this.#stringsAt + field(8);
    if (this.#at % 4 !== 0) invalid('its structure is misaligned');
    if (this.#at < FDT.HEADER_BYTES || this.#end > total) invalid('its structure lies outside');
    if (this.#stringsAt < FDT.HEADER_BYTES || this.#stringsEnd > total) invalid('its strings lie outside');
  }

  #u32(): number {
    if (this.#at + 4 > this.#end) invalid('its structure is cut off');
    const value = this.#data.getUint32(this.#at);
    this.#at += 4;
    return value;
  }

  #take(length: number): Uint8Array {
    if (this.#at + length > this.#end) invalid('a property is cut off');
    const bytes = this.#bytes.subarray(this.#at, this.#at + length);
    this.#at += Math.ceil(length / 4) * 4;
    return bytes;
  }

  #nodeName(): string {
    const { text, end } = this.#string(this.#at, this.#end);
    this.#at = Math.ceil((end + 1) / 4) * 4;
    return text;
  }

  #string(from: number, limit: number): { text: string; end: number } {
    const end = this.#bytes.subarray(0, Math.min(limit, from + MAX_NAME_BYTES)).indexOf(0, from);
    if (from >= limit || end < 0) invalid('a name is cut off or too long');
    const text = String.fromCharCode(...this.#bytes.subarray(from, end));
    return { text, end };
  }
}

function invalid(why: string): never {
  throw new OperatorError(
    'device-tree-invalid',
    `this is not a usable device tree: ${why}`,
    'Give a flattened device tree (.dtb) as `dtc -O dtb` writes it.',
  );
}
