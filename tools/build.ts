/**
 * `npm run build`: plain JavaScript and declarations of src/ (without tests) in dist/, which is what the package
 * publishes. The compiler rewrites the endings of imports; this adds what it leaves: workers' addresses
 * (`new URL('./x.ts', import.meta.url)`) and the imports in declarations, so that nothing in dist/ names a `.ts`
 * source any more. Fails when something still does.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, globSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './repository.ts';

const dist = join(root, 'dist');
rmSync(dist, { recursive: true, force: true });
const compiled = spawnSync(join(root, 'node_modules/.bin/tsc'), ['-p', join(root, 'tsconfig.build.json')], {
  stdio: ['ignore', 2, 2],
});
if (compiled.status !== 0) process.exit(1);

const left: string[] = [];
for (const path of globSync('**/*.{js,d.ts}', { cwd: dist })) {
  const before = readFileSync(join(dist, path), 'utf8');
  const after = path.endsWith('.js') ? withPublishedAddresses(before) : withPublishedImports(before);
  if (after !== before) writeFileSync(join(dist, path), after);
  for (const [, specifier] of after.matchAll(
    /(?:from |import\(|new URL\(|^import )\s*['"](\.{1,2}\/[^'"]*\.ts)['"]/gm,
  )) {
    left.push(`dist/${path} still names ${specifier}`);
  }
}
for (const line of left) process.stderr.write(`${line}\n`);
const command = join(dist, 'cli/kage.js');
if (existsSync(command)) chmodSync(command, 0o755);
process.exit(left.length > 0 ? 1 : 0);

function withPublishedAddresses(code: string): string {
  return code.replace(/(new URL\(\s*['"]\.{1,2}\/[^'"]*)\.ts(['"])/g, '$1.js$2');
}

function withPublishedImports(declarations: string): string {
  return declarations.replace(/((?:from |import\()\s*['"]\.{1,2}\/[^'"]*)\.ts(['"])/g, '$1.js$2');
}
