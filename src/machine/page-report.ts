/** What stands in a decoded page: regions that begin there or have instructions of it, read from the machine's memory. */
import {
  DECODED_COVER,
  DECODED_HEADER_BYTES,
  decodedHeader,
  FRAME_BYTES,
  type MachineMemory,
  PLAN,
  REGION_BYTES,
  REGION_LINKS,
  REGIONS,
  SPECIAL,
} from '../engine/index.ts';
import type { CodePage } from '../translator/index.ts';
import { MOST_TOUCHING, type PageExplanation, type RegionRecord } from './explanation.ts';

/** The page's; `va` is its address. */
export function reportPage(memory: MachineMemory, page: CodePage, va: bigint): PageExplanation {
  const { u32 } = memory;
  const regions: RegionRecord[] = [];
  let decoded = 0;
  for (let at = 0; at < FRAME_BYTES; at += 2) {
    if (u32[(page.decoded + at * 4) / 4] === SPECIAL.undecoded) continue;
    decoded++;
    const region = regionAt(memory, page, va, at);
    if (region !== undefined) regions.push(region);
  }
  return {
    at: `0x${va.toString(16)}`,
    decoded,
    hasOverlay: page.records !== 0,
    regions,
    touching: touching(memory, page),
  };
}

/** Numbers of regions that the page's links name, if they stand. */
function touching({ u32 }: MachineMemory, page: CodePage): number[] {
  const numbers = new Set<number>();
  let link = u32[(page.decoded - DECODED_HEADER_BYTES + decodedHeader.offset.links) / 4] ?? 0;
  // Bounded: the list may be another's by now.
  for (let left = REGION_LINKS; link !== 0 && left > 0 && numbers.size < MOST_TOUCHING; left--) {
    const [number = 0, next = 0] = u32.subarray(
      (PLAN.regionLinks + link * 8) / 4,
      (PLAN.regionLinks + link * 8) / 4 + 2,
    );
    if (number < REGIONS && u32[(PLAN.regions + number * REGION_BYTES) / 4] !== 0) numbers.add(number);
    link = next;
  }
  return [...numbers].sort((a, b) => a - b);
}

/** The region that begins `at` bytes into the page at `va`. */
export function regionAt(
  { u32, u64 }: MachineMemory,
  page: CodePage,
  va: bigint,
  at: number,
): RegionRecord | undefined {
  const entry = u64[(page.decoded + at * 4) / 8] ?? 0n;
  const number = Number(entry >> 32n);
  if ((entry & 1023n) !== BigInt(SPECIAL.region) || number >= REGIONS) return undefined;
  const record = (PLAN.regions + number * REGION_BYTES) / 4;
  const [head = 0, entered = 0, module = 0, instructions = 0] = u32.subarray(record, record + 4);
  if (head === 0) return undefined;
  return { at: `0x${(va + BigInt(at)).toString(16)}`, number, instructions, entered, module };
}

/** Whether a region was made of the instruction `at` bytes into the page. */
export function isCovered({ u8 }: MachineMemory, page: CodePage, at: number): boolean {
  const byte = u8[page.decoded + DECODED_COVER + (at >> 4)] ?? 0;
  return ((byte >> ((at >> 1) & 7)) & 1) === 1;
}
