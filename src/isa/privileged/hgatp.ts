/**
 * Fields of hgatp ("Hypervisor Guest Address Translation and Protection (hgatp) Register"). Its modes are satp's, for guest-physical
 * addresses two bits wider: the root page table is four pages.
 *
 *   63..60  57..44  43..0
 *   MODE    VMID    PPN (of four pages: its two lowest bits are zero)
 */
export const HGATP_MODE = 15n << 60n;
export const HGATP_VMID = 0x3fffn << 44n;
export const GSTAGE_PPN = ((1n << 44n) - 1n) & ~3n;
/** Bits of a guest-physical address beyond those of the virtual address of the same mode. */
export const GSTAGE_WIDER = 2;
