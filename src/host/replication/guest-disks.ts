/** A machine's drives as replication has them: which role each has, and what was written to layers so far. */
import type { JournalDisk, SourceDisk } from '../../replication/index.ts';
import type { OpenedDrive } from '../machine/drives.ts';
import type { Overlay } from '../storage/index.ts';

export function sourceDisks(drives: readonly OpenedDrive[], journals: readonly JournalDisk[]): SourceDisk[] {
  return drives.flatMap((drive, i): SourceDisk[] => {
    const journal = journals[i];
    if (journal === undefined) return [];
    const { temporary } = drive;
    if (drive.options.readOnly) return [{ journal, role: 'read-only' }];
    if (temporary === undefined) return [{ journal, role: 'shared' }];
    return [{ journal, role: 'layer', contents: () => contentsOf(temporary) }];
  });
}

async function* contentsOf(disk: Overlay): ReturnType<NonNullable<SourceDisk['contents']>> {
  const { clusterBytes, sizeBytes } = disk;
  // While the guest runs clusters may join: those are of the next round.
  for (const { cluster, isZero } of [...disk.changes()]) {
    const offset = cluster * clusterBytes;
    const count = Math.min(clusterBytes, sizeBytes - offset);
    if (isZero) {
      yield { offset, zeroBytes: count };
      continue;
    }
    const bytes = new Uint8Array(count);
    await disk.read(offset, [bytes]);
    yield { offset, bytes };
  }
}
