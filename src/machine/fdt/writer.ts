/**
 * Writes flattened device trees, version 17 (Devicetree Specification 0.4, chapter 5):
 *
 *     header (40 bytes) | memory reservations | structure: tokens | strings: names of properties, each once
 */
import { assert } from '../../base/assert.ts';
import type { TreeNode } from './tree.ts';

export const FDT = { MAGIC: 0xd00d_feed, VERSION: 17, LAST_COMPATIBLE: 16, HEADER_BYTES: 40 } as const;
export const TOKEN = { BEGIN_NODE: 1, END_NODE: 2, PROPERTY: 3, NOP: 4, END: 9 } as const;

export interface MemoryReservation {
  readonly address: number;
  readonly sizeBytes: number;
}

/** The flattened tree; the caller owns it. */
export function writeDeviceTree(root: TreeNode, reservations: readonly MemoryReservation[] = []): Uint8Array {
  assert(root.name === '', 'the root of a device tree has no name');
  const out = new Bytes();
  const names = new Names();
  const reservationsAt = FDT.HEADER_BYTES;
  out.skip(FDT.HEADER_BYTES);
  for (const { address, sizeBytes } of [...reservations, { address: 0, sizeBytes: 0 }]) {
    out.u64(address);
    out.u64(sizeBytes);
  }
  const structureAt = out.length;
  writeNode(out, names, root);
  out.u32(TOKEN.END);
  const stringsAt = out.length;
  const strings = names.bytes();
  out.append(strings);
  out.align(8);
  const bytes = out.take();
  const header = new DataView(bytes.buffer);
  const fields = [
    FDT.MAGIC,
    bytes.length,
    structureAt,
    stringsAt,
    reservationsAt,
    FDT.VERSION,
    FDT.LAST_COMPATIBLE,
    0, // boot_cpuid_phys
    strings.length,
    stringsAt - structureAt,
  ];
  fields.forEach((value, i) => header.setUint32(i * 4, value));
  return bytes;
}

function writeNode(out: Bytes, names: Names, node: TreeNode): void {
  out.u32(TOKEN.BEGIN_NODE);
  out.append(new TextEncoder().encode(`${node.name}\0`));
  out.align(4);
  for (const [name, value] of node.properties) {
    out.u32(TOKEN.PROPERTY);
    out.u32(value.length);
    out.u32(names.offsetOf(name));
    out.append(value);
    out.align(4);
  }
  for (const child of node.children) writeNode(out, names, child);
  out.u32(TOKEN.END_NODE);
}

class Names {
  readonly #offsets = new Map<string, number>();
  readonly #out = new Bytes();

  offsetOf(name: string): number {
    const known = this.#offsets.get(name);
    if (known !== undefined) return known;
    const offset = this.#out.length;
    this.#out.append(new TextEncoder().encode(`${name}\0`));
    this.#offsets.set(name, offset);
    return offset;
  }

  bytes(): Uint8Array {
    return this.#out.take();
  }
}

/** A growing run of bytes. */
class Bytes {
  #bytes = new Uint8Array(4096);
  length = 0;

  u32(value: number): void {
    this.#reserve(4);
    new DataView(this.#bytes.buffer).setUint32(this.length, value);
    this.length += 4;
  }

  u64(value: number): void {
    this.u32(Math.floor(value / 2 ** 32));
    this.u32(value % 2 ** 32);
  }

  append(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.length);
    this.length += bytes.length;
  }

  skip(count: number): void {
    this.#reserve(count);
    this.length += count;
  }

  align(to: number): void {
    this.skip((to - (this.length % to)) % to);
  }

  take(): Uint8Array {
    return this.#bytes.slice(0, this.length);
  }

  #reserve(count: number): void {
    if (this.length + count <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(this.#bytes.length * 2, this.length + count));
    larger.set(this.#bytes.subarray(0, this.length));
    this.#bytes = larger;
  }
}
