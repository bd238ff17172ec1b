/** An ext4 file system in a file, made by Debian's mke2fs without root or a mount. */
import { truncate, writeFile } from 'node:fs/promises';
import { HostError } from '../../base/errors.ts';
import { fetchFileSystemTools, run, type WorkOptions } from '../debian/index.ts';

export interface FileSystemOptions extends WorkOptions {
  /** Of the whole; the file is sparse. */
  readonly sizeBytes: number;
  readonly label: string;
}

/**
 * Makes `file` of a folder, whose files then have their owners and modes on the host, or of a tar archive, which says
 * them itself. Throws HostError `mke2fs-failed`.
 */
export async function makeFileSystem(file: string, source: string, options: FileSystemOptions): Promise<void> {
  const [mke2fs = '', ...words] = (await fetchFileSystemTools(options)).mke2fs;
  await writeFile(file, '');
  await truncate(file, options.sizeBytes);
  const shape = ['-q', '-F', '-t', 'ext4', '-b', '4096', '-m', '1', '-L', options.label, '-E', 'root_owner=0:0'];
  await run(mke2fs, [...words, ...shape, '-d', source, file], { signal: options.signal }).catch((cause: unknown) => {
    options.signal?.throwIfAborted();
    const message = `the file system ${options.label} could not be made; it may be too small for its files`;
    throw new HostError('mke2fs-failed', message, { cause });
  });
}
