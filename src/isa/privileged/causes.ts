/** Causes of traps (privileged specification, table "Machine cause register (mcause) values after trap"). */

export const EXCEPTION = {
  instructionAddressMisaligned: 0,
  instructionAccessFault: 1,
  illegalInstruction: 2,
  breakpoint: 3,
  loadAddressMisaligned: 4,
  loadAccessFault: 5,
  storeAddressMisaligned: 6,
  storeAccessFault: 7,
  ecallFromUser: 8,
  ecallFromSupervisor: 9,
  ecallFromVirtualSupervisor: 10,
  ecallFromMachine: 11,
  instructionPageFault: 12,
  loadPageFault: 13,
  storePageFault: 15,
  instructionGuestPageFault: 20,
  loadGuestPageFault: 21,
  virtualInstruction: 22,
  storeGuestPageFault: 23,
} as const;

export const INTERRUPT = {
  supervisorSoftware: 1,
  virtualSupervisorSoftware: 2,
  machineSoftware: 3,
  supervisorTimer: 5,
  virtualSupervisorTimer: 6,
  machineTimer: 7,
  supervisorExternal: 9,
  virtualSupervisorExternal: 10,
  machineExternal: 11,
  supervisorGuestExternal: 12,
} as const;

/** Highest priority first ("Machine Interrupt (mip and mie) Registers"). */
export const INTERRUPT_PRIORITY: readonly number[] = [
  INTERRUPT.machineExternal,
  INTERRUPT.machineSoftware,
  INTERRUPT.machineTimer,
  INTERRUPT.supervisorExternal,
  INTERRUPT.supervisorSoftware,
  INTERRUPT.supervisorTimer,
  INTERRUPT.supervisorGuestExternal,
  INTERRUPT.virtualSupervisorExternal,
  INTERRUPT.virtualSupervisorSoftware,
  INTERRUPT.virtualSupervisorTimer,
];

function bits(causes: readonly number[]): bigint {
  return causes.reduce((mask, cause) => mask | (1n << BigInt(cause)), 0n);
}

/** What mie and mip can hold: interrupts for M-mode, what of S-mode's may be delegated, and what belongs to guests. */
export const MACHINE_INTERRUPT_BITS: bigint = bits([
  INTERRUPT.machineSoftware,
  INTERRUPT.machineTimer,
  INTERRUPT.machineExternal,
]);
export const SUPERVISOR_INTERRUPT_BITS: bigint = bits([
  INTERRUPT.supervisorSoftware,
  INTERRUPT.supervisorTimer,
  INTERRUPT.supervisorExternal,
]);
/** For VS-mode: what hvip and hideleg hold. As VS-mode sees them they are the supervisor's, one bit lower. */
export const VIRTUAL_INTERRUPT_BITS: bigint = bits([
  INTERRUPT.virtualSupervisorSoftware,
  INTERRUPT.virtualSupervisorTimer,
  INTERRUPT.virtualSupervisorExternal,
]);
export const SGEIP: bigint = bits([INTERRUPT.supervisorGuestExternal]);
/** What hip and hie hold; delegated to HS-mode always. */
export const HYPERVISOR_INTERRUPT_BITS: bigint = VIRTUAL_INTERRUPT_BITS | SGEIP;
/** Writable bits of medeleg: every exception that can occur below M-mode; with the hypervisor extension these, too. */
export const DELEGABLE_EXCEPTIONS: bigint = bits([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 15]);
export const HYPERVISOR_EXCEPTIONS: bigint = bits([10, 20, 21, 22, 23]);
/** Writable bits of hedeleg. */
export const GUEST_EXCEPTIONS: bigint = bits([0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 13, 15]);
/** Exceptions whose tval is an address, of the kind that the hart used: a guest virtual one while V is 1. */
export const ADDRESS_EXCEPTIONS: bigint = bits([0, 1, 3, 4, 5, 6, 7, 12, 13, 15, 20, 21, 23]);
export const SSIP: bigint = bits([INTERRUPT.supervisorSoftware]);
export const STIP: bigint = bits([INTERRUPT.supervisorTimer]);
export const SEIP: bigint = bits([INTERRUPT.supervisorExternal]);
export const VSSIP: bigint = bits([INTERRUPT.virtualSupervisorSoftware]);
export const VSTIP: bigint = bits([INTERRUPT.virtualSupervisorTimer]);
export const VSEIP: bigint = bits([INTERRUPT.virtualSupervisorExternal]);
/** Bits of mip that devices drive whatever the configuration, and that of the comparison with vstimecmp. */
export const LINES: bigint = bits([
  INTERRUPT.machineSoftware,
  INTERRUPT.machineTimer,
  INTERRUPT.machineExternal,
  INTERRUPT.supervisorExternal,
  INTERRUPT.virtualSupervisorTimer,
]);
