/** The regions that were entered most often: where to look first. Reads the machine's memory, and writes nothing. */
import { FRAME_BYTES, fetchTranslations, OVERLAY, PLAN, REGION_BYTES } from '../engine/index.ts';
import type { Board } from './board.ts';
import { eachExecutable } from './executable-pages.ts';
import type { HotRegion } from './explanation.ts';

/** A decoded page has entries of eight bytes, one for each two of the guest's. */
const ENTRIES_BYTES = (FRAME_BYTES / 2) * 8;
/** The lowest bits of a fetch translation's tag: set where there is none. */
const OFFSET = 0xfffn;

/** Where a page of code can be fetched from. */
interface Seen {
  readonly va: bigint;
  readonly hart: number;
}

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
  const pages = decodedPages(board);
  const found = regions.slice(0, most).map(({ head, ...region }) => {
    const page = pages.find(({ decoded }) => head >= decoded && head < decoded + ENTRIES_BYTES);
    return { region, page, offset: page === undefined ? 0 : (head - page.decoded) / 4 };
  });
  const fetched = fetchedPages(board);
  const missing = found.flatMap(({ page }) => (page && !fetched.has(page.decoded) ? [page.gpa] : []));
  const mapped = mappedPages(board, new Set(missing));
  return found.map(({ region, page, offset }) => {
    if (page === undefined) return region;
    const physical = `0x${(page.gpa + offset).toString(16)}`;
    const seen = fetched.get(page.decoded) ?? mapped.get(page.gpa);
    if (seen === undefined) return { ...region, physical };
    return { ...region, physical, at: `0x${(seen.va + BigInt(offset)).toString(16)}`, hart: seen.hart };
  });
}

/** Decoded pages, and the guest's pages that they are of; overlays' too. */
function decodedPages({ memory, map }: Board): { decoded: number; gpa: number }[] {
  const pages = [];
  const overlays = memory.overlays.list();
  for (const { page, host } of map.present()) {
    const gpa = page * FRAME_BYTES;
    const decoded = memory.decodedPage(host);
    if (decoded !== 0) pages.push({ decoded, gpa });
    for (const { frame, at } of overlays) if (frame === host) pages.push({ decoded: at + OVERLAY.entries, gpa });
  }
  return pages;
}

/** By decoded page: where harts have fetched from it lately. */
function fetchedPages({ memory, vcpus }: Board): Map<number, Seen> {
  const pages = new Map<number, Seen>();
  for (const { id, state } of vcpus) {
    for (const { va, decoded } of fetchTranslations(memory, state))
      if ((va & OFFSET) === 0n && decoded !== 0) pages.set(decoded, { va, hart: id });
  }
  return pages;
}

/** By guest-physical page: where the page tables in force would let it be executed. */
function mappedPages(board: Board, wanted: ReadonlySet<number>): Map<number, Seen> {
  const pages = new Map<number, Seen>();
  const done = new Set<bigint>();
  for (const { id, state } of board.vcpus) {
    const { satp } = state;
    if (wanted.size === 0 || done.has(satp)) continue;
    done.add(satp);
    eachExecutable(board, satp, ({ va, gpa, bytes }) => {
      const within = bytes > FRAME_BYTES ? [...wanted].filter((page) => page >= gpa && page < gpa + bytes) : [gpa];
      for (const page of within)
        if (wanted.has(page) && !pages.has(page)) pages.set(page, { va: va + BigInt(page - gpa), hart: id });
    });
  }
  return pages;
}
