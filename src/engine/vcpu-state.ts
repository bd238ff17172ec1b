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
/** Banks of buffers: by mode, supervisor's with SUM, any mode's with MXR. Fetches use those of the modes. */
export const BANK = { user: 0, supervisor: 1, sum: 2, machine: 3, mxr: 4 } as const;
export const BANKS = 5;
/** Shadows of a hart (shadow-layout.ts), at most. */
export const MOST_SHADOWS = 64;
/** Fences of single pages that shadows which are not in use can catch up with; a power of two. */
export const FENCE_LOG = 64;
/** Fences that other harts may ask for between two looks. */
export const REMOTE_FENCES = 16;
/** Words of a fence in the log, and of one that another hart asks for. */
export const FENCE_LOG_WORDS = 4;
export const REMOTE_FENCE_WORDS = 4;
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
/** Two caches of 64 entries of 32 bytes (mmu.ts). */
export const WALK_CACHE_BYTES = 2 * 64 * 32;

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
  /** The shadow and number of readBank and writeBank: where their epochs lie, but for the fields' offsets. */
  dataEpochsAt: 'u64',
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
  /** Of a guest-page fault: the guest-physical address, and the pseudoinstruction where it was a page table's (0: not). */
  faultGpa: 'u64',
  faultPseudo: 'u64',
  /** Of a load's or store's fault, on a hart with the hypervisor extension (transformed-instruction.ts): see there. */
  faultInstruction: 'u64',
  faultIsGuests: 'u64',
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
  /** The satp that the shadow in use belongs to, and whose it is (fence-scope.ts). */
  seenSatp: 'u64',
  seenGuest: 'u64',
  /** Shadows (shadow-layout.ts): where the hart's lie, the one in use, how many are handed out. */
  shadowPool: 'u64',
  shadow: 'u64',
  shadowCount: 'u32',
  /** 0: fences drop; 1: writes to page tables are tracked (shadow-tracking.ts), in this table. */
  shadowModel: 'u32',
  trackTable: 'u64',
  /** Of the header's trackWrites, those that a fence has seen; 1: there are global pages below the upper half. */
  trackSeen: 'u32',
  lowGlobals: 'u32',
  /** Of tracked-frames.ts: marks that this vCPU has seen, how much of the log; writes that it has announced and not told. */
  seenTracks: 'u32',
  trackLogSeen: 'u32',
  trackBusy: 'u32',
  /** satp.MODE that the global pages are of: those of another are others. */
  globalMode: 'u64',
  /** The shadow whose fetch buffer is in use: its fetchEpoch is the vCPU's. */
  fetchShadow: 'u64',
  /** Of each: its satp (all ones: none), whose it is (fence-scope.ts), and when it was last registered, by shadowClock. */
  shadowRoots: array('u64', MOST_SHADOWS),
  shadowGuests: array('u64', MOST_SHADOWS),
  shadowUses: array('u64', MOST_SHADOWS),
  shadowClock: 'u64',
  /** The last one of the host, and of a guest: a guest is entered and left all the time. */
  lastShadows: array('u32', 2),
  /** The newest epoch of any kind. */
  lastEpoch: 'u64',
  /** Shadows that are older are to be dropped, and those of the host; write buffers that are older emptied. */
  dropEpoch: 'u64',
  hostDropEpoch: 'u64',
  writeEpoch: 'u64',
  /** Bits of STALE: the buffers in use are looked at before the next slice, or change of context. */
  contextStale: 'u32',
  /** A new shadow has buffers of its own for supervisor mode, as the last one turned out to need them. */
  privateHint: 'u32',
  /** Fences of single pages so far, modulo 2^32. */
  fenceCount: 'u32',
  /** The last of them: the page, with bit 0 set where it was part of a larger one; the ASID, -1 for any; the scope. */
  fenceLog: array('u64', FENCE_LOG * FENCE_LOG_WORDS),
  /**
   * The leaf that the last walk found: PTE, number of its size, of the range or larger page that it is a part of (0: none), 1
   * if it is global, its PTE's host address.
   */
  leafPte: 'u64',
  leafSize: 'u32',
  leafRange: 'u32',
  leafGlobal: 'u32',
  leafAt: 'u64',
  /** Of the last walk of a guest's second stage: PTE, number of its size. */
  guestPte: 'u64',
  guestSize: 'u32',
  /** 1: guests have shadows (`--combined-shadows on`). 1: nothing of what runs gets into buffers. */
  combinedShadows: 'u32',
  uncached: 'u32',
  /** Of GUEST_ACCESS: of hlv and hsv, or hlvx, while they access. */
  guestAccess: 'u32',
  /** Fences that other harts ask for, under a lock: how many (more than there is room for: everything), va, bytes, ASID, scope. */
  remoteLock: 'i32',
  remoteCount: 'u32',
  remoteFences: array('u64', REMOTE_FENCES * REMOTE_FENCE_WORDS),
  /** Address of the cache of page tables in use. */
  walkBank: 'u64',
  /** Counters of shadows; see ShadowStats (shadows.ts). */
  shadowHits: 'u32',
  shadowMisses: 'u32',
  shadowEvictions: 'u32',
  shadowBuilds: 'u32',
  entriesWritten: 'u32',
  hitWrites: 'u32',
  tableEvictions: 'u32',
  refillsShadow: 'u64',
  refillsWalk: 'u64',
  fencesAll: 'u32',
  fencesSpace: 'u32',
  fencesPage: 'u32',
  fencesRemote: 'u32',
  fencesLate: 'u32',
  trackedFrames: 'u32',
  trackedWrites: 'u32',
  trackedDrops: 'u32',
  demotions: 'u32',
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
  /** A page (its address is in exitGpa) whose frame others have too is to be written, and was read: it gets its own first. */
  copyPage: 11,
} as const;
export type ExitName = keyof typeof EXIT;

/** What guestAccess says of the access under way: a guest's, of what can be read, or can be executed. */
export const GUEST_ACCESS = { none: 0, data: 1, code: 2 } as const;
export const FAULT = { none: 0, trap: 1, leave: 2, illegal: 3 } as const;
/** Why the context is to be looked at: dropEpoch or writeEpoch moved; other buffers are to be used (isPrivate). */
export const STALE = { epochs: 1, banks: 2 } as const;
/** Refused: nothing is there; the instruction faults. */
export const MMIO_ANSWER = { none: 0, read: 1, written: 2, refused: 3 } as const;
/** What one vCPU may ask of another. */
export const REQUEST = { flushWrites: 1, softwareInterrupt: 2, fence: 4, forget: 8 } as const;
