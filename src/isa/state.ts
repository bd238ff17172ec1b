/**
 * The architectural state of a hart, as one layout in shared memory: registers, CSRs, pending interrupts. The engine
 * appends its own fields (TLB banks, exit record) to these. CSR fields hold raw values; what reads and writes of
 * the CSR do to them is the CSR table's business (csr/).
 */
import { array, type Fields, struct } from '../base/struct.ts';
import { AREA_COUNTERS } from './privileged/area-by-cause.ts';

/**
 * A status area: the supervisor CSRs that exist twice, once for HS-mode (the host status area) and once for VS-mode (the
 * guest status area). Both lie in the state, one behind the other and laid out alike; `virtual` says which is active.
 * sstatus and vsstatus are those of the area that is not active: the active one's bits are in mstatus
 * (privileged/areas.ts).
 */
export const AREA_FIELDS = ['sstatus', 'stvec', 'sscratch', 'sepc', 'scause', 'stval', 'satp', 'stimecmp'] as const;
export type AreaField = (typeof AREA_FIELDS)[number];
/** The guest's field for the host's, by the names that HS-mode's software has for them. */
export const GUEST_FIELD = {
  sstatus: 'vsstatus',
  stvec: 'vstvec',
  sscratch: 'vsscratch',
  sepc: 'vsepc',
  scause: 'vscause',
  stval: 'vstval',
  satp: 'vsatp',
  stimecmp: 'vstimecmp',
} as const satisfies { readonly [K in AreaField]: `v${string}` };

/** Scalars of the state that rows may name. */
export const STATE_SCALARS = {
  pc: 'u64',
  /** Instructions retired; the engine keeps it exact at every exit. */
  instret: 'u64',
  /** What minstret and mcycle read is instret plus these (a write moves them). */
  minstretOffset: 'u64',
  mcycleOffset: 'u64',
  /** 0 user, 1 supervisor, 3 machine. */
  mode: 'u64',
  fflags: 'u64',
  frm: 'u64',
  mstatus: 'u64',
  medeleg: 'u64',
  mideleg: 'u64',
  mie: 'u64',
  /**
   * Software-writable pending bits only: SSIP, STIP without Sstc, SEIP's software part, and hvip (VSSIP, VSTIP, VSEIP).
   * Written by the hart's own thread alone.
   */
  mip: 'u64',
  mtvec: 'u64',
  mcounteren: 'u64',
  mcountinhibit: 'u64',
  menvcfg: 'u64',
  mseccfg: 'u64',
  mscratch: 'u64',
  mepc: 'u64',
  mcause: 'u64',
  mtval: 'u64',
  mhartid: 'u64',
  /** Fixed at reset: MXL and the letters of the hart's extensions. */
  misa: 'u64',
  scounteren: 'u64',
  senvcfg: 'u64',
  /** V: 1 in VS- and VU-mode, else 0. Never 1 in M-mode. */
  virtual: 'u64',
  // The host status area, then the guest status area: AREA_FIELDS.
  sstatus: 'u64',
  stvec: 'u64',
  sscratch: 'u64',
  sepc: 'u64',
  scause: 'u64',
  stval: 'u64',
  satp: 'u64',
  stimecmp: 'u64',
  vsstatus: 'u64',
  vstvec: 'u64',
  vsscratch: 'u64',
  vsepc: 'u64',
  vscause: 'u64',
  vstval: 'u64',
  vsatp: 'u64',
  vstimecmp: 'u64',
  // The hypervisor extension beside the areas. hvip's bits are in mip, hie's in mie, MPV and GVA in mstatus.
  hstatus: 'u64',
  hedeleg: 'u64',
  hideleg: 'u64',
  hcounteren: 'u64',
  henvcfg: 'u64',
  hgeie: 'u64',
  htval: 'u64',
  htinst: 'u64',
  htimedelta: 'u64',
  hgatp: 'u64',
  mtval2: 'u64',
  mtinst: 'u64',
  mstateen0: 'u64',
  mstateen1: 'u64',
  mstateen2: 'u64',
  mstateen3: 'u64',
  hstateen0: 'u64',
  hstateen1: 'u64',
  hstateen2: 'u64',
  hstateen3: 'u64',
  /** GEILEN: how many guest interrupt files the hart has. Fixed at reset. */
  guestFiles: 'u64',
  /** Guest external interrupts as the interrupt controller drives them: written atomically by others. Bit 0 is zero. */
  hgeip: 'u64',
  /** Physical address and size of the LR reservation; size 0: none. The value read, for SC by compare-exchange. */
  reservationAddress: 'u64',
  reservationSize: 'u64',
  reservationValue: 'u64',
  pmpcfg0: 'u64',
  pmpcfg2: 'u64',
  pmpaddr0: 'u64',
  pmpaddr1: 'u64',
  pmpaddr2: 'u64',
  pmpaddr3: 'u64',
  pmpaddr4: 'u64',
  pmpaddr5: 'u64',
  pmpaddr6: 'u64',
  pmpaddr7: 'u64',
  pmpaddr8: 'u64',
  pmpaddr9: 'u64',
  pmpaddr10: 'u64',
  pmpaddr11: 'u64',
  pmpaddr12: 'u64',
  pmpaddr13: 'u64',
  pmpaddr14: 'u64',
  pmpaddr15: 'u64',
  /**
   * Interrupt lines as devices drive them (mip's MSIP, MTIP, MEIP, SEIP, and STIP and VSTIP of Sstc): written atomically by
   * others. Whoever compares with vstimecmp drives VSTIP, and holds it at zero where menvcfg or henvcfg turns it off.
   */
  lines: 'u64',
  /** Extensions and options that semantics ask for at run time (bits of FEATURE). */
  features: 'u64',
  /** Bits of satp's ASID that the hart is without: they read as zero. Fixed at reset. */
  asidAbsent: 'u64',
} as const satisfies Fields;

export type StateField = keyof typeof STATE_SCALARS;

/** Index 32 of x is where writes to x0 go. */
export const STATE_FIELDS = {
  x: array('u64', 33),
  f: array('u64', 32),
  ...STATE_SCALARS,
  /** How often each cause selected a status area, where one of the two sides was a guest: AREA_BY_CAUSE. */
  areaCounts: array('u64', AREA_COUNTERS),
} as const satisfies Fields;

export const hartState = struct('hart', STATE_FIELDS);

/** Bytes from a field of the host status area to its twin in the guest status area. */
export const AREA_BYTES: number = hartState.offset.vsstatus - hartState.offset.sstatus;

/** Bits of `features`: what this hart implements, where the semantics depends on it. */
export const FEATURE = {
  svadu: 1n << 0n,
  sstc: 1n << 1n,
  sv39: 1n << 2n,
  sv48: 1n << 3n,
  sv57: 1n << 4n,
  svnapot: 1n << 5n,
  svpbmt: 1n << 6n,
  smepmp: 1n << 7n,
  float: 1n << 8n,
  supervisor: 1n << 9n,
  zicntr: 1n << 10n,
  zihpm: 1n << 11n,
  c: 1n << 12n,
  cbo: 1n << 13n,
  /** The built-in SBI answers ecalls from S-mode: they leave the engine. Without it they trap to M-mode's firmware. */
  sbi: 1n << 14n,
  /** The hypervisor extension. */
  h: 1n << 15n,
  smstateen: 1n << 16n,
} as const;
