/** Makers of bootable files for tests: the least that each format's header needs, with knobs for what tests break. */
import { gunzipSync, gzipSync, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import type { BootFile, BootRole, Decompressors } from './index.ts';

export const decompress: Decompressors = {
  gunzip: (bytes, mostBytes) => gunzipSync(bytes, { maxOutputLength: mostBytes }),
  unzstd: (bytes, mostBytes) => zstdDecompressSync(bytes, { maxOutputLength: mostBytes }),
};

export const gzip = (bytes: Uint8Array): Uint8Array => gzipSync(bytes);
export const zstd = (bytes: Uint8Array): Uint8Array => zstdCompressSync(bytes);

export function file(role: BootRole, bytes: Uint8Array): BootFile {
  return { role, name: `${role}.bin`, bytes };
}

export const text = (of: string): Uint8Array => Uint8Array.from(of, (c) => c.charCodeAt(0));

/** `parts` written into zeros: `[0x38, 'RSC\x05']`, `[8, 0x200000n]` (64 bits), `[60, 0x40]` (32 bits). */
export function binary(sizeBytes: number, parts: readonly [at: number, value: string | number | bigint][]): Uint8Array {
  const bytes = new Uint8Array(sizeBytes);
  const data = new DataView(bytes.buffer);
  for (const [at, value] of parts) {
    if (typeof value === 'string') bytes.set(text(value), at);
    else if (typeof value === 'bigint') data.setBigUint64(at, value, true);
    else data.setUint32(at, value, true);
  }
  return bytes;
}

export interface ImageWishes {
  readonly sizeBytes?: number;
  readonly imageSize?: bigint;
  readonly textOffset?: bigint;
  readonly flags?: bigint;
  /** An EFI stub's header with this machine number, whose last section ends at `peEnd`. */
  readonly peMachine?: number;
  readonly peEnd?: number;
}

export function linuxImage(wishes: ImageWishes = {}): Uint8Array {
  const sizeBytes = wishes.sizeBytes ?? 0x1000;
  const pe: [number, string | number][] =
    wishes.peMachine === undefined
      ? []
      : [
          [0, 'MZ'],
          [60, 0x40],
          [0x40, 'PE\0\0'],
          [0x44, wishes.peMachine | (1 << 16)], // machine, one section
          [0x54, 0], // no optional header
          [0x58 + 16, 0x100],
          [0x58 + 20, (wishes.peEnd ?? sizeBytes) - 0x100],
        ];
  return binary(sizeBytes, [
    [8, wishes.textOffset ?? 0x20_0000n],
    [16, wishes.imageSize ?? BigInt(sizeBytes)],
    [24, wishes.flags ?? 0n],
    [32, 2],
    [48, 'RISCV\0\0\0'],
    [56, 'RSC\x05'],
    ...pe,
  ]);
}

export interface ElfSegment {
  readonly type?: number;
  readonly virtual: bigint;
  readonly physical?: bigint;
  readonly content: string;
  readonly sizeBytes?: bigint;
  /** What the header claims instead of the content's length. */
  readonly fileBytes?: bigint;
}

export interface ElfWishes {
  readonly type?: number;
  readonly machine?: number;
  readonly bits?: 32 | 64;
  readonly bigEndian?: boolean;
  readonly entry?: bigint;
  readonly segments?: readonly ElfSegment[];
}

export function elf(wishes: ElfWishes = {}): Uint8Array {
  const segments = wishes.segments ?? [{ virtual: 0x8000_0000n, content: 'code' }];
  const contentAt = 64 + segments.length * 56;
  const parts: [number, string | number | bigint][] = [
    [0, `\x7fELF${wishes.bits === 32 ? '\x01' : '\x02'}${wishes.bigEndian === true ? '\x02' : '\x01'}\x01`],
    [16, (wishes.type ?? 2) | ((wishes.machine ?? 243) << 16)],
    [20, 1],
    [24, wishes.entry ?? segments[0]?.virtual ?? 0n],
    [32, 64n],
    [52, 64 | (56 << 16)],
    [56, segments.length],
  ];
  let at = contentAt;
  segments.forEach((segment, i) => {
    const header = 64 + i * 56;
    const length = BigInt(segment.content.length);
    parts.push(
      [header, segment.type ?? 1],
      [header + 8, BigInt(at)],
      [header + 16, segment.virtual],
      [header + 24, segment.physical ?? segment.virtual],
      [header + 32, segment.fileBytes ?? length],
      [header + 40, segment.sizeBytes ?? length],
      [at, segment.content],
    );
    at += segment.content.length;
  });
  return binary(at, parts);
}

/** An EFI zboot image around compressed `payload`. */
export function zboot(payload: Uint8Array, by = 'gzip', claimedBytes = payload.length): Uint8Array {
  const head = binary(256, [
    [0, 'MZ\0\0zimg'],
    [8, 256],
    [12, claimedBytes],
    [24, by],
    [0x38, 0x8182_23cd],
    [0x3c, 0x40],
    [0x40, 'PE\0\0\x64\x50'],
  ]);
  const bytes = new Uint8Array(256 + payload.length);
  bytes.set(head);
  bytes.set(payload, 256);
  return bytes;
}
