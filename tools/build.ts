/**
 * `npm run build`: plain JavaScript and declarations of src/ (without tests) in dist/, which is what the package
 * publishes. The compiler rewrites the endings of imports; this adds what it leaves: workers' addresses
 * (`new URL('./x.ts', import.meta.url)`) and the imports in declarations, so that nothing in dist/ names a `.ts`
 * source any more. Fails when something still does.
 *
 * The room of the web page is compiled apart, with the browser's types; its pages and style sheets are copied, and the
 * terminal that the demo page uses is put beside them, with its licence; the console is joined to pages (console-pages.ts).
 * At last modules are joined (bundle.ts).
 *
 *   node tools/build.ts [--out FOLDER] [--program FILE]...
 *
 * A program is a source outside of src/ that uses its rooms' insides (bench/): it is joined with them, and lies then in
 * FOLDER/programs, with the ending .js.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { bundle, withBuiltImports } from './bundle.ts';
import { writeConsolePages } from './console-pages.ts';
import { root } from './repository.ts';

const { values } = parseArgs({
  options: { out: { type: 'string' }, program: { type: 'string', multiple: true, default: [] } },
});
const dist = values.out ?? join(root, 'dist');
rmSync(dist, { recursive: true, force: true });
const emit = ['--noEmit', 'false', '--declaration', '--rootDir', join(root, 'src'), '--outDir', dist];
compile('tsconfig.worker.json', ...emit);
compile('tsconfig.browser.json', ...emit);
// Last, so that the core's declarations are those made with the core's own types.
compile('tsconfig.build.json', '--outDir', dist);
copyPages();
// One script in the place of its modules: of it nothing is imported.
rmSync(join(dist, 'console'), { recursive: true });
await writeConsolePages(join(dist, 'console'));
for (const program of values.program) copyProgram(program);

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
await bundle(
  dist,
  values.program.map((program) => programPath(program)),
);
for (const line of left) process.stderr.write(`${line}\n`);
writeLicences();
const command = join(dist, 'cli/kage.js');
if (existsSync(command)) chmodSync(command, 0o755);
process.exit(left.length > 0 ? 1 : 0);

function compile(config: string, ...options: readonly string[]): void {
  const compiler = join(root, 'node_modules/.bin/tsc');
  const compiled = spawnSync(compiler, ['-p', join(root, config), ...options], { stdio: ['ignore', 2, 2] });
  if (compiled.status !== 0) process.exit(1);
}

function programPath(program: string): string {
  return join('programs', basename(program).replace(/\.ts$/, '.js'));
}

function copyProgram(program: string): void {
  const path = join(dist, programPath(program));
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, withBuiltImports(stripTypeScriptTypes(readFileSync(program, 'utf8'))));
}

function copyPages(): void {
  const source = join(root, 'src');
  for (const path of globSync('browser/**/*.{html,css,svg}', { cwd: source })) {
    mkdirSync(dirname(join(dist, path)), { recursive: true });
    const text = readFileSync(join(source, path), 'utf8');
    writeFileSync(join(dist, path), text.replace(/(src="\.[^"]*)\.ts"/g, '$1.js"'));
  }
  const terminal = join(root, 'node_modules/@xterm/xterm');
  const vendor = join(dist, 'browser/vendor');
  mkdirSync(vendor);
  cpSync(join(terminal, 'css/xterm.css'), join(vendor, 'xterm.css'));
  cpSync(join(terminal, 'LICENSE'), join(vendor, 'xterm.LICENSE'));
  const code = readFileSync(join(terminal, 'lib/xterm.mjs'), 'utf8');
  writeFileSync(join(vendor, 'xterm.mjs'), code.replace(/^\/\/# sourceMappingURL=.*$/m, ''));
}

/** Of packages whose code is joined to ours. */
function writeLicences(): void {
  const texts = ['hono', '@hono/node-server', 'zod'].map((name) => {
    const folder = join(root, 'node_modules', name);
    const { version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { version: string };
    return `${name} ${version}\n\n${readFileSync(join(folder, 'LICENSE'), 'utf8').trim()}\n`;
  });
  writeFileSync(join(dist, 'LICENSES'), texts.join(`\n${'-'.repeat(80)}\n\n`));
}

function withPublishedAddresses(code: string): string {
  return code.replace(/(new URL\(\s*['"]\.{1,2}\/[^'"]*)\.ts(['"])/g, '$1.js$2');
}

function withPublishedImports(declarations: string): string {
  return declarations.replace(/((?:from |import\()\s*['"]\.{1,2}\/[^'"]*)\.ts(['"])/g, '$1.js$2');
}
