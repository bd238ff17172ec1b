/**
 * Where things lie in a machine's linear memory. The addresses below `dynamic` are constants of generated code;
 * what lies above (vCPU blocks, device blocks, maps, frames) is reached by pointers.
 *
 *   0        unused: address 0 means "none"
 *   64 KiB   header, decoder tables
 *   512 KiB  regions: their records, and which code pages they cover
 *   ...      the decoder's table of what emulated 16-bit instructions are short for
 *   ...      promoted sites: how often each was executed
 *   ...      frame table: u32 per 4 KiB frame of linear memory
 *   ...      dynamic: blocks, guest-physical maps, decoded pages, frames
 */
import { array, struct } from '../base/struct.ts';

export const FRAME_BYTES = 4096;
/**
 * A decoded page: a header (decodedHeader), 2048 entries of
 * 8 bytes, two sentinels, and two maps of a bit for each two bytes: of what regions were made of, and of the sensitive
 * instructions that are promoted. See decodedHeader.
 */
export const DECODED_HEADER_BYTES = 128;
export const DECODED_LINKS = 8;
export const DECODED_COVER = 2048 * 8 + 64;
export const DECODED_PROMOTED = DECODED_COVER + 256;
export const DECODED_STRIDE = DECODED_HEADER_BYTES + DECODED_PROMOTED + 256;

/** Regions that a machine may have at a time, and links from code pages to them. Number 0 is none. */
export const REGIONS = 16384;
export const REGION_LINKS = 32768;
/**
 * A region's record: u32 address of the entry that is its head (0: dropped), u32 times entered, u32 module, u32
 * instructions, u32 times left because an access missed its page slot.
 */
export const REGION_BYTES = 20;
export const REGION_MISSES = 16;
/** Sites promoted at a time, at most; number 0 is none. A site's record: u32 times executed since then, u32 its decoded entry. */
export const SITES = 16384;
export const SITE_BYTES = 8;
/** Table entries below are the interpreter's; a region's is this plus its number. */
export const REGION_TABLE = 1024;

/**
 * The header of a decoded page, in front of its entries. A page that decodes a guest's frame has the fields up to
 * `drops`, one that decodes an overlay the others too (overlays.ts).
 */
export const decodedHeader = struct('decoded-header', {
  /** The address of the bytes that it decodes: the guest's frame, or the overlay that stands in for it. */
  frame: 'u64',
  /** Number of the first link to regions (DECODED_LINKS). */
  links: 'u32',
  /** The frame's overlays: the first one's entries, 0: none. */
  overlays: 'u32',
  /** An overlay's records; 0 for a guest's frame. */
  records: 'u64',
  /** 1: a debugger wants a breakpoint in the frame, so that whoever has no overlay of it asks for one. */
  wanted: 'u32',
  /** Exceptions since the frame's last overlay was made, and how often writes dropped one. */
  exceptions: 'u32',
  drops: 'u32',
  /** Of an overlay: OVERLAY_STATE, the frame it stands in for (its number), for which partition, serial number. */
  state: 'u32',
  home: 'u32',
  partition: 'u32',
  version: 'u32',
  /** Next overlay of the same frame (entries), records used so far, epoch of its end. */
  next: 'u32',
  used: 'u32',
  epoch: 'u32',
  /** Of a guest's frame: 1: nothing of it is decoded, and writes to it go unnoticed (quiet-code.ts). */
  quiet: 'u32',
  /** Writes since an instruction of it was last decoded; how often it became quiet. */
  writes: 'u32',
  quieted: 'u32',
});

/**
 * An overlay's place in memory: the frame that holds the substitutes, its decoded page, the substitutes' records. A
 * record is `original bits u32 | offset u16 | uses u8 | policy u8 | the original, decoded u64`.
 */
