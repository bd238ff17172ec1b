/** Physical memory as the reference machine sees it, and RAM as the plainest one. */
import { assert } from '../../base/assert.ts';

/** Little-endian. An access never crosses a page boundary. */
export interface PhysicalMemory {
  /** Whether all those bytes answer; where they do not, accesses fault and nothing is done. */
  has(address: bigint, sizeBytes: number): boolean;
  /** 1 to 8 bytes that the memory has. */
  read(address: bigint, sizeBytes: number): bigint;
  write(address: bigint, sizeBytes: number, value: bigint): void;
}

/** Bytes at physical addresses from `base` on. */
export class Ram implements PhysicalMemory {
  readonly base: bigint;
  readonly bytes: Uint8Array;

  /** So many bytes, or these. */
  constructor(base: bigint, bytes: number | Uint8Array) {
    this.base = base;
    this.bytes = typeof bytes === 'number' ? new Uint8Array(bytes) : bytes;
  }

  has(address: bigint, sizeBytes: number): boolean {
    return address >= this.base && address + BigInt(sizeBytes) <= this.base + BigInt(this.bytes.length);
  }

  read(address: bigint, sizeBytes: number): bigint {
    const at = this.#index(address, sizeBytes);
    let value = 0n;
    for (let i = sizeBytes - 1; i >= 0; i--) value = (value << 8n) | BigInt(this.bytes[at + i] as number);
    return value;
  }

  write(address: bigint, sizeBytes: number, value: bigint): void {
    const at = this.#index(address, sizeBytes);
    for (let i = 0, rest = value; i < sizeBytes; i++, rest >>= 8n) this.bytes[at + i] = Number(rest & 0xffn);
  }

  #index(address: bigint, sizeBytes: number): number {
    assert(this.has(address, sizeBytes), `no RAM at ${address.toString(16)}`);
    return Number(address - this.base);
  }
}
