/**
 * The sensitive instructions that are promoted now (mechanism 3), those that ran most first. Reads the machine's memory while
 * it runs, and writes nothing.
 */
import { DECODED_PROMOTED, FRAME_BYTES, PLAN, SITE_BYTES, SITES } from '../engine/index.ts';
import { createDecoder, type Decoder, disassemble, parseCpuModel } from '../isa/index.ts';
import type { Board } from './board.ts';
import type { PromotedSite } from './explanation.ts';
import { type DecodedPlace, placesOf } from './hot-regions.ts';

/** At most `most`. A site whose code is dropped as it is looked at is left out. */
export function promotedSites(board: Board, most: number): PromotedSite[] {
  const { header, u32 } = board.memory;
  const sites = [];
  for (let number = 1; number < Math.min(header.siteNext, SITES); number++) {
    const record = (PLAN.sites + number * SITE_BYTES) / 4;
    const [executions = 0, entry = 0] = u32.subarray(record, record + 2);
    if (entry !== 0) sites.push({ number, executions, entry });
  }
  sites.sort((a, b) => b.executions - a.executions);
  const { extensions, emulated } = parseCpuModel(board.config.cpu);
  const decoder = createDecoder(new Set([...extensions, ...emulated]));
  const places = placesOf(
    board,
    sites.map(({ entry }) => entry),
  );
  const found: PromotedSite[] = [];
  for (const [i, { number, executions }] of sites.entries()) {
    const place = places[i];
    if (found.length === most) break;
    if (place === undefined || !isPromoted(board, place)) continue; // demoted: its number waits for another
    const { at, hart, level } = place.seen ?? {};
    found.push({
      ...{ number, executions, physical: hexadecimal(place.gpa), text: textAt(board, decoder, place) },
      ...(at === undefined ? {} : { at: hexadecimal(at) }),
      ...(hart === undefined ? {} : { hart }),
      ...(level === undefined ? {} : { level }),
    });
  }
  return found;
}

function isPromoted({ memory }: Board, { decoded, offset }: DecodedPlace): boolean {
  const half = offset / 2;
  const bits = memory.u8[decoded + DECODED_PROMOTED + (half >> 3)] ?? 0;
  return (bits & (1 << (half & 7))) !== 0;
}

function textAt(board: Board, decoder: Decoder, { gpa, seen }: DecodedPlace): string {
  const low = halfAt(board, gpa);
  const bits = (low & 3) === 3 ? (low | (halfAt(board, gpa + 2) << 16)) >>> 0 : low;
  return disassemble(decoder, bits, seen?.at ?? BigInt(gpa));
}

/** 0 where nobody has touched it. */
function halfAt({ map, memory }: Board, gpa: number): number {
  const seen = map.look(Math.floor(gpa / FRAME_BYTES));
  if (seen.kind === 'nothing' || seen.host === 0) return 0;
  const at = seen.host + (gpa % FRAME_BYTES);
  return (memory.u8[at] ?? 0) | ((memory.u8[at + 1] ?? 0) << 8);
}

function hexadecimal(value: number | bigint): string {
  return `0x${BigInt.asUintN(64, BigInt(value)).toString(16)}`;
}
