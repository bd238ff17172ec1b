/** The regions that were entered most often: where to look first. Reads the machine's memory, and writes nothing. */
import { FRAME_BYTES, fetchTranslations, OVERLAY, PLAN, REGION_BYTES } from '../engine/index.ts';
import { FEATURE } from '../isa/index.ts';
import type { Board } from './board.ts';
import { type ExecutableRun, eachExecutable, eachExecutableOfGuest } from './executable-pages.ts';
import type { HotRegion } from './explanation.ts';
import type { Level } from './guest-code.ts';

/** A decoded page has entries of eight bytes, one for each two of the guest's. */
const ENTRIES_BYTES = (FRAME_BYTES / 2) * 8;
/** The lowest bits of a fetch translation's tag: set where there is none. */
const OFFSET = 0xfffn;

/** Where a page of code can be fetched from. */
interface Seen {
  readonly va: bigint;
  readonly hart: number;
  readonly level: Level;
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
  const hottest = regions.slice(0, most);
  const places = placesOf(
    board,
    hottest.map(({ head }) => head),
  );
  return hottest.map(({ head: _, ...region }, i) => {
    const place = places[i];
    if (place === undefined) return region;
    const physical = `0x${place.gpa.toString(16)}`;
    if (place.seen === undefined) return { ...region, physical };
    const { at, ...by } = place.seen;
    return { ...region, physical, at: `0x${at.toString(16)}`, ...by };
  });
}

/** Of a decoded entry. */
export interface DecodedPlace {
  /** Its page of decoded entries, and its instruction's offset in the guest's page. */
  readonly decoded: number;
  readonly offset: number;
  readonly gpa: number;
  /** Where somebody fetches it from. */
  readonly seen?: { readonly at: bigint; readonly hart: number; readonly level: Level };
}

/** Of decoded entries, by their addresses in the machine's memory; undefined: its page is gone. */
export function placesOf(board: Board, entries: readonly number[]): (DecodedPlace | undefined)[] {
  const pages = decodedPages(board);
  const found = entries.map((entry) =>
    pages.find(({ decoded }) => entry >= decoded && entry < decoded + ENTRIES_BYTES),
  );
  const fetched = fetchedPages(board);
  const missing = found.flatMap((page) => (page && !fetched.has(page.decoded) ? [page.gpa] : []));
  const mapped = mappedPages(board, new Set(missing));
  return found.map((page, i) => {
    if (page === undefined) return undefined;
    const offset = ((entries[i] ?? 0) - page.decoded) / 4;
    const place = { decoded: page.decoded, offset, gpa: page.gpa + offset };
    const seen = fetched.get(page.decoded) ?? mapped.get(page.gpa);
    if (seen === undefined) return place;
    const { va, ...by } = seen;
    return { ...place, seen: { at: va + BigInt(offset), ...by } };
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
    for (const { va, decoded, isGuest } of fetchTranslations(memory, state))
      if ((va & OFFSET) === 0n && decoded !== 0) pages.set(decoded, { va, hart: id, level: isGuest ? 2 : 1 });
  }
  return pages;
}

/** By guest-physical page: where the page tables in force, the guest's or its guest's, would let it be executed. */
function mappedPages(board: Board, wanted: ReadonlySet<number>): Map<number, Seen> {
  const pages = new Map<number, Seen>();
  if (wanted.size === 0) return pages;
  const done = new Set<string>();
  const once = (roots: string, look: () => void): void => {
    if (!done.has(roots)) look();
    done.add(roots);
  };
  for (const { id, state } of board.vcpus) {
    const { satp, vsatp, hgatp, features } = state;
    const seen = (level: Level) => (run: ExecutableRun) => {
      for (const page of pagesOf(run, wanted))
        if (!pages.has(page)) pages.set(page, { va: run.va + BigInt(page - run.gpa), hart: id, level });
    };
    once(`${satp}`, () => eachExecutable(board, satp, seen(1)));
    if ((features & FEATURE.h) !== 0n && hgatp >> 60n !== 0n)
      once(`${vsatp} ${hgatp}`, () => eachExecutableOfGuest(board, { vsatp, hgatp }, seen(2)));
  }
  return pages;
}

/** The wanted ones of a run's. */
function pagesOf({ gpa, bytes }: ExecutableRun, wanted: ReadonlySet<number>): readonly number[] {
  if (bytes > FRAME_BYTES) return [...wanted].filter((page) => page >= gpa && page < gpa + bytes);
  return wanted.has(gpa) ? [gpa] : [];
}