export const OVERLAY = {
  bytes: 40_960,
  entries: FRAME_BYTES + DECODED_HEADER_BYTES,
  records: FRAME_BYTES + DECODED_STRIDE,
  recordBytes: 16,
  mostRecords: 1024,
} as const;
export const RECORD = { bits: 0, offset: 4, uses: 6, policy: 7, original: 8 } as const;
/** What a substitute is for: bits of a record's `uses`. */
export const USE = { emulate: 1, breakpoint: 2, policy: 4 } as const;
/** free -> making -> live -> dropping -> dropped -> unlinked -> free. */
export const OVERLAY_STATE = { free: 0, making: 1, live: 2, dropping: 3, dropped: 4, unlinked: 5 } as const;
/** A substitute in an overlay: a reserved 16-bit instruction, c.100 with bit 12 set, whose ten free bits name a record. */
export const SUBSTITUTE = { mask: 0xf003, match: 0x9000, shift: 2 } as const;

/** The most breakpoints at a time. */
export const BREAKPOINTS = 64;
/** How many code marks are remembered. */
export const MARKS = 256;

/** Shared by all vCPUs of the machine. Counters are moved atomically. */
export const headerLayout = struct('header', {
  /**
   * Code memory: start of the pool of decoded pages, the next unused byte, up to where it may be used, and the end. Between
   * the last two nothing lies: it is what the host holds for translated code, and is held elsewhere.
   */
  decodedFirst: 'u32',
  decodedNext: 'u32',
  decodedLimit: 'u32',
  /** Where code memory ends; what machine code of the host's is charged for lies between the limit and this. */
  codeEnd: 'u32',
  /** Modules may lie up to here, where pages that were taken back leave no room in one piece below the limit. */
  poolEnd: 'u32',
  /** Below this the pool was in use before code was dropped; above it is still zero. */
  decodedUsed: 'u32',
  /** First frame's number, next never-used one's, and the first that is not there. */
  frameFirst: 'u32',
  frameNext: 'u32',
  frameLimit: 'u32',
  /** 1: of loads and stores, the host's processors let none pass another but a load an earlier store (x86-64's order). */
  totalStoreOrder: 'u32',
  /** Code marks made so far (see code-pages.ts). */
  marks: 'u32',
  codeFlushes: 'u32',
  /** Host addresses at which instructions are breakpoints, the partitions for which, and how many there are. */
  breakpointCount: 'u32',
  breakpoints: array('u32', BREAKPOINTS),
  breakpointPartitions: array('u32', BREAKPOINTS),
  /** 1: breakpoints are substitutes in overlays, 0: decoded entries of the guest's frames. */
  breakpointsInOverlays: 'u32',
  /** Overlays: address of the first, how many there is room for; lock; counters (overlays.ts). */
  overlayFirst: 'u32',
  overlayCount: 'u32',
  overlayLock: 'i32',
  /** Advanced when an overlay ends: each vCPU forgets its fetch translations when it sees that. */
  overlayEpoch: 'u32',
  overlaysMade: 'u32',
  overlaysDropped: 'u32',
  overlaysEvicted: 'u32',
  overlaysRefused: 'u32',
  /** Decoded pages marked last, by mark number modulo MARKS: number << 32 | linear address. */
  recentMarks: array('u64', MARKS),
  /** Spin lock over regions and links: 1 taken. */
  regionLock: 'i32',
  /** First unused region and link; 0 is never used. */
  regionNext: 'u32',
  linkNext: 'u32',
  /** Address of the module made last, 0: none (translator/module-log.ts); how many there are. */
  lastModule: 'u32',
  modules: 'u32',
  /** Counters: regions made, dropped because their code was written, and whole flushes are codeFlushes. */
  regionsMade: 'u32',
  regionsDropped: 'u32',
  /** First site number that was never used. */
  siteNext: 'u32',
  /** Regions dropped because what they were made for cooled down. */
  regionsDemoted: 'u32',
  /** Counters of promotion (translator/promotion.ts): promoted and demoted so far, bytes of promotion code now, and at most. */
  sitesPromoted: 'u32',
  sitesDemoted: 'u32',
  promotionBytes: 'u32',
  promotionPeak: 'u32',
  /** Which sensitive instructions are promoted from now on (translator/promotion-mode.ts); 0: as the machine was made. */
  promotionMode: 'u32',
  /** 1: there was no room for a region, so that all code is to be dropped. */
  regionsFull: 'u32',
  /** Moves when code was queued for a thread that translates: where that one waits (translator/hot-queue.ts). */
  hotBell: 'i32',
  /** Lock (base/lock.ts): held while all code is dropped, and by whoever changes code without being in the engine. */
  codeLock: 'i32',
  /** Spin lock: 1 while a thread that translates looks at code, or code is being dropped. */
  sourceLock: 'i32',
  /** What translation took so far, by phase, in microseconds: finding regions, writing, compiling, installing. */
  translationTimes: array('u32', 4),
  /** Table of tracked page tables (shadow-tracking.ts), 0: none; how often others than the hart wrote to one. */
  trackTable: 'u32',
  trackWrites: 'u32',
  /** Advanced when rights were taken away (or given back): each vCPU forgets its translations when it sees that. */
  protectionEpoch: 'u32',
  /** Regions evicted: cold ones while code memory was nearly full, and all that stood when all code was dropped. */
  regionsEvicted: 'u32',
  /** Decoded pages that were taken back (cold-pages.ts): the first, by its header, and the bytes of all; how many so far. */
  decodedFree: 'u32',
  decodedFreeBytes: 'u32',
  pagesEvicted: 'u32',
  /** Moves when decoded pages were taken back, and when all code was dropped: addresses from before mean nothing any more. */
  decodedEpoch: 'u32',
  /** Frames that were given back: lock, the first one's number (each names the next in its first word), how many. */
  poolLock: 'i32',
  poolHead: 'u32',
  poolCount: 'u32',
  /** u32 for each frame of guests: pages of other partitions that have it besides (shared-frames.ts); spin lock over these. */
  sharersFirst: 'u32',
  sharersLock: 'i32',
  /** Frames that were copied because a page of theirs was written. */
  framesCopied: 'u32',
  /** Of a machine that stood in for another: what its clock shows besides what it would, in milliseconds. */
  clockShiftMs: 'f64',
});

