/**
 * Where an APLIC's messages go (AIA specification, section "Addresses and data for outgoing MSIs"):
 *
 *     g = hart >> LHXW & (2^HHXW - 1)     h = hart & (2^LHXW - 1)
 *     address = (base | g << (HHXS + 12) | h << LHXS | guest) << 12
 *
 * Base and LHXS of a supervisor-level domain are smsiaddrcfg's and smsiaddrcfgh's, the other fields mmsiaddrcfgh's.
 */

/** Fields of mmsiaddrcfgh and smsiaddrcfgh; the lock is the first's alone. */
export const MSI_FIELDS = {
  lock: 0x8000_0000,
  highShift: { at: 24, mask: 0x1f },
  lowShift: { at: 20, mask: 7 },
  highBits: { at: 16, mask: 7 },
  lowBits: { at: 12, mask: 0xf },
  highPage: { at: 0, mask: 0xfff },
} as const;

export const MMSIADDRCFGH_MASK = 0x9f77_ffff;
export const SMSIADDRCFGH_MASK = 0x0070_0fff;

/** One level's files: hart h's page is basePage + (h << lowShift), h has lowBits bits. */
export interface MsiAddresses {
  readonly basePage: number;
  readonly lowShift: number;
  readonly lowBits: number;
}

/** The root domain's registers. */
export interface MsiRegisters {
  readonly mmsiaddrcfg: number;
  readonly mmsiaddrcfgh: number;
  readonly smsiaddrcfg: number;
  readonly smsiaddrcfgh: number;
}

/** A guest-physical address below 2^56: what lies beyond 2^53 is rounded, and nothing is there. */
export function messageAddress(
  root: MsiRegisters,
  level: 'machine' | 'supervisor',
  hart: number,
  guest: number,
): number {
  const isMachine = level === 'machine';
  const { highShift, highBits, lowShift, lowBits, highPage } = MSI_FIELDS;
  const own = isMachine ? root.mmsiaddrcfgh : root.smsiaddrcfgh;
  const bits = fieldOf(root.mmsiaddrcfgh, lowBits);
  const group = (hart >>> bits) & (2 ** fieldOf(root.mmsiaddrcfgh, highBits) - 1);
  const inGroup = hart & (2 ** bits - 1);
  const base = (BigInt(fieldOf(own, highPage)) << 32n) | BigInt(isMachine ? root.mmsiaddrcfg : root.smsiaddrcfg);
  const page =
    base |
    (BigInt(group) << BigInt(fieldOf(root.mmsiaddrcfgh, highShift) + 12)) |
    (BigInt(inGroup) << BigInt(fieldOf(own, lowShift))) |
    BigInt(isMachine ? 0 : guest);
  return Number(BigInt.asUintN(56, page << 12n));
}

function fieldOf(value: number, { at, mask }: { at: number; mask: number }): number {
  return (value >>> at) & mask;
}
