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
  ecallFromMachine: 11,
  instructionPageFault: 12,
  loadPageFault: 13,
  storePageFault: 15,
} as const;

export const INTERRUPT = {
  supervisorSoftware: 1,
  machineSoftware: 3,
  supervisorTimer: 5,
  machineTimer: 7,
  supervisorExternal: 9,
  machineExternal: 11,
} as const;

/** Highest priority first ("Machine Interrupt (mip and mie) Registers"). */
export const INTERRUPT_PRIORITY: readonly number[] = [
  INTERRUPT.machineExternal,
  INTERRUPT.machineSoftware,
  INTERRUPT.machineTimer,
  INTERRUPT.supervisorExternal,
  INTERRUPT.supervisorSoftware,
  INTERRUPT.supervisorTimer,
];

function bits(causes: readonly number[]): bigint {
  return causes.reduce((mask, cause) => mask | (1n << BigInt(cause)), 0n);
}

/** What mie and mip can hold, and what of it may be delegated. */
export const INTERRUPT_BITS: bigint = bits(INTERRUPT_PRIORITY);
export const SUPERVISOR_INTERRUPT_BITS: bigint = bits([
  INTERRUPT.supervisorSoftware,
  INTERRUPT.supervisorTimer,
  INTERRUPT.supervisorExternal,
]);
/** Writable bits of medeleg: every exception that can occur below M-mode. */
export const DELEGABLE_EXCEPTIONS: bigint = bits([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13, 15]);
export const SSIP: bigint = bits([INTERRUPT.supervisorSoftware]);
export const STIP: bigint = bits([INTERRUPT.supervisorTimer]);
export const SEIP: bigint = bits([INTERRUPT.supervisorExternal]);
/** Bits of mip that devices drive whatever the configuration. */
export const LINES: bigint = bits([
  INTERRUPT.machineSoftware,
  INTERRUPT.machineTimer,
  INTERRUPT.machineExternal,
  INTERRUPT.supervisorExternal,
]);
