/**
 * The interrupt files of a hart's IMSIC as words of its state (AIA specification, chapter "Incoming MSI Controller").
 * One file for machine level, one for supervisor level, then those of guests:
 *
 *     eip x 4   eie x 4   eidelivery   eithreshold
 *
 * Whoever sends a message sets a bit of eip, on any thread; all else is written by the hart's own thread. So that nobody
 * needs a lock, and the line to the hart follows all the same, who changes a file looks at it once more after having
 * driven the line (isa/csr/imsic.ts, hypervisor/interrupt-files.ts).
 */

/** Identities 1 to 255, as QEMU's `virt` has. */
export const IDENTITIES = 255;
/** Words of eip, and of eie. */
export const EI_WORDS = 4;
/** Guest interrupt files, at most: GEILEN. */
export const GUEST_FILES = 7;
export const FILES: number = 2 + GUEST_FILES;
/** Words of a file, and where in it they lie. */
export const FILE_WORDS = 10;
export const FILE_WORD = { eip: 0, eie: EI_WORDS, eidelivery: 2 * EI_WORDS, eithreshold: 2 * EI_WORDS + 1 } as const;
/** Numbers of files. Guest n's is `guest + n - 1`. */
export const FILE = { machine: 0, supervisor: 1, guest: 2 } as const;
/** Bits of eithreshold; with more than there are identities nothing changes. */
export const THRESHOLD_BITS = 0x7ffn;
