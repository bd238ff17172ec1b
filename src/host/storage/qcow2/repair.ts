/**
 * Images that QEMU left with the dirty bit: written with lazy refcounts and not closed. Their L1 and L2 tables are true,
 * their refcounts are not, and are counted anew before the first write. What is found is committed as any change is.
 */
import { OperatorError } from '../../../base/errors.ts';
import { countReferences } from './check.ts';
import type { Commits } from './commit.ts';
import type { ImageFile } from './image-file.ts';
import type { Metadata } from './metadata.ts';

export async function repairDirty(path: string, metadata: Metadata, image: ImageFile, commits: Commits): Promise<void> {
  const { refcounts } = metadata;
  const counted = await countReferences(path, metadata, image);
  if (counted.problems.length > 0) {
    throw new OperatorError(
      'disk-damaged',
      `${path} was not closed, and its tables are damaged: ${counted.problems[0]}`,
      'Repair a copy with `qemu-img check -r all`, or take a backup.',
    );
  }
  const { references } = counted;
  for (let first = 0; first < references.length; first += refcounts.perBlock) {
    const blocks = await refcounts.pinFor([first]);
    for (let cluster = first; cluster < Math.min(first + refcounts.perBlock, references.length); cluster++) {
      const count = references[cluster] ?? 0;
      if (refcounts.countOf(cluster) !== count) refcounts.repair(cluster, count);
    }
    refcounts.unpin(blocks);
  }
  await commits.commit();
}
