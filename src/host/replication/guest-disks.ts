/** A machine's drives as replication has them: which role each has, and what was written to layers so far. */
import { OperatorError } from '../../base/errors.ts';
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

/**
 * A disk of both hosts is the same by its address: it does not go on without the guest, as it does without a snapshot. So one of a
 * server, of which nobody can tell whether it was changed, will do.
 */
export function knownDrive(drive: OpenedDrive): OpenedDrive {
  const { options, temporary } = drive;
  if (options.readOnly || temporary !== undefined) return drive;
  const identity = async (): Promise<string> =>
    await drive.identity().catch((error: unknown) => {
      if (error instanceof OperatorError && error.code === 'disk-without-identity') return options.file.slice(0, 512);
      throw error;
    });
  return { ...drive, identity };
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
