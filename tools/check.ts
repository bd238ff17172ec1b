/**
 * `npm run check`: types (all code, then the core without Node and DOM, the web's without Node), format and lint, layers, house rules.
 * `npm run format` (`--fix`) writes what can be put right by itself: format, safe lint fixes, the drawing.
 * Prints every problem and exits 1 when there is one.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { layerProblems } from './check-layers.ts';
import { drawingFile, withDrawing } from './drawing.ts';
import { readRepository, root, sourceFiles } from './repository.ts';
import { tidyProblems } from './tidy.ts';

const binaries = join(root, 'node_modules/.bin');

if (process.argv.includes('--fix')) {
  const path = join(root, drawingFile);
  if (existsSync(path)) writeFileSync(path, withDrawing(readFileSync(path, 'utf8')));
  process.exit(command('biome', ['check', '--write', '.']) ? 0 : 1);
}

const files = readRepository();
const results = [
  step('types', () => command('tsc', ['-p', 'tsconfig.json'])),
  step('types of the core', () => command('tsc', ['-p', 'tsconfig.core.json'])),
  step('types of the web page', () => command('tsc', ['-p', 'tsconfig.browser.json'])),
  step('types of what tests do in pages', () => command('tsc', ['-p', 'tsconfig.in-page.json'])),
  step('types of its workers', () => command('tsc', ['-p', 'tsconfig.worker.json'])),
  step('format and lint', () => command('biome', ['check', '--error-on-warnings', '.'])),
  step('layers', () => report(layerProblems(sourceFiles(files)))),
  step('house rules', () => report(tidyProblems(files))),
];
process.exit(results.every(Boolean) ? 0 : 1);

function step(name: string, run: () => boolean): boolean {
  const passed = run();
  process.stdout.write(`${passed ? 'ok  ' : 'FAIL'} ${name}\n`);
  return passed;
}

function command(name: string, args: readonly string[]): boolean {
  return spawnSync(join(binaries, name), [...args], { cwd: root, stdio: 'inherit' }).status === 0;
}

function report(problems: readonly string[]): boolean {
  for (const problem of problems) process.stdout.write(`${problem}\n`);
  return problems.length === 0;
}
