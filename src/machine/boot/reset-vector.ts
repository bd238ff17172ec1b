/**
 * The reset ROM at 0x1000, word for word as QEMU's `virt` has it, because firmware in the field depends on it. Every
 * hart starts here in machine mode, and goes on with a0 = hart id, a1 = device tree, a2 = fw_dynamic_info (OpenSBI,
 * docs/firmware/fw_dynamic.md):
 *
 *     0x1000  code: 6 instructions
 *     0x1018  start address
 *     0x1020  address of the device tree
 *     0x1028  fw_dynamic_info: magic, version, next address, next mode, options, boot hart
 */
import { VIRT } from '../virt-map.ts';

const CODE = [
  0x0000_0297, // auipc t0, 0
  0x0282_8613, // addi a2, t0, 0x28
  0xf140_2573, // csrr a0, mhartid
  0x0202_b583, // ld a1, 0x20(t0)
  0x0182_b283, // ld t0, 0x18(t0)
  0x0002_8067, // jr t0
] as const;

const FW_DYNAMIC = { MAGIC: 0x4942_534fn, VERSION: 2n, SUPERVISOR: 1n } as const;

export interface ResetVector {
  /** Where the harts go on. */
  readonly start: number;
  readonly fdtAddress: number;
  /** What dynamic firmware starts next, in supervisor mode; 0 for nothing. */
  readonly next: number;
}

/** The ROM's contents, for address VIRT.resetRom.base. */
export function resetVector({ start, fdtAddress, next }: ResetVector): Uint8Array {
  const bootHart = 0n;
  const options = 0n;
  const words = [
    BigInt(start),
    BigInt(fdtAddress),
    FW_DYNAMIC.MAGIC,
    FW_DYNAMIC.VERSION,
    BigInt(next),
    FW_DYNAMIC.SUPERVISOR,
    options,
    bootHart,
  ];
  const bytes = new Uint8Array(CODE.length * 4 + words.length * 8);
  const data = new DataView(bytes.buffer);
  CODE.forEach((word, i) => data.setUint32(i * 4, word, true));
  words.forEach((word, i) => data.setBigUint64(CODE.length * 4 + i * 8, word, true));
  return bytes;
}

/** Where every hart starts that starts in machine mode. */
export const RESET_ADDRESS = VIRT.resetRom.base;
