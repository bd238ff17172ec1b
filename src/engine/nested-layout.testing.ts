/**
 * What lies where in a trial of combined shadows (nested-shadows.testing.ts), the instructions that it is made of, and the
 * tables that it begins with:
 *
 *   second stages  two, of Sv39x4: RAM as it is, until it is changed; 2 MiB behind it, too, now and then
 *   guest's roots  three, of Sv39: pages below 2 MiB; 2 MiB; the upper half, shared and global; windows onto all of RAM
 */
import { must } from '../base/assert.ts';
import { parseCpu } from '../isa/index.ts';
import { FRAME_BYTES } from './memory-plan.ts';
import { PTE } from './page-table.ts';
import { address, leaf, pointer, TRIAL_RAM, word } from './pte-history.testing.ts';
import type { Random } from './random.testing.ts';
import { DATA, DATA_PAGES, type ShadowHarts, TRIAL, TRIAL_PAGES, type TrialMachine } from './trial-harts.testing.ts';

const RAM = TRIAL_RAM;
/** Memory and extensions that a trial wants. */
export const NESTED_TRIAL: TrialMachine = { ...TRIAL, extensions: parseCpu('rv64,h=on') };
export const SV39 = 8n;
/** Numbers of pages: code of machine and supervisor mode, and of guests; the host's tables; a guest's; second stages'. */
export const GUEST_CODE = 1;
export const [HOST_ROOT, HOST_MIDDLE, HOST_LAST] = [8, 9, 10];
export const [ROOTS, MIDDLES, LASTS] = [
  [11, 12, 13],
  [14, 15, 16],
  [17, 18, 19],
] as const;
export const [UPPER_MIDDLE, UPPER_LAST, SPARE] = [20, 21, 22];
export const [STAGES, STAGE_MIDDLES, STAGE_LASTS] = [
  [24, 28],
  [48, 49],
  [50, 51],
] as const;
export const TABLES = Array.from({ length: 44 }, (_, i) => 8 + i).filter(
  (page) => page < DATA || page >= DATA + DATA_PAGES,
);
/** Numbers of the PTEs that programs use, in any table. */
export const ENTRIES = [
  ...Array.from({ length: TRIAL_PAGES }, (_, i) => i),
  ...Array.from({ length: 6 }, (_, i) => 256 + i),
];
export const UPPER = -(1n << 38n);
export const [MIB_2, GIB] = [0x20_0000n, 0x4000_0000n];
/** The windows: of VS-mode, at RAM's own address, and of VU-mode. */
export const USER_WINDOW = BigInt(RAM) + GIB;
export const ALL = 0xcfn;

/** The fences of each kind: of all; of an address; of an ASID or VMID; of both. */
const fences = (name: string, invalidate: string) =>
  [name, `${name} a0, x0`, `${name} x0, a1`, `${name} a0, a1`, `${invalidate} a0, a1`] as const;
export const HOST_FENCES = fences('sfence.vma', 'sinval.vma');
export const GUEST_FENCES = fences('hfence.vvma', 'hinval.vvma');
export const STAGE_FENCES = fences('hfence.gvma', 'hinval.gvma');
/** Instructions at the start of memory, one for each thing that the hypervisor does. */
export const SLOTS = [
  ...['sd a0, 0(a1)', 'ld a0, 0(a1)', 'csrw satp, a0', 'csrw vsatp, a0', 'csrw hgatp, a0', 'csrr a0, vsatp'],
  ...['csrw mstatus, a0', 'csrw vsstatus, a0', 'mret', ...HOST_FENCES, ...GUEST_FENCES, ...STAGE_FENCES],
  // In HS-mode: a call of the SBI, and back, as what follows is not allowed there.
  ...['ecall', 'csrw mscratch, a0'],
];
/** And for each thing that a guest does; behind each an ecall. */
export const GUEST_SLOTS = ['sd a0, 0(a1)', 'ld a0, 0(a1)', 'csrw satp, a0', ...HOST_FENCES];

/** Before the harts run. */
export function writeTables(harts: Pick<ShadowHarts, 'write'>, random: Random): void {
  const put = (page: number, index: number, value: bigint): void => harts.write(address(page) + index * 8, word(value));
  put(HOST_ROOT, 0, pointer(HOST_MIDDLE));
  put(HOST_ROOT, 2, leaf(0, ALL));
  put(HOST_MIDDLE, 0, pointer(HOST_LAST));
  for (const [i, root] of ROOTS.entries()) {
    put(root, 0, pointer(must(MIDDLES[i])));
    put(root, 2, leaf(0, ALL));
    put(root, 3, leaf(0, ALL | PTE.u));
    put(root, 256, pointer(UPPER_MIDDLE));
    put(must(MIDDLES[i]), 0, pointer(must(LASTS[i])));
    put(must(MIDDLES[i]), 1, leaf(0, ALL | PTE.u));
  }
  put(UPPER_MIDDLE, 0, pointer(UPPER_LAST));
  for (const last of [...LASTS, UPPER_LAST, SPARE])
    for (const page of [0, 1, 2, 3, 4, 5, 256, 257, 258, 259, 260, 261]) {
      const flags = last === UPPER_LAST ? ALL | PTE.g : ALL | PTE.u;
      put(last, page, leaf(DATA + random.below(DATA_PAGES), flags));
    }
  for (const [i, root] of STAGES.entries()) {
    put(root, 2, pointer(must(STAGE_MIDDLES[i])));
    put(must(STAGE_MIDDLES[i]), 0, pointer(must(STAGE_LASTS[i])));
    for (let page = 0; page < TRIAL_PAGES; page++) put(must(STAGE_LASTS[i]), page, leaf(page, ALL | PTE.u));
  }
}

/** A page's number as satp and its like have it. */
export function pageOf(number: number): bigint {
  return BigInt(RAM / FRAME_BYTES + number);
}