export const PLAN = {
  header: 64 * 1024,
  /** u32 per bucket: address of its list of candidates. */
  decodeBuckets: 64 * 1024 + 4096,
  /** Candidates of 16 bytes. */
  decodeCandidates: 64 * 1024 + 8192,
  /** u16 per CSR number: its case (csr-functions.ts). */
  csrIndex: 128 * 1024,
  /** u8 per operation: 1 if it has a near form. */
  nearFlags: 136 * 1024,
  /** u16 per operation of four bytes: its sibling of two. */
  compressedSiblings: 140 * 1024,
  /** The same with the extensions that are emulated: only for substitutes, and to know what can be emulated. */
  emulationBuckets: 64 * 1024 + 5120,
  emulationExpansions: 1088 * 1024,
  /** u8 per operation: 1 if it counts itself as emulated. */
  emulationFlags: 144 * 1024,
  /** u8 per operation, per CSR number: the policy that traps it, counted from 1; 0: none. */
  policyRows: 146 * 1024,
  /** u8 per operation: 1 for the instructions of Zicsr, whose immediate is a CSR's number. */
  csrRows: 147 * 1024,
  policyCsrs: 148 * 1024,
  /** u32 per 16-bit pattern: the instruction that it is short for. */
  expansions: 256 * 1024,
  /** REGIONS records. */
  regions: 512 * 1024,
  /** REGION_LINKS pairs of u32: region, next link. */
  regionLinks: 832 * 1024,
  /** SITES records. */
  sites: 1344 * 1024,
  frameTable: 1472 * 1024,
} as const;

/**
 * Guest-physical map entries: frame number << 8 | flags. `fresh` stands only with `present`: one vCPU alone was given
 * the frame, to write to it, and may give it back if it holds nothing but zeros (fresh-frames.ts). `shared`: others may
 * have the frame too, so that it is copied before it is written; `seen`: it may have been read there since (shared-frames.ts).
 * `clean`: nobody has written to the page since its map was last swept (dirty-pages.ts).
 */
export const GPA = { ram: 1, readOnly: 2, present: 4, fresh: 8, shared: 16, seen: 32, clean: 64 } as const;

/** Kinds of access, as generated functions are told. */
export const ACCESS = { fetch: 0, load: 1, store: 2 } as const;
