/**
 * The program of machine-process.ts, built with the package as npm publishes it: what is measured is what users have.
 * Sources would be stripped of their types as they are loaded, which costs each thread of a machine memory and time that
 * no user pays. Built anew when a source has changed.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, globSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { HostError } from '../src/base/errors.ts';
import { cacheFolder } from '../src/host/debian/index.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
/** The command `kage`, built as it is published. Throws HostError `bench-build`. */
export function kageProgram(say: (line: string) => void): string {
  return join(machineProgram(say), '../../cli/kage.js');
}

const parts = ['machine-process', 'memory-account'];

/** The program's path. Throws HostError `bench-build`. */
export function machineProgram(say: (line: string) => void): string {
  const folder = cacheFolder('bench', `program-${digest(root).slice(0, 16)}`);
  const stamp = join(folder, 'sources');
  const sources = digestOfSources();
  const dist = join(folder, 'dist');
  if (!existsSync(stamp) || readFileSync(stamp, 'utf8') !== sources) {
    say('building the package');
    mkdirSync(folder, { recursive: true });
    // What lies beside dist/ in the package; its modules are joined to some that lie there.
    for (const name of ['guest', 'package.json', 'node_modules']) {
      rmSync(join(folder, name), { force: true });
      symlinkSync(join(root, name), join(folder, name));
    }
    const programs = parts.flatMap((part) => ['--program', join(root, `bench/${part}.ts`)]);
    const build = [join(root, 'tools/build.ts'), '--out', dist, ...programs];
    const built = spawnSync(process.execPath, build, { stdio: ['ignore', 2, 2] });
    if (built.status !== 0) throw new HostError('bench-build', 'the package could not be built (npm run build)');
    writeFileSync(stamp, sources);
  }
  return join(dist, 'programs', `${parts[0]}.js`);
}

function digestOfSources(): string {
  const files = [
    ...globSync('src/**/*', { cwd: root }).filter((path) => /\.[a-z]+$/.test(path)),
    ...parts.map((part) => `bench/${part}.ts`),
    ...['tools/build.ts', 'tools/bundle.ts'],
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
