/** Reading what lies below a layer, which may be larger than it: zeros follow. */
import { type BlockBackend, totalBytes } from '../../devices/index.ts';
import { cut } from './storage-file.ts';

export function readBase(base: BlockBackend, at: number, into: readonly Uint8Array[]): Promise<void> | void {
  const size = totalBytes(into);
  const there = Math.max(0, Math.min(size, base.sizeBytes - at));
  if (there === size) return base.read(at, into);
  for (const piece of cut(into, there, size - there)) piece.fill(0);
  if (there > 0) return base.read(at, cut(into, 0, there));
}
