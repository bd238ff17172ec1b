/**
 * What kind of file somebody gave us, from its first bytes. Knows the formats that boot here, their wrappings, and the
 * files that people give by mistake, so that the error can name what it is instead of what it is not.
 */
import { hasText, Words } from './file.ts';

export type Compression = 'gzip' | 'zstd' | 'xz' | 'lz4' | 'lzma' | 'lzo' | 'bzip2';

export type FileFormat =
  | { readonly kind: 'image' }
  | { readonly kind: 'elf' }
  | { readonly kind: 'zboot' }
  | { readonly kind: 'compressed'; readonly by: Compression }
  /** Another architecture's: `an x86 kernel (bzImage)`. */
  | { readonly kind: 'foreign'; readonly what: string }
  /** Something that is no program: `an initial RAM disk (cpio)`; `fix` says what to do with it. */
  | { readonly kind: 'mistake'; readonly what: string; readonly fix?: string }
  | { readonly kind: 'unknown' };

const COMPRESSIONS: readonly [magic: string, by: Compression][] = [
  ['\x1f\x8b', 'gzip'],
  ['\x28\xb5\x2f\xfd', 'zstd'],
  ['\xfd7zXZ\0', 'xz'],
  ['\x04\x22\x4d\x18', 'lz4'],
  ['\x02\x21\x4c\x18', 'lz4'],
  ['\x5d\0\0', 'lzma'],
  ['\x89LZO\0', 'lzo'],
  ['BZh', 'bzip2'],
];

const INITRD = 'Give it with --initrd, and a kernel with --kernel.';
const DISK = 'Give it with --drive, and a kernel with --kernel.';

/** Signatures at fixed offsets of what is given by mistake, most certain first. */
const MISTAKES: readonly [at: number, magic: string, what: string, fix?: string][] = [
  [0, '070701', 'an initial RAM disk (cpio)', INITRD],
  [0, '070702', 'an initial RAM disk (cpio)', INITRD],
  [0, '\x27\x05\x19\x56', "an image in U-Boot's legacy format", 'Unpack it with dumpimage and give what is inside.'],
  [0, '\xd0\x0d\xfe\xed', 'a device tree or FIT image', 'Give the kernel itself, not its device tree.'],
  [0, 'QFI\xfb', 'a qcow2 disk', DISK],
  [0, 'hsqs', 'a squashfs file system', DISK],
  [0x8001, 'CD001', 'a CD image', DISK],
  [0, '!<arch>\n', 'a Debian package or static library', 'Unpack it and give the kernel inside (dpkg-deb -x).'],
  [0, 'PK\x03\x04', 'a zip archive', 'Unpack it and give the kernel inside.'],
  [257, 'ustar', 'a tar archive', 'Unpack it and give the kernel inside.'],
];

/** Machine numbers of PE headers, other than RISC-V with 64 bits (0x5064). */
const PE_MACHINES: Record<number, string> = {
  332: 'x86 (32 bits)',
  34404: 'x86-64',
  43620: 'aarch64',
  450: 'ARM (32 bits)',
  20530: 'RISC-V with 32 bits',
  25188: 'LoongArch',
};
const PE_RISCV64 = 0x5064;

export function identify(bytes: Uint8Array): FileFormat {
  if (hasText(bytes, 0, '\x7fELF')) return { kind: 'elf' };
  const words = new Words(bytes);
  if (words.u16(0x1fe) === 0xaa55 && hasText(bytes, 0x202, 'HdrS')) return foreign('an x86 kernel (bzImage)');
  if (hasText(bytes, 56, 'ARM\x64')) return foreign('an aarch64 kernel (Image)');
  if (words.u32(0x24) === 0x016f_2818) return foreign('a kernel for ARM with 32 bits (zImage)');
  const machine = peMachine(bytes);
  if (machine !== undefined && machine !== PE_RISCV64) {
    return foreign(`an EFI program for ${PE_MACHINES[machine] ?? `machine 0x${machine.toString(16)}`}`);
  }
  if (hasText(bytes, 0, 'MZ') && hasText(bytes, 4, 'zimg')) return { kind: 'zboot' };
  if (hasText(bytes, 56, 'RSC\x05')) return { kind: 'image' };
  for (const [magic, by] of COMPRESSIONS) if (hasText(bytes, 0, magic)) return { kind: 'compressed', by };
  for (const [at, magic, what, fix] of MISTAKES) {
    if (hasText(bytes, at, magic)) return { kind: 'mistake', what, ...(fix === undefined ? {} : { fix }) };
  }
  if (isExt4(bytes)) return { kind: 'mistake', what: 'an ext4 file system', fix: DISK };
  if (isText(bytes)) return { kind: 'mistake', what: 'a text file' };
  if (machine === PE_RISCV64) return { kind: 'mistake', what: 'an EFI program without a kernel header' };
  return { kind: 'unknown' };
}

/** The machine number of a PE file (the EFI stub makes kernels such), or undefined. */
export function peMachine(bytes: Uint8Array): number | undefined {
  if (!hasText(bytes, 0, 'MZ')) return undefined;
  const words = new Words(bytes);
  const at = words.u32(0x3c);
  return at !== undefined && hasText(bytes, at, 'PE\0\0') ? words.u16(at + 4) : undefined;
}

/**
 * Where the last section of a PE file ends, or undefined if this is none: a kernel with an EFI stub that is
 * shorter was cut off.
 */
export function peEnd(bytes: Uint8Array): number | undefined {
  if (peMachine(bytes) === undefined) return undefined;
  const words = new Words(bytes);
  const at = words.u32(0x3c) ?? 0;
  const sections = Math.min(words.u16(at + 6) ?? 0, 96);
  const tableAt = at + 24 + (words.u16(at + 20) ?? 0);
  let end = 0;
  for (let i = 0; i < sections; i++) {
    const size = words.u32(tableAt + i * 40 + 16) ?? 0;
    const from = words.u32(tableAt + i * 40 + 20) ?? 0;
    if (size > 0) end = Math.max(end, from + size);
  }
  return end;
}

function foreign(what: string): FileFormat {
  return { kind: 'foreign', what };
}

/** Its magic has 16 bits only: the empty boot block in front keeps raw programs from being taken for it. */
function isExt4(bytes: Uint8Array): boolean {
  return hasText(bytes, 0x438, '\x53\xef') && bytes.subarray(0, 0x400).every((byte) => byte === 0);
}

function isText(bytes: Uint8Array): boolean {
  const head = bytes.subarray(0, 256);
  return (
    head.length > 0 &&
    head.every((byte) => (byte >= 0x20 && byte < 0x7f) || byte === 0x0a || byte === 0x0d || byte === 9)
  );
}
