/** Reads the repository's files once, in the form that the tidy rules and the layers' linter take. */
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { SourceFile } from './check-layers.ts';
import { repositoryFiles } from './files.ts';
import type { TidyFile } from './tidy.ts';

export const root = dirname(import.meta.dirname);

/** Every file with its text; files with a NUL byte count as binary and have none. */
export function readRepository(): TidyFile[] {
  return repositoryFiles(root).map((path) => {
    const bytes = readFileSync(join(root, path));
    return { path, text: bytes.includes(0) ? '' : bytes.toString('utf8'), sizeBytes: bytes.length };
  });
}

/** The files that the layers bind. */
export function sourceFiles(files: readonly TidyFile[]): SourceFile[] {
  return files.filter((file) => /^src\/.*\.ts$/.test(file.path) && !file.path.endsWith('.d.ts'));
}
