/**
 * A disk of a machine with a deadline: what would change it is handed on before the deadline, as the clock has it in the
 * step that hands it on; behind that it waits for a later deadline. Reads are nobody's business.
 */
import type { BlockBackend } from '../../devices/index.ts';
import type { MachineLease } from './machine-lease.ts';

export function leasedDisk(disk: BlockBackend, lease: Pick<MachineLease, 'mayAct' | 'renewed'>): BlockBackend {
  const inTime = (change: () => Promise<void> | void): Promise<void> | void =>
    lease.mayAct ? change() : lease.renewed().then(() => inTime(change));
  const { discard, writeZeroes } = disk;
  return {
    sizeBytes: disk.sizeBytes,
    readOnly: disk.readOnly,
    read: (offset, into) => disk.read(offset, into),
    write: (offset, from) => inTime(() => disk.write(offset, from)),
    flush: () => inTime(() => disk.flush()),
    ...(discard ? { discard: (offset, sizeBytes) => inTime(() => discard.call(disk, offset, sizeBytes)) } : {}),
    ...(writeZeroes
      ? { writeZeroes: (offset, sizeBytes) => inTime(() => writeZeroes.call(disk, offset, sizeBytes)) }
      : {}),
  };
}
