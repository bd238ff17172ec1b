/** Which files the repository's own tools look at: tracked ones, and those about to be. */
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';

/** Paths from `root`, sorted: tracked files and new ones that .gitignore does not name. */
export function repositoryFiles(root: string): string[] {
  const listed = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 64 << 20,
  });
  return [...new Set(listed.split('\0'))].filter((file) => file !== '' && existsSync(join(root, file))).sort();
}

/** Test files: `system` are those under test/system (full boots, oracles, debuggers), `unit` all others. */
export function testFiles(root: string, kind: 'unit' | 'system'): string[] {
  return repositoryFiles(root).filter(
    (file) => /^(src|test|bench)\/.*\.test\.ts$/.test(file) && file.startsWith('test/system/') === (kind === 'system'),
  );
}
