/**
 * A vCPU's block in linear memory: the architectural state of isa/state.ts, then what the engine keeps beside it.
 * Generated code takes the block's address as a parameter, so all vCPUs share all code.
 */
import { array, type Fields, struct, type View } from '../base/struct.ts';
import { STATE_FIELDS } from '../isa/index.ts';

/** Entries of each translation buffer; a power of two. */
export const TLB_ENTRIES = 256;
/** An entry: u64 tag (page address, bit 0 set: invalid), u64 value (delta to the host address, or decoded page). */
export const TLB_ENTRY_BYTES = 16;
export const TLB_BANK_BYTES = TLB_ENTRIES * TLB_ENTRY_BYTES;
/** Banks: user, supervisor, supervisor with SUM, machine. Fetches use supervisor's for both. */
export const BANKS = 4;
/** Address spaces whose translations are kept, by satp (translation-context.ts): banks, slots, walk caches of each. */
export const CONTEXTS = 4;
/** A page slot: what the last page reached through one base register is (memory-slots.ts). */
export const SLOT_BYTES = 32;
/** Slots of a bank: one for each base register, those for reads, then those for writes. */
export const SLOT_BANK_BYTES = 2 * 32 * SLOT_BYTES;
/** Counters of jump targets that are not translated yet; a power of two. */
export const HOT_COUNTERS = 4096;
/**
 * Where jumps to registers went lately: sets by the instruction's decoded entry, each a tag (that entry's address),
 * then from JUMP_SLOTS on distances from the jump to its target, 0 for none, by a hash of the distance.
 */
export const JUMP_SETS = 256;
export const JUMP_SET_WORDS = 16;
export const JUMP_SLOTS = 8;
/** Hot code that waits for a thread that translates (translator/hot-queue.ts); a power of two. */
export const HOT_QUEUE = 512;
export const HOT_QUEUE_WORDS = 3;
/** Regions whose pages were found in place, by region number modulo this (regions.ts). */
export const VALIDATED = 1024;
/** Counters of how often sensitive instructions were emulated, by a hash of their address (profile.ts). */
export const SITE_COUNTERS = 4096;
/** Two caches of 64 entries of 16 bytes (mmu.ts). */
export const WALK_CACHE_BYTES = 2 * 64 * 16;

/** Pages that a vCPU may have as fresh at a time, and frames that it keeps for the next ones (fresh-frames.ts). */
export const FRESH_PAGES = 1024;

/** Policies (`--trap`), at most. */
export const MOST_POLICIES = 32;
/** Executions that a vCPU's log holds; a power of two. Each: pc, then mode << 48 | policy << 32 | bits. */
export const TRAP_LOG_ENTRIES = 1024;
/** Violations of protection tables are counted by the mode whose table it was, and within it by REACH. */
export const VIOLATION_KINDS = 8;
/**
 * Violations that a vCPU's log holds; a power of two. Each: pc, virtual and guest-physical address, then privilege mode
 * << 48 | mode of the table << 40 | REACH << 32 | frame.
 */
export const PROTECTION_LOG_ENTRIES = 256;
export const PROTECTION_LOG_WORDS = 4;

