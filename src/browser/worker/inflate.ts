/**
 * Plans a boot with decompressors that work asynchronously, which is all that a browser has, although planning is
 * synchronous: what the plan wants decompressed is noted, the plan given up, the bytes inflated, and the plan made
 * anew with them. A kernel has few layers, so this ends soon.
 */
import { type BootPlan, type Decompressors, planVirtBoot, type VirtBoot } from '../../machine/index.ts';
import { join } from './fetch-file.ts';

interface Wanted {
  readonly format: string;
  readonly bytes: Uint8Array;
  readonly mostBytes: number;
}

/** Throws OperatorError as planVirtBoot does. */
export async function planWithStreams(boot: Omit<VirtBoot, 'decompress'>): Promise<BootPlan> {
  const known = new Map<string, Uint8Array | Error>();
  for (;;) {
    let wanted: Wanted | undefined;
    const decompressor =
      (format: string): Decompressors['gunzip'] =>
      (bytes, mostBytes) => {
        const found = known.get(keyOf(format, bytes));
        if (found instanceof Error) throw found;
        if (found) return found;
        wanted = { format, bytes, mostBytes };
        throw new Error('not inflated yet');
      };
    try {
      return planVirtBoot({
        ...boot,
        decompress: {
          gunzip: decompressor('gzip'),
          ...(canInflate('zstd') ? { unzstd: decompressor('zstd') } : {}),
        },
      });
    } catch (error) {
      if (wanted === undefined) throw error;
      known.set(keyOf(wanted.format, wanted.bytes), await inflate(wanted));
    }
  }
}

/** The same bytes have the same place; a layer within a layer has another buffer, and hence another size. */
function keyOf(format: string, bytes: Uint8Array): string {
  return `${format} ${bytes.byteOffset} ${bytes.length} ${bytes.buffer.byteLength}`;
}

/** Never rejects: what does not decompress is an error for the plan to report. */
async function inflate({ format, bytes, mostBytes }: Wanted): Promise<Uint8Array | Error> {
  try {
    const stream = new Blob([bytes.slice()]).stream().pipeThrough(decompressionStream(format));
    const pieces: Uint8Array[] = [];
    let done = 0;
    for (const reader = stream.getReader(); ; ) {
      const { value } = await reader.read();
      if (value === undefined) return join(pieces, done);
      done += value.length;
      if (done > mostBytes) {
        await reader.cancel();
        throw new Error('too large');
      }
      pieces.push(value);
    }
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

function canInflate(format: string): boolean {
  try {
    decompressionStream(format);
    return true;
  } catch {
    return false;
  }
}

/** Browsers differ in what they know; an unknown format throws. */
function decompressionStream(format: string): DecompressionStream {
  return new DecompressionStream(format as CompressionFormat);
}
