/**
 * The program of machine-process.ts over the built package (dist/), as plain JavaScript: what is measured is what npm
 * publishes. Sources would be stripped of their types as they are loaded, which costs each thread of a machine memory
 * and time that no user pays. Built anew when a source has changed.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { HostError } from '../src/base/errors.ts';
import { cacheFolder } from '../src/host/debian/index.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const parts = ['machine-process', 'memory-account'];

/** The program's path. Throws HostError `bench-build`. */
export function machineProgram(say: (line: string) => void): string {
  const folder = cacheFolder('bench', `program-${digest(root).slice(0, 16)}`);
  const stamp = join(folder, 'sources');
  const sources = digestOfSources();
  const isBuilt = existsSync(join(root, 'dist/index.js')) && existsSync(stamp);
  if (!isBuilt || readFileSync(stamp, 'utf8') !== sources) {
    say('building the package');
    const built = spawnSync(process.execPath, [join(root, 'tools/build.ts')], { stdio: ['ignore', 2, 2] });
    if (built.status !== 0) throw new HostError('bench-build', 'the package could not be built (npm run build)');
    mkdirSync(folder, { recursive: true });
    for (const part of parts) {
      const code = stripTypeScriptTypes(readFileSync(join(root, `bench/${part}.ts`), 'utf8'));
      writeFileSync(join(folder, `${part}.mjs`), withBuiltImports(code));
    }
    writeFileSync(stamp, sources);
  }
  return join(folder, `${parts[0]}.mjs`);
}

/** Imports of sources become imports of what they were built to. */
export function withBuiltImports(code: string, dist = pathToFileURL(join(root, 'dist/')).href): string {
  return code
    .replace(
      /((?:from |import\()')\.\.\/src\/([^']+)\.ts'/g,
      (_, from: string, path: string) => `${from}${dist}${path}.js'`,
    )
    .replace(/((?:from |import\()'\.\/[^']+)\.ts'/g, "$1.mjs'");
}

function digestOfSources(): string {
  const files = [
    ...globSync('src/**/*', { cwd: root }).filter((path) => /\.[a-z]+$/.test(path)),
    ...parts.map((part) => `bench/${part}.ts`),
    'tools/build.ts',
    'package-lock.json',
  ];
  return digest(
    files
      .sort()
      .map((path) => `${path}\0${digest(readFileSync(join(root, path)))}`)
      .join('\n'),
  );
}

function digest(data: string | Uint8Array): string {
  return createHash('sha256').update(data).digest('hex');
}
