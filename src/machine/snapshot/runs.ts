/** Lists of pages or clusters as runs of consecutive ones: `first u32 | count u32 | kind u32`, little-endian. */

export interface Run {
  readonly first: number;
  readonly count: number;
  /** What the run says of them: see PAGES. */
  readonly kind: number;
}

/** Their bytes follow in the chunk's data; or they hold zeros, and there are none. */
export const RUN = { data: 0, zero: 1 } as const;
const RUN_BYTES = 12;

export function encodeRuns(runs: readonly Run[]): Uint8Array {
  const words = new Uint32Array(runs.flatMap(({ first, count, kind }) => [first, count, kind]));
  return new Uint8Array(words.buffer);
}

/** Undefined where it is no such list, or a run is empty, not above the one before it, or beyond `end`. */
export function decodeRuns(bytes: Uint8Array, end: number): Run[] | undefined {
  if (bytes.length % RUN_BYTES !== 0) return undefined;
  const data = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const runs: Run[] = [];
  let least = 0;
  for (let at = 0; at < bytes.length; at += RUN_BYTES) {
    const run = {
      first: data.getUint32(at, true),
      count: data.getUint32(at + 4, true),
      kind: data.getUint32(at + 8, true),
    };
    if (run.count === 0 || run.first < least || run.first + run.count > end || run.kind > RUN.zero) return undefined;
    least = run.first + run.count;
    runs.push(run);
  }
  return runs;
}

/** How many of them have their bytes in the data. */
export function countData(runs: readonly Run[]): number {
  return runs.reduce((sum, { count, kind }) => sum + (kind === RUN.data ? count : 0), 0);
}

/** Gathers numbers that come in rising order. */
export class RunList {
  readonly runs: { first: number; count: number; kind: number }[] = [];

  add(number: number, kind: number): void {
    const last = this.runs.at(-1);
    if (last !== undefined && last.kind === kind && last.first + last.count === number) last.count++;
    else this.runs.push({ first: number, count: 1, kind });
  }
}
