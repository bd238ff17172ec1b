/**
 * How long it takes until a guest of a snapshot answers: `node bench/restore.ts [--runs N] [--most MS] [--memory MIB]`.
 * Boots Debian with the package as npm publishes it, takes snapshots of it, and starts `kage restore FILE -- echo` anew
 * for each run, `kage run -- echo` with and without the snapshot of an earlier boot, and a program that uses the library.
 * Each time is from the start of the process to the answer, in which all is contained: Node's own start, the guest's
 * memory, its kernel and shell or agent, which stand as they were. Of one row, from the call of the library's function in
 * a program that runs. Files are in the host's page cache.
 *
 * Prints distributions, and how long guests stood still for their snapshots. Exit code 1 if the median until the shell at
 * the console of the uncompressed one answers is beyond `--most` (300 ms).
 */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { assert } from '../src/base/assert.ts';
import type { SnapshotResult } from '../src/host/index.ts';
import { kageProgram } from './machine-program.ts';

const { values } = parseArgs({
  options: {
    runs: { type: 'string', default: '11' },
    most: { type: 'string', default: '300' },
    memory: { type: 'string', default: '256' },
  },
});
const runs = Number(values.runs);
const say = (line: string): void => void process.stdout.write(`${line}\n`);
const kage = kageProgram(say);
const folder = mkdtempSync(join(tmpdir(), 'kagemusha-restore-'));
const env = { ...process.env, XDG_RUNTIME_DIR: folder, XDG_STATE_HOME: join(folder, 'state') };
const answer = 'the answer';
type Who = 'shell' | 'command' | 'program';
const machine = ['-m', `${values.memory}M`, '-q'];

/** Of a user's program: it has a machine of the file in its own process. */
const program = (file: string): string => `
  import { restoreMachine } from ${JSON.stringify(pathToFileURL(join(kage, '../../index.js')).href)};
  await using machine = await restoreMachine(${JSON.stringify(file)});
  process.stdout.write((await machine.exec(['echo', ${JSON.stringify(answer)}])).stdout);`;

/** Of a program that runs already: prints the milliseconds from its call until the shell at the guest's console answers. */
const library = (file: string): string => `
  import { restoreMachine } from ${JSON.stringify(pathToFileURL(join(kage, '../../index.js')).href)};
  const start = performance.now();
  await using machine = await restoreMachine(${JSON.stringify(file)});
  let said = '';
  const answered = new Promise((resolve) => machine.onConsole((bytes) => {
    said += Buffer.from(bytes).toString('latin1');
    if (said.includes(${JSON.stringify(answer)})) resolve();
  }));
  machine.writeConsole(Buffer.from(${JSON.stringify(`echo ${answer.replace(' ', "' '")}\r`)}));
  await answered;
  console.log(performance.now() - start);`;

/** Milliseconds from the start of the process to the answer: of the shell at the console, of a command, to a program. */
async function timed(words: readonly string[], who: Who): Promise<number> {
  const start = performance.now();
  const command = who === 'command' ? ['--', 'echo', answer] : [];
  const given = who === 'program' ? words : [kage, ...words, ...command];
  const child = spawn(process.execPath, given, { env, stdio: ['pipe', 'pipe', 'inherit'] });
  let said = '';
  let answered = 0;
  const ended = new Promise((resolve) => child.once('close', resolve));
  // What is typed shows on the console as well, so that it must not look like the answer.
  if (who === 'shell') child.stdin.write(`echo ${answer.replace(' ', "' '")}\r`);
  else child.stdin.end();
  child.stdout.on('data', (bytes: Buffer) => {
    said += bytes.toString();
    if (answered !== 0 || !said.includes(answer)) return;
    answered = performance.now() - start;
    if (who === 'shell') child.kill();
  });
  const code = await ended;
  assert(answered > 0 && (code === 0 || who === 'shell'), `${words.join(' ')}: exit code ${code}, said ${said}`);
  return answered;
}

function ask(...words: readonly string[]): string {
  const { status, stdout } = spawnSync(process.execPath, [kage, ...words], {
    env,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  assert(status === 0, `${words.join(' ')}: exit code ${status}`);
  return stdout;
}

/** The same, as the program tells. */
function told(file: string): number {
  const { status, stdout } = spawnSync(process.execPath, [file], {
    ...{ env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] },
  } as const);
  assert(status === 0, `exit code ${status}`);
  return Number(stdout);
}

/** Prints a distribution; its median. */
async function distribution(
  name: string,
  count: number,
  words: readonly string[],
  who: Who | 'library' = 'command',
): Promise<number> {
  const times: number[] = [];
  for (let run = 0; run < count; run++) times.push(who === 'library' ? told(words[0] ?? '') : await timed(words, who));
  times.sort((a, b) => a - b);
  const at = (part: number): number => times[Math.min(times.length - 1, Math.floor(times.length * part))] ?? 0;
  const [least, median, high, most] = [at(0), at(0.5), at(0.9), at(1)].map((ms) => ms.toFixed(0).padStart(6));
  say(`${name.padEnd(44)} ${least} ${median} ${high} ${most}   of ${count}`);
  return at(0.5);
}

try {
  ask('run', ...machine, '-d', '-n', 'bench', '--boot-snapshot', 'off');
  ask('exec', 'bench', '--', 'true');
  const paths = ['packed', 'plain', 'increment'].map((name) => join(folder, `${name}.kage`));
  const [packed = '', plain = '', increment = ''] = paths;
  const results = [
    ['compressed', ask('snapshot', 'bench', packed, '--format', 'json')],
    ['uncompressed', ask('snapshot', 'bench', plain, '--no-compress', '--format', 'json')],
    ['increment', ask('snapshot', 'bench', increment, '--base', packed, '--format', 'json')],
  ] as const;
  ask('kill', 'bench');
  say(`snapshot of a guest with ${values.memory} MiB             file  memory  stood still`);
  for (const [name, text] of results) {
    const { sizeBytes, pages, pausedMs } = JSON.parse(text) as SnapshotResult;
    const sizes = [sizeBytes / 2 ** 20, pages / 256].map((mib) => `${mib.toFixed(1).padStart(6)}M`);
    say(`${name.padEnd(44)} ${sizes.join(' ')} ${pausedMs.toFixed(0).padStart(9)} ms`);
  }
  say('milliseconds to the answer                     least median    90%   most');
  await distribution('kage restore, compressed', runs, ['restore', packed, '-q']);
  await distribution('kage restore, increment', runs, ['restore', increment, '-q']);
  await distribution('kage restore, uncompressed', runs, ['restore', plain, '-q']);
  const shell = await distribution('... to the shell at its console', runs, ['restore', plain, '-q'], 'shell');
  writeFileSync(join(folder, 'program.mjs'), program(plain));
  await distribution('restoreMachine and exec in a program', runs, [join(folder, 'program.mjs')], 'program');
  writeFileSync(join(folder, 'library.mjs'), library(plain));
  await distribution('restoreMachine to the shell, of its call', runs, [join(folder, 'library.mjs')], 'library');
  await distribution('kage run, booted anew', 3, ['run', ...machine, '--boot-snapshot', 'off']);
  await timed(['run', ...machine], 'command');
  await distribution('kage run, after the first boot', runs, ['run', ...machine]);
  const isWithin = shell <= Number(values.most);
  say(`${isWithin ? 'within' : 'BEYOND'} the bound: a responding shell after ${shell.toFixed(0)} of ${values.most} ms`);
  process.exitCode = isWithin ? 0 : 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
