/**
 * Linux's kernel file for riscv64, brought into the one form that a machine loads: the raw "Image"
 * (Documentation/arch/riscv/boot-image-header.rst). Debian ships it raw; other builds ship it gzip-compressed or
 * as an EFI zboot image (drivers/firmware/efi/libstub/zboot-header.S), whose payload is gzip or zstd. Other
 * compressions, and vmlinux ELF files, are refused with the reason.
 */
import { gunzipSync, zstdDecompressSync } from 'node:zlib';
import { OperatorError } from '../../base/errors.ts';

export interface KernelImage {
  bytes: Uint8Array;
  /** How much memory the kernel takes from its load address on, its bss included. */
  sizeInMemoryBytes: number;
}

const riscvMagicAt = 0x38;
const riscvMagic = 0x05435352; // "RSC\x05"
const header = { sizeAt: 0x10, length: 0x40 } as const;
const zboot = { magicAt: 4, magic: 'zimg', payloadOffsetAt: 8, payloadSizeAt: 12, compressionAt: 24 } as const;
const unpackedLimitBytes = 512 * 1024 * 1024;

/** Unwraps a kernel file; throws OperatorError `bad-kernel` if it is not a riscv64 Linux kernel or is cut short. */
export function unwrapKernel(file: Uint8Array, name: string): KernelImage {
  const bytes = decompress(file, name);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < header.length || view.getUint32(riscvMagicAt, true) !== riscvMagic) {
    throw badKernel(name, isElf(bytes) ? 'it is an ELF file, not a raw Image' : 'it is not a riscv64 Linux Image');
  }
  const size = view.getBigUint64(header.sizeAt, true);
  if (size > BigInt(unpackedLimitBytes)) throw badKernel(name, `its header claims ${size} bytes of memory`);
  return { bytes, sizeInMemoryBytes: Math.max(Number(size), bytes.length) };
}

function decompress(file: Uint8Array, name: string): Uint8Array {
  try {
    if (startsWith(file, [0x1f, 0x8b])) return gunzipSync(file, { maxOutputLength: unpackedLimitBytes });
    if (file.length < header.length || text(file, zboot.magicAt, 4) !== zboot.magic) return file;
    const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
    const offset = view.getUint32(zboot.payloadOffsetAt, true);
    const size = view.getUint32(zboot.payloadSizeAt, true);
    const payload = file.subarray(offset, offset + size);
    if (payload.length !== size) throw badKernel(name, 'the file is cut short');
    const compression = text(file, zboot.compressionAt, 32).split('\0')[0];
    const options = { maxOutputLength: unpackedLimitBytes };
    if (compression === 'gzip') return gunzipSync(payload, options);
    if (compression === 'zstd22' || compression === 'zstd') return zstdDecompressSync(payload, options);
    throw badKernel(name, `its payload is compressed with ${compression}`);
  } catch (error) {
    if (error instanceof OperatorError) throw error;
    throw badKernel(name, 'it cannot be decompressed: the file is damaged or cut short', error);
  }
}

function badKernel(name: string, reason: string, cause?: unknown): OperatorError {
  const fix = 'give a riscv64 kernel: a raw Image, Image.gz, or an EFI zboot image with gzip or zstd';
  return new OperatorError('bad-kernel', `${name} cannot be booted: ${reason}`, fix, { cause });
}

function isElf(bytes: Uint8Array): boolean {
  return startsWith(bytes, [0x7f, 0x45, 0x4c, 0x46]);
}

function startsWith(bytes: Uint8Array, prefix: readonly number[]): boolean {
  return prefix.every((byte, index) => bytes[index] === byte);
}

function text(bytes: Uint8Array, at: number, length: number): string {
  return Buffer.from(bytes.subarray(at, at + length)).toString('latin1');
}
