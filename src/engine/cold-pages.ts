/**
 * Decoded pages of which no region is made, no overlay stands and nothing is promoted: code that is interpreted, if it is
 * executed at all. When code memory is full they are taken back first, so that what is hot stays translated. Their places
 * serve other frames' code.
 *
 *   decodedFree -> page -> page -> 0        each names the next in its first four bytes
 *
 * Pages are only taken out of the list while vCPUs run, and only put into it while none does, so taking one needs no lock.
 */

import type { View } from '../base/struct.ts';
import {
  DECODED_HEADER_BYTES,
  DECODED_LINKS,
  DECODED_PROMOTED,
  DECODED_STRIDE,
  decodedHeader,
  FRAME_BYTES,
  type headerLayout,
  PLAN,
  REGION_BYTES,
  REGION_LINKS,
  REGIONS,
} from './memory-plan.ts';

const OVERLAYS = decodedHeader.offset.overlays / 4;
const WANTED = decodedHeader.offset.wanted / 4;
const PROMOTED_WORDS = 256 / 4;

/** Code memory has room again when no more than this part of it is in use. */
const ROOMY = 3 / 4;
/** Behind it lies room for modules, this part of it; and this part of that and of tables is to be free for more regions. */
export const BEHIND = 1 / 8;
const ROOM = 1 / 8;

interface CodeMemory {
  readonly u32: Uint32Array;
  readonly header: View<typeof headerLayout.fields>;
  readonly codeBytes: number;
  readonly shape: { readonly sizeBytes: number };
}

/**
 * Takes cold pages back; whether there is room now. No vCPU may be running, and all are to forget their fetch translations.
 * The caller holds the locks of sources and regions.
 */
export function makeRoom(memory: CodeMemory): boolean {
  const { header } = memory;
  const codeBytes = header.codeEnd - header.decodedFirst;
  // A region that found no room needs some in one piece, a number and links: these come back only with all others.
  const hasRoom =
    header.poolEnd - header.decodedNext > codeBytes * BEHIND * ROOM &&
    header.regionNext < REGIONS * (1 - ROOM) &&
    header.linkNext < REGION_LINKS * (1 - ROOM);
  if (header.regionsFull !== 0 && !hasRoom) return false;
  takeBackColdPages(memory);
  header.decodedUsed = Math.max(header.decodedUsed, header.decodedNext);
  header.decodedEpoch++;
  header.regionsFull = 0;
  return memory.codeBytes <= codeBytes * ROOMY;
}

function takeBackColdPages(memory: CodeMemory): void {
  const { header, u32 } = memory;
  const table = PLAN.frameTable / 4;
  const end = table + memory.shape.sizeBytes / FRAME_BYTES;
  for (let slot = table; slot < end; slot++) {
    const entries = u32[slot] ?? 0;
    if (entries === 0) continue;
    const page = (entries - DECODED_HEADER_BYTES) / 4;
    if (isInUse(u32, page)) continue;
    u32[slot] = 0;
    // Whoever has not seen the mark of this page yet will look for regions of it.
    u32[page + DECODED_LINKS / 4] = 0;
    u32[page] = header.decodedFree;
    header.decodedFree = page * 4;
    header.decodedFreeBytes += DECODED_STRIDE;
    header.pagesEvicted++;
  }
}

/** `page`: the index of the page's header. */
function isInUse(u32: Uint32Array, page: number): boolean {
  if (u32[page + OVERLAYS] !== 0 || u32[page + WANTED] !== 0) return true;
  const promoted = page + (DECODED_HEADER_BYTES + DECODED_PROMOTED) / 4;
  for (let word = 0; word < PROMOTED_WORDS; word++) if (u32[promoted + word] !== 0) return true;
  for (let link = u32[page + DECODED_LINKS / 4] ?? 0; link !== 0; ) {
    const at = (PLAN.regionLinks + link * 8) / 4;
    if (u32[(PLAN.regions + (u32[at] ?? 0) * REGION_BYTES) / 4] !== 0) return true;
    link = u32[at + 1] ?? 0;
  }
  return false;
}
