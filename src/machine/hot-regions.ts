/** The regions that were entered most often: where to look first. Reads the machine's memory, and writes nothing. */
import { DECODED_HEADER_BYTES, decodedHeader, FRAME_BYTES, PLAN, REGION_BYTES } from '../engine/index.ts';
import type { Board } from './board.ts';
import type { HotRegion } from './explanation.ts';

/** A decoded page has entries of eight bytes, one for each two of the guest's. */
const ENTRIES_BYTES = (FRAME_BYTES / 2) * 8;
/** The lowest bits of a fetch translation's tag: set where there is none. */
const OFFSET = 0xfffn;

/** At most `most` of them, the most entered first. */
export function hotRegions(board: Board, most: number): HotRegion[] {
  const { header, u32 } = board.memory;
  const regions = [];
  for (let number = 1; number < header.regionNext; number++) {
    const record = (PLAN.regions + number * REGION_BYTES) / 4;
    const [head = 0, entered = 0, module = 0, instructions = 0] = u32.subarray(record, record + 4);
    if (head !== 0) regions.push({ number, head, entered, module, instructions });
  }
  regions.sort((a, b) => b.entered - a.entered);
  const pages = fetchedPages(board);
  const physical = physicalPages(board);
  return regions.slice(0, most).map(({ head, ...region }) => {
    const page = pages.find(({ decoded }) => head >= decoded && head < decoded + ENTRIES_BYTES);
    if (page === undefined) return region;
    const offset = (head - page.decoded) / 4;
    const frame = u32[(page.decoded - DECODED_HEADER_BYTES + decodedHeader.offset.frame) / 4] ?? 0;
    const gpa = physical.get(frame);
    return {
      ...region,
      at: `0x${(page.va + BigInt(offset)).toString(16)}`,
      hart: page.hart,
      ...(gpa === undefined ? {} : { physical: `0x${(gpa + offset).toString(16)}` }),
    };
  });
}

/** Pages that harts have fetched from lately, by their fetch buffers: a region's head has no address of its own. */
function fetchedPages({ vcpus }: Board): { decoded: number; va: bigint; hart: number }[] {
  const pages = [];
  for (const { id, state } of vcpus) {
    for (let i = 0; i < state.fetchTlb.length; i += 2) {
      const va = state.fetchTlb[i] ?? OFFSET;
      const decoded = Number(BigInt.asUintN(32, state.fetchTlb[i + 1] ?? 0n));
      if ((va & OFFSET) === 0n && decoded !== 0) pages.push({ decoded, va, hart: id });
    }
  }
  return pages;
}

function physicalPages({ map }: Board): Map<number, number> {
  const pages = new Map<number, number>();
  for (const { page, host } of map.present()) pages.set(host, page * FRAME_BYTES);
  return pages;
}
