/** What the hypervisor keeps for each vCPU beside the engine's block, in shared memory. */
import { array, struct, type View } from '../base/struct.ts';

/** Hart states of the SBI's HSM extension (SBI 2.0, chapter 9); startClaimed is ours, and shown as startPending. */
export const HART = {
  started: 0,
  stopped: 1,
  startPending: 2,
  stopPending: 3,
  suspended: 4,
  suspendPending: 5,
  resumePending: 6,
  startClaimed: 7,
} as const;

/** Exits are counted by kind, in this order. */
export const EXIT_KINDS = [
  'budget',
  'mmio',
  'call',
  'wait',
  'breakpoint',
  'codeFull',
  'memoryFull',
  'fenceInstruction',
  'hot',
] as const;

export const hartBlock = struct('hart-block', {
  status: 'i32',
  /** 1 while the vCPU is inside the engine. */
  running: 'i32',
  /** 1: run one instruction while the machine is paused, then say so. */
  step: 'i32',
  /** hart_start's or hart_suspend's operands. */
  startAddress: 'u64',
  startOpaque: 'u64',
  /** The SBI timer (no Sstc): ticks; all ones: none. */
  sbiDeadline: 'u64',
  /** MTIP is high from these ticks on (ACLINT mtimecmp). */
  machineDeadline: 'u64',
  exits: array('u32', EXIT_KINDS.length),
  /** Calls into the SBI, sleeps. */
  calls: 'u32',
  sleeps: 'u32',
});
export type HartBlock = View<typeof hartBlock.fields>;

/** Shared by the vCPUs of a machine. */
export const worldBlock = struct('world', {
  /** 1: every vCPU is to stay outside the engine until it is 0 again. */
  barrier: 'i32',
  /** What became of the machine: see RUN. */
  run: 'i32',
  /** Exit code where `run` says finished. */
  code: 'i32',
  /** Sequence number that the I/O thread sleeps on. */
  ioBell: 'i32',
  /** Devices whose doorbell rang, a bit each. */
  doorbells: 'i32',
  /** Wall-clock milliseconds at which the RTC wants service; 0: none. */
  rtcWakeMs: 'u64',
  /** vCPUs that were stopped by a breakpoint: bit per hart. */
  stopped: 'i32',
  paused: 'i32',
});
export type WorldBlock = View<typeof worldBlock.fields>;

/** The machine's run state. */
export const RUN = { running: 0, poweroff: 1, reboot: 2, failure: 3, memoryFull: 4, crashed: 5 } as const;
