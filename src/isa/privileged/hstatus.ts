/** Bits of hstatus ("Hypervisor Status (hstatus) Register") that this hart implements. Read-only: VSBE 0, VSXL 64 bits. */
export const HSTATUS = {
  /** The last trap into HS-mode wrote a guest virtual address to stval. */
  GVA: 1n << 6n,
  /** V before the last trap into HS-mode, and the mode then, if it was a guest's. */
  SPV: 1n << 7n,
  SPVP: 1n << 8n,
  /** hlv, hlvx and hsv in U-mode. */
  HU: 1n << 9n,
  /** The guest interrupt file that is VS-mode's. */
  VGEIN: 0x3fn << 12n,
  VTVM: 1n << 20n,
  VTW: 1n << 21n,
  VTSR: 1n << 22n,
} as const;

export const VGEIN_SHIFT = 12;
export const SPVP_SHIFT = 8;
