/**
 * Guest memory in a snapshot: chunks of up to 256 pages, the runs of their guest-physical numbers in the meta, their
 * bytes in the data. A page of zeros is left out, for that is what a page holds that nobody touched. An increment holds
 * what differs from its base, so there a page that became zeros stands in a run without data.
 */
import { FRAME_BYTES } from '../../engine/index.ts';
import type { Board } from '../board.ts';
import { VIRT } from '../virt-map.ts';
import { type ChunkHeader, type ChunkReader, damaged } from './chunks.ts';
import { countData, decodeRuns, encodeRuns, RUN, type Run, RunList } from './runs.ts';

export const CHUNK_PAGES = 256;

/** A chunk to be written: the bytes lie in the machine's memory and are to be copied before it goes on. */
export interface PageChunk {
  readonly meta: Uint8Array;
  readonly pages: readonly Uint8Array[];
}

/** What the base of an increment says of a page: by its number, whether it has the bytes that it has now. */
export interface BasePages {
  /** Pages that hold something in the base. */
  readonly held: Uint8Array;
  /** Of these, those that hold the same in the machine's memory. */
  readonly same: Uint8Array;
}

/** The board's pages, in rising order. The machine stands still. */
export function* pageChunks(board: Board, base?: BasePages): Generator<PageChunk> {
  const { map, memory } = board;
  let list = new RunList();
  let pages: Uint8Array[] = [];
  const take = (): PageChunk => {
    const chunk = { meta: encodeRuns(list.runs), pages };
    list = new RunList();
    pages = [];
    return chunk;
  };
  for (const page of memoryPages(board)) {
    const found = map.look(page);
    const host = found.kind === 'memory' ? found.host : 0;
    const bytes = host === 0 ? undefined : memory.u8.subarray(host, host + FRAME_BYTES);
    const isHeld = base !== undefined && base.held[page] === 1;
    if (bytes !== undefined && !isZero(memory.u32, host)) {
      if (isHeld && base.same[page] === 1) continue;
      list.add(page, RUN.data);
      pages.push(bytes);
    } else if (isHeld) list.add(page, RUN.zero);
    if (pages.length === CHUNK_PAGES || list.runs.length === CHUNK_PAGES) yield take();
  }
  if (list.runs.length > 0) yield take();
}

/**
 * Puts a chunk's pages into the memory of a board that has not run yet. The chunk behind it can be read at once; what
 * takes time is done by other threads. Rejects with OperatorError, when nothing is written any more.
 */
export async function readPages(board: Board, reader: ChunkReader, header: ChunkHeader): Promise<void> {
  const { meta, runs } = readRuns(board, reader, header);
  const places: Uint8Array[] = [];
  let [start, end] = [0, 0];
  const close = (): void => {
    if (end > start) places.push(board.memory.u8.subarray(start, end));
  };
  for (const { first, count, kind } of runs) {
    if (kind === RUN.data) board.map.touch(first, count);
    for (let page = first; page < first + count; page++) {
      const host = kind === RUN.zero && board.map.isUntouched(page) ? -1 : board.map.host(page, 'setup');
      if (host === 0) throw damaged(reader.name, 'holds pages where the machine has no memory');
      if (kind === RUN.zero) {
        if (host > 0) board.memory.u8.fill(0, host, host + FRAME_BYTES);
      } else if (host === end) end += FRAME_BYTES;
      else {
        close();
        [start, end] = [host, host + FRAME_BYTES];
      }
    }
  }
  close();
  await reader.dataInto(header, meta, places);
}

/** Compares a base's chunk with the memory of a machine that stands still. Later chunks of increments count. */
export function comparePages(board: Board, reader: ChunkReader, header: ChunkHeader, base: BasePages): void {
  const { meta, runs } = readRuns(board, reader, header);
  const data = reader.data(header, meta);
  const aligned = data.byteOffset % 4 === 0 ? data : data.slice();
  const words = new Uint32Array(aligned.buffer, aligned.byteOffset, aligned.length / 4);
  let at = 0;
  for (const { first, count, kind } of runs)
    for (let page = first; page < first + count; page++) {
      base.held[page] = kind === RUN.data ? 1 : 0;
      if (kind !== RUN.data) continue;
      const found = board.map.look(page);
      const isSame =
        found.kind === 'memory' && found.host !== 0 && isEqual(board.memory.u32, found.host / 4, words, at);
      base.same[page] = isSame ? 1 : 0;
      at += FRAME_BYTES / 4;
    }
}

/** Numbers of all pages that are memory. */
function* memoryPages(board: Board): Generator<number> {
  for (const { base, sizeBytes } of [VIRT.resetRom, { base: VIRT.ram.base, sizeBytes: board.config.memoryBytes }])
    for (let page = base / FRAME_BYTES; page < (base + sizeBytes) / FRAME_BYTES; page++) yield page;
}

export function noBase(board: Board): BasePages {
  return { held: new Uint8Array(board.map.pages), same: new Uint8Array(board.map.pages) };
}

function readRuns(board: Board, reader: ChunkReader, header: ChunkHeader): { meta: Uint8Array; runs: Run[] } {
  const meta = reader.meta(header);
  const runs = decodeRuns(meta, board.map.pages);
  if (runs === undefined || countData(runs) * FRAME_BYTES !== header.dataBytes)
    throw damaged(reader.name, 'is damaged: a list of pages makes no sense');
  return { meta, runs };
}

function isZero(words: Uint32Array, host: number): boolean {
  const end = (host + FRAME_BYTES) / 4;
  for (let i = host / 4; i < end; i++) if (words[i] !== 0) return false;
  return true;
}

function isEqual(memory: Uint32Array, from: number, words: Uint32Array, at: number): boolean {
  for (let i = 0; i < FRAME_BYTES / 4; i++) if (memory[from + i] !== words[at + i]) return false;
  return true;
}
