/**
 * Joins the modules in dist/ to a few files, but for those of the room that lives in a page. Each module that Node loads
 * costs each thread time and memory, and a processor's worker loads 160 (bench/memory.ts tells the heaps of threads).
 *
 * The package's entries, the workers', and what the page imports keep their places and exports; what they share stands
 * in chunks of its own, so that every module is there once. Modules that find files beside themselves write paths that
 * hold in any folder of dist/ ('../room/file'), because there they may come to lie.
 */
import { createHash } from 'node:crypto';
import { globSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { build } from 'esbuild';
import { rooms } from './layers.ts';
import { root } from './repository.ts';

const ENTRIES = [
  ...['index.js', 'daemon/index.js', 'cli/kage.js', 'cli/detached.js'],
  ...['host/machine/processor-worker.js', 'host/machine/translation-worker.js'],
];
const CHUNKS = 'chunks';
/** They lie in the package's own node_modules (`bundleDependencies`); all others that modules import are joined to them. */
const PACKAGES = Object.keys(
  (JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { dependencies: Record<string, string> })
    .dependencies,
);
const pages = rooms.filter((room) => room.web).map((room) => `${room.name}/`);
const isOfPage = (path: string): boolean => pages.some((folder) => path.startsWith(folder));

/** `dist`: the folder of the compiled rooms; `programs`: more entries in it. */
export async function bundle(dist: string, programs: readonly string[] = []): Promise<void> {
  const modules = globSync('**/*.js', { cwd: dist });
  const entries = new Set([...ENTRIES, ...programs]);
  for (const path of modules.filter(isOfPage))
    for (const imported of importsOf(dist, path)) if (!isOfPage(imported)) entries.add(imported);
  await build({
    entryPoints: [...entries].map((path) => join(dist, path)),
    ...{ outdir: dist, outbase: dist, chunkNames: `${CHUNKS}/[hash]`, allowOverwrite: true },
    ...{ bundle: true, splitting: true, external: PACKAGES, format: 'esm', platform: 'node', target: 'node24' },
    ...{ define: { KAGEMUSHA_BUILD: JSON.stringify(digestOf(dist, modules)) }, logLevel: 'warning' },
  });
  for (const path of modules) if (!isOfPage(path) && !entries.has(path)) rmSync(join(dist, path));
  for (const path of globSync('**/*.js', { cwd: dist }).filter((each) => !isOfPage(each)))
    if (/import\.meta/.test(readFileSync(join(dist, path), 'utf8')) && path.split('/').length !== 2)
      throw new Error(`dist/${path} names files beside itself, and does not lie where all such modules do`);
}

function digestOf(dist: string, modules: readonly string[]): string {
  const hash = createHash('sha256');
  for (const path of [...modules].sort()) hash.update(`${path}\0`).update(readFileSync(join(dist, path)));
  return hash.digest('hex').slice(0, 32);
}

/** Modules that a module imports, by their paths in `dist`. */
function importsOf(dist: string, path: string): string[] {
  const code = readFileSync(join(dist, path), 'utf8');
  const specifiers = [...code.matchAll(/(?:from |import\(|^import )\s*['"](\.{1,2}\/[^'"]*)['"]/gm)];
  return specifiers.map(([, specifier = '']) => relative(dist, join(dist, dirname(path), specifier)));
}

/** Imports of a program that lies in dist/programs, as bench/ lies beside src/: what sources were built to. */
export function withBuiltImports(code: string): string {
  return code.replace(/((?:from |import\()'\.{1,2}\/)(?:src\/)?([^']+)\.ts'/g, "$1$2.js'");
}
