/**
 * `npm test [-- PATH ...] [--accept] [--thorough]`: finds the tests (src and test, without test/system; `--system` turns that
 * round), provides what they need, runs them with Node's own runner, one file more at a time than there are cores (they
 * wait for processes, guests and timers, too), slow ones first, so that all end together, and closes with the runner's
 * counts, the files that took longest, and a list of what was left out and why. A run of all system tests builds the
 * package first, and its command is the one that they start (test/kage-command.ts). With `--thorough` tests take all of their seeds, rounds and cases (test/thorough.ts). With `--accept`, golden tests take what they find for what they
 * expect. Exits 1 when a test fails, when none was found, and, where CI is set, when a test was left out that
 * test/allowed-skips.ts does not list.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { finished } from 'node:stream/promises';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { parseArgs } from 'node:util';
import { type AllowedSkip, allowedSkips } from '../test/allowed-skips.ts';
import { type Capability, capabilitiesIn, isTool, lacks } from '../test/capability.ts';
import { COMMAND_VARIABLE } from '../test/kage-command.ts';
import { inOrder } from '../test/slow-files.ts';
import { THOROUGH_VARIABLE } from '../test/thorough.ts';
import { provide } from '../test/toolbox.ts';
import { testFiles } from './files.ts';

const root = dirname(import.meta.dirname);
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    system: { type: 'boolean', default: false },
    name: { type: 'string', multiple: true, default: [] },
    accept: { type: 'boolean', default: false },
    thorough: { type: 'boolean', default: false },
  },
});
// A test file is a process, and loads hundreds of modules: a third of the time where another has compiled them (measured).
process.env['NODE_COMPILE_CACHE'] ??= join(root, '.tmp/modules');
// Golden tests write what they find in place of what they expect.
if (values.accept) process.env['ACCEPT'] = '1';
if (values.thorough) process.env[THOROUGH_VARIABLE] = '1';

// Half as much again as a run on two idle cores takes, and together less than CI has (.ci/run).
const limitMinutes = (values.system ? 16 : 12) * (values.thorough ? 4 : 1);

const longestShown = 20;
/** Of more cores more guests would want memory. */
const mostCores = 4;

const atOnce = Math.min(Math.max(availableParallelism(), 2), mostCores) + 1;
const isWhole = positionals.length === 0 && values.name.length === 0;
const files = inOrder(
  testFiles(root, values.system ? 'system' : 'unit').filter(
    (file) => positionals.length === 0 || positionals.some((path) => file.startsWith(path)),
  ),
);
if (files.length === 0) {
  say(`no test file${positionals.length > 0 ? ` under ${positionals.join(', ')}` : ''}`);
  process.exit(positionals.length > 0 ? 1 : 0);
}
await provideNeeds();
if (isWhole && files.some((file) => textOf(file).includes('kageCommand'))) buildCommand();
process.exitCode = await runAll();

function textOf(file: string): string {
  return readFileSync(join(root, file), 'utf8');
}

/** Unpacks the tools that the chosen files ask for; what cannot be had is left to the tests to report. */
async function provideNeeds(): Promise<void> {
  const needs = new Set<Capability>(files.flatMap((file) => capabilitiesIn(textOf(file))));
  for (const name of needs) {
    if (!isTool(name)) continue;
    const failure = await provide(name, say);
    if (failure !== undefined) say(failure);
  }
  for (const name of needs) {
    const reason = isTool(name) ? undefined : lacks(name);
    if (reason !== undefined) say(`${name}: ${reason}`);
  }
}

/** Not where `npm pack` builds it, for whoever does that meanwhile. */
function buildCommand(): void {
  const folder = join(root, '.tmp/package');
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const name of ['guest', 'package.json']) symlinkSync(join(root, name), join(folder, name));
  const out = join(folder, 'dist');
  const build = [join(root, 'tools/build.ts'), '--out', out];
  if (spawnSync(process.execPath, build, { stdio: ['ignore', 2, 2] }).status !== 0) process.exit(1);
  process.env[COMMAND_VARIABLE] = join(out, 'cli/kage.js');
}

async function runAll(): Promise<number> {
  let failed = 0;
  const leftOut: { file: string; name: string; reason: string }[] = [];
  const events = run({
    files: files.map((file) => join(root, file)),
    cwd: root,
    concurrency: atOnce,
    signal: AbortSignal.timeout(limitMinutes * 60_000), // ends files that hang, busy or idle, and fails them
    ...(values.name.length > 0 ? { testNamePatterns: values.name } : {}),
  });
  events.on('test:fail', () => failed++);
  const took = new Map<string, number>();
  events.on('test:complete', ({ file, name, details }) => {
    // A file's own process.
    if (file !== undefined && name === file) took.set(relative(root, file), details.duration_ms);
  });
  events.on('test:pass', (event) => {
    if (event.skip === undefined || event.skip === false) return;
    const reason = typeof event.skip === 'string' ? event.skip : 'no reason given';
    leftOut.push({ file: relative(root, event.file ?? ''), name: event.name, reason });
  });
  const report = events.compose(new spec());
  report.pipe(process.stdout, { end: false });
  await finished(report);
  sayLongest(took);

  const strict = Boolean(process.env['CI']);
  let unlisted = 0;
  if (leftOut.length > 0) say(`\nleft out: ${leftOut.length}`);
  for (const skip of leftOut) {
    const row = allowedSkips.find((allowed) => covers(allowed, skip));
    if (row === undefined) unlisted++;
    say(`  ${skip.file}: ${skip.name}\n    ${skip.reason}${row === undefined ? '' : ` (listed: ${row.why})`}`);
  }
  if (strict && unlisted > 0) say(`${unlisted} left out without a row in test/allowed-skips.ts`);
  return failed > 0 || (strict && unlisted > 0) ? 1 : 0;
}

/** What a change to the time that all take has to look at. */
function sayLongest(took: ReadonlyMap<string, number>): void {
  const rows = [...took].sort(([, a], [, b]) => b - a).slice(0, longestShown);
  if (rows.length < 2) return;
  say('\nlongest files, seconds:');
  for (const [file, ms] of rows) say(`${(ms / 1000).toFixed(1).padStart(8)}  ${file}`);
}

function covers(row: AllowedSkip, skip: { file: string; reason: string }): boolean {
  return skip.reason.startsWith(row.reason) && skip.file.startsWith(row.file);
}

function say(line: string): void {
  process.stderr.write(`${line}\n`);
}
