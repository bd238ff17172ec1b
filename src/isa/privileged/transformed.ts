/**
 * What mtinst and htinst say of an instruction whose access failed ("Transformed Instruction or Pseudoinstruction for
 * mtinst or htinst"; for cache-block instructions the CMO specification). Bits 19:15, where rs1 was, hold the distance
 * from the address of the access to the one that failed.
 *
 *   load                 imm -> 0              | offset | funct3 | rd     | opcode
 *   store                imm -> 0 | rs2        | offset | funct3 | 0      | opcode
 *   atomic, hlv, hsv     as it is              | offset | as it is
 *   cache block          operation             | 0      | funct3 | 0      | opcode
 */
import type { Decoded } from '../decoder.ts';

/** The walk's own accesses to VS-stage page tables: `ld x0, 0(x0)` and `sd x0, 0(x0)`, with bits 1 and 0 cleared. */
export const PSEUDOINSTRUCTION = { read: 0x3000n, write: 0x3020n } as const;

const OPCODE = {
  load: 0x03,
  loadFloat: 0x07,
  miscMemory: 0x0f,
  store: 0x23,
  storeFloat: 0x27,
  amo: 0x2f,
  system: 0x73,
};
const RS1 = 0x1fn << 15n;
const LOAD_KEPT = 0x0000_7fffn;
const STORE_KEPT = 0x01f0_707fn;
const CACHE_KEPT = 0xfff0_707fn;
/** Bit 1 says that the instruction had 32 bits. */
const LONG = 2n;

/** The transformed instruction; zero where none is defined. `offset`: failed address minus the access's, 0 to 31. */
export function transformedInstruction({ expanded, length }: Decoded, offset: bigint): bigint {
  const bits = BigInt(expanded);
  const kept = keptBits(expanded & 0x7f);
  if (kept === undefined) return 0n;
  const isCache = kept === CACHE_KEPT;
  const transformed = (bits & kept) | (isCache ? 0n : (offset << 15n) & RS1);
  return length === 2 ? transformed & ~LONG : transformed;
}

function keptBits(opcode: number): bigint | undefined {
  switch (opcode) {
    case OPCODE.load:
    case OPCODE.loadFloat:
      return LOAD_KEPT & ~RS1;
    case OPCODE.store:
    case OPCODE.storeFloat:
      return STORE_KEPT;
    case OPCODE.amo:
    case OPCODE.system:
      return 0xffff_ffffn & ~RS1;
    case OPCODE.miscMemory:
      return CACHE_KEPT;
    default:
      return undefined;
  }
}