const ENGINE_FIELDS = {
  /** Addresses of the banks in use: recomputed by `context`. */
  readBank: 'u64',
  writeBank: 'u64',
  fetchBank: 'u64',
  /** Result of `fetch` beside the entry's address: pc = (entry >>> 2) + fetchDelta. */
  fetchDelta: 'u64',
  /** Of readTlb and writeTlb's mode: the bank of page slots. */
  slotBank: 'u64',
  /** 0 none, 1 trap (cause, tval), 2 leave the engine, 3 illegal instruction (tval: its bits). */
  fault: 'u32',
  /** 1: regions were dropped, perhaps the one that runs. */
  dropped: 'u32',
  /** 1: leave the dispatch loop and look at pc, banks and interrupts anew. */
  reenter: 'u32',
  faultCause: 'u64',
  faultTval: 'u64',
  /** The exit's kind (EXIT) and, for mmio, its operands. */
  exitKind: 'u32',
  /** mmio: 1 the read's value is in exitValue, 2 the write is done, 3 refused (MMIO_ANSWER); the instruction runs again and consumes it. */
  mmioAnswer: 'u32',
  exitGpa: 'u64',
  exitValue: 'u64',
  exitBytes: 'u32',
  exitIsWrite: 'u32',
  budgetAtEntry: 'u32',
  budgetLeft: 'u32',
  /** Instructions begun, traps included: the instruction clock. */
  steps: 'u64',
  /** Guest-physical map: address of a u32 per page, and how many. See physical-memory.ts. */
  gpaMap: 'u64',
  gpaPages: 'u64',
  /** 0: time is the host's (import), 1: ten nanoseconds an instruction. */
  clockMode: 'u32',
  /** Translation may be cached for the whole page that was just translated. */
  cacheable: 'u32',
  /** What the time CSR adds to the clock's ticks, modulo 2^64 (ACLINT mtime was written). */
  timeOffset: 'u64',
  /** Other vCPUs share the code: fence.i leaves the engine. */
  hasPeers: 'u32',
  seenSatp: 'u64',
  /** The address space in use, and the one that is given up next. */
  context: 'u32',
  contextNext: 'u32',
  /** The satp of each, all ones: none; fetchEpoch when it was last in use; whether it holds parts of user superpages. */
  contextSatps: array('u64', CONTEXTS),
  contextEpochs: array('u64', CONTEXTS),
  contextLarge: array('u32', CONTEXTS),
  /** The newest fetchEpoch of any. */
  lastEpoch: 'u64',
  /** Address of the walk cache in use. */
  walkBank: 'u64',
  /** Counters: changes to an address space whose translations were kept, and to others. */
  contextHits: 'u32',
  contextMisses: 'u32',
  seenMxr: 'u64',
  seenPmp: 'u64',
  /** Bits of the instruction in `scratch`. */
  scratchBits: 'u32',
  /** Sequence number of the code marks that this vCPU has seen (see code-pages.ts). */
  seenMarks: 'u32',
  /** Fences of translated code store here; nobody looks. */
  fenceWord: 'u32',
  /** Futex: 1 while the vCPU may sleep no longer. */
  attention: 'i32',
  /** Bits of REQUEST, set atomically by others, served before the next instruction after an exit. */
  requests: 'i32',
  /** Whose guest this vCPU executes: overlays are a partition's own. */
  partition: 'u32',
  /** 1: the next run goes on in a slice: it does not look at timer and interrupts before its first instruction. */
  resume: 'u32',
  /** 1: the next instruction that a policy traps (or a breakpoint of another partition) is executed, not trapped. */
  pass: 'u32',
  /** The last overlay epoch seen. */
  seenOverlays: 'u32',
  /** Instructions emulated by substitutes; executions trapped by policy, by policy; log of these (trap-log.ts). */
  emulated: 'u64',
  policyCounts: array('u64', MOST_POLICIES),
  trapLogNext: 'u32',
  trapLog: array('u64', TRAP_LOG_ENTRIES * 2),
  /** Address of the protection table of each privilege mode (protection-tables.ts); 0: everything is allowed. */
  protection: array('u64', 4),
  /** The last change of tables that this vCPU has taken note of. */
  seenProtection: 'u32',
  /** A violation whose trap may be about to be taken: 1 + REACH, mode of the table << 8; 0: none. Where it was. */
  violation: 'u32',
  violationFrame: 'u32',
  violationGpa: 'u64',
  violations: array('u32', 4 * VIOLATION_KINDS),
  protectionLogNext: 'u32',
  protectionLog: array('u64', PROTECTION_LOG_ENTRIES * PROTECTION_LOG_WORDS),
  /** A decoded instruction that has no slot of its own (straddling pages), and the sentinels behind it. */
  scratch: array('u64', 4),
  /** A jump target is worth translating when it was reached this often; 0: never. */
  hotThreshold: 'u32',
  /** And worth translating again, with more of what is around it, when it was reached this often; 0: never. */
  hotterThreshold: 'u32',
  /** A sensitive instruction is told to the host when it was emulated this often, in the engine or by leaving it; 0: never. */
  siteThreshold: 'u32',
  exitThreshold: 'u32',
  /** Nanoseconds that an exit takes which a promoted execution saves, as the hypervisor measured; 0: not yet. */
  exitNs: 'u32',
  /** Where that instruction is. */
  sitePc: 'u64',
  siteCounters: array('u16', SITE_COUNTERS),
  /** 1: a region that this thread has no code for was called. */
  regionsMissing: 'u32',
  /** Moves whenever fetch translations are dropped: what was validated before must be again. */
  fetchEpoch: 'u64',
  /** Of `steps`, those that regions did. */
  regionSteps: 'u64',
  /** Fresh pages: how many, and addresses of their entries in the map. Frames that were given back: the same. */
  freshPages: 'u32',
  /** They are looked at when there are more than this. */
  freshLeast: 'u32',
  fresh: array('u32', FRESH_PAGES),
  spareFrames: 'u32',
  spares: array('u32', FRESH_PAGES),
  hotCounters: array('u16', HOT_COUNTERS),
  jumps: array('i32', JUMP_SETS * JUMP_SET_WORDS),
  /** How many were queued and how many taken so far, modulo 2^32; the queue. */
  hotQueueEnds: array('u32', 2),
  hotQueue: array('u64', HOT_QUEUE * HOT_QUEUE_WORDS),
  /** Pairs of fetchEpoch and page address | mode. */
  validated: array('u64', VALIDATED * 2),
  slots: array('u64', (CONTEXTS * BANKS * SLOT_BANK_BYTES) / 8),
  /** Tables that walks found: 64 entries by 2 MiB, 64 by 1 GiB; u64 tag (all ones: invalid), u64 table address. */
  walkCache: array('u64', (CONTEXTS * WALK_CACHE_BYTES) / 8),
  readTlb: array('u64', (CONTEXTS * BANKS * TLB_BANK_BYTES) / 8),
  writeTlb: array('u64', (CONTEXTS * BANKS * TLB_BANK_BYTES) / 8),
  fetchTlb: array('u64', (CONTEXTS * BANKS * TLB_BANK_BYTES) / 8),
} as const satisfies Fields;

export const vcpuState = struct('vcpu', { ...STATE_FIELDS, ...ENGINE_FIELDS });
export type VcpuState = View<typeof vcpuState.fields>;
export type VcpuField = keyof typeof vcpuState.fields;

/** Why `run` returned. */
export const EXIT = {
  budget: 0,
  mmio: 1,
  call: 2,
  wait: 3,
  breakpoint: 4,
  codeFull: 5,
  memoryFull: 6,
  fenceInstruction: 7,
  /** An instruction of an extension that is emulated: its bits are in exitValue. */
  illegal: 8,
  /** An instruction that a policy traps: its bits are in exitValue, the policy in exitGpa. */
  trapped: 9,
  /** A breakpoint is wanted in the frame (its address is in exitGpa) that is about to be executed. */
  overlay: 10,
} as const;
export type ExitName = keyof typeof EXIT;

export const FAULT = { none: 0, trap: 1, leave: 2, illegal: 3 } as const;
/** Refused: nothing is there; the instruction faults. */
export const MMIO_ANSWER = { none: 0, read: 1, written: 2, refused: 3 } as const;
/** What one vCPU may ask of another. */
export const REQUEST = { flushTranslation: 1, flushWrites: 2, softwareInterrupt: 4 } as const;
