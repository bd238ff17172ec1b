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

/** Open: it runs. Held: it stays where it is. Step: one instruction, then it asks for a stop. */
export const GATE = { open: 0, held: 1, step: 2 } as const;

/** Why vCPUs stopped, as the world's block says it; which one is the reason stands beside it. */
export const STOP = { none: 0, breakpoint: 1, step: 2, interrupt: 3 } as const;

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
  'illegal',
  'trapped',
  'overlay',
  'copyPage',
] as const;

export const hartBlock = struct('hart-block', {
  status: 'i32',
  /** 1 while the vCPU is inside the engine. */
  running: 'i32',
  /** 1 from before a slice looks at the pause until all that it does is done. */
  busy: 'i32',
  /** What a debugger lets this vCPU do while the machine is not paused: see GATE. */
  gate: 'i32',
  /** How often all code had been dropped when this vCPU forgot it last, and the epoch of decoded code then. */
  seenFlushes: 'u32',
  seenDecoded: 'u32',
  /** hart_start's or hart_suspend's operands. */
  startAddress: 'u64',
  startOpaque: 'u64',
  /** The SBI timer (no Sstc): ticks; all ones: none. */
  sbiDeadline: 'u64',
  /** MTIP is high from these ticks on (ACLINT mtimecmp). */
  machineDeadline: 'u64',
  exits: array('u32', EXIT_KINDS.length),
  /** Calls into the SBI; how often it had nothing to do. */
  calls: 'u32',
  sleeps: 'u32',
  /** Instructions that were emulated by trap, and executions trapped by policy that left the engine. */
  emulations: 'u32',
  policyTraps: 'u32',
  /** Accesses to devices, and calls of the SBI, that promoted code made. */
  promotedAccesses: 'u32',
  promotedCalls: 'u32',
  /** Messages to its interrupt files; two senders at a time may count as one. */
  messages: 'u32',
});
export type HartBlock = View<typeof hartBlock.fields>;

/** Shared by the vCPUs of a guest. */
export const worldBlock = struct('world', {
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
  /** The stop that came first since the last resume: STOP in bits 0 and 1, the vCPU above; 0: none yet. */
  stopped: 'i32',
  /**
   * Not 0: every vCPU is to stay outside the engine: 1, until a debugger or an operator lets the machine go on; 2, while a
   * snapshot is taken; 4, while the machine's deadline has passed.
   */
  paused: 'i32',
  /** 1: it is about to be held, so that slices are short. */
  hurries: 'i32',
  /** 1: queues are served by the I/O thread alone. */
  servesApart: 'i32',
  /** From when on the guest does nothing any more, on a clock of the host's; 0: it has no deadline. */
  deadlineMs: 'f64',
  /** What threads need to know of that clock to read it (host/cluster/boot-clock.ts). */
  suspendedMs: 'f64',
});
export type WorldBlock = View<typeof worldBlock.fields>;

/** The machine's run state. */
export const RUN = { running: 0, poweroff: 1, reboot: 2, failure: 3, memoryFull: 4, crashed: 5 } as const;
