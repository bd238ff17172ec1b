/**
 * The header of a RISC-V Linux Image (Documentation/arch/riscv/boot-image-header.rst):
 *
 *     0 code | 8 text_offset | 16 image_size | 24 flags | 32 version | 48 "RISCV" | 56 "RSC\x05" | 60 PE header's offset
 *
 * image_size includes what the file does not hold (.bss), so a cut is found only through the EFI stub's PE header,
 * which all distributions' kernels have.
 */
import { OperatorError } from '../../base/errors.ts';
import { PAYLOAD_OFFSET } from '../virt-map.ts';
import { type BootFile, called, cutOff, damaged, Words, wrongArchitecture } from './file.ts';
import { peEnd } from './format.ts';

const HEADER_BYTES = 64;
const FLAG_BIG_ENDIAN = 1n;
/** Where kernels with 32 bits want to be loaded; the only other sign of them. */
const TEXT_OFFSET_32 = 0x40_0000;

export interface LinuxImage {
  /** Bytes of memory from the load address that belong to the kernel. */
  readonly sizeBytes: number;
  /** From the start of RAM; 0 for kernels that run in machine mode. */
  readonly textOffset: number;
}

/** The header, checked; `file` is known to have its magic number. `runsIn`: the mode that it will be started in. */
export function parseLinuxImage(file: BootFile, runsIn: 'S' | 'M'): LinuxImage {
  const { bytes } = file;
  if (bytes.length < HEADER_BYTES) throw cutOff(file, bytes.length, HEADER_BYTES);
  const words = new Words(bytes);
  const textOffset = words.u64(8);
  const imageSize = words.u64(16);
  if (((words.wide(24) ?? 0n) & FLAG_BIG_ENDIAN) !== 0n) throw wrongArchitecture(file, 'a big-endian kernel');
  if (textOffset === TEXT_OFFSET_32) throw wrongArchitecture(file, 'a kernel for RISC-V with 32 bits');
  if (textOffset === undefined || imageSize === undefined) throw damaged(file, 'its header has impossible sizes');
  if (textOffset % PAYLOAD_OFFSET !== 0)
    throw damaged(file, `its text offset ${textOffset} is not a multiple of 2 MiB`);
  const end = peEnd(bytes);
  if (end !== undefined && end > bytes.length) throw cutOff(file, bytes.length, end);
  if (runsIn === 'S' && textOffset === 0) {
    throw new OperatorError(
      'kernel-needs-machine-mode',
      `${called(file)} is built for machine mode, and would be started in supervisor mode`,
      'Give it with --bios none, or use a kernel with an MMU.',
    );
  }
  if (runsIn === 'M' && textOffset !== 0) {
    throw new OperatorError(
      'kernel-needs-firmware',
      `${called(file)} is a Linux kernel for supervisor mode, and would be started in machine mode`,
      'Give it with --kernel, and leave --bios out or let it name firmware.',
    );
  }
  return { sizeBytes: Math.max(imageSize, bytes.length), textOffset };
}
