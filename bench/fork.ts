/**
 * What twins cost: `node bench/fork.ts [--forks N] [--twins N] [--most MS] [--memory MIB] [--write KIB]`. Boots Debian in a
 * machine with room for twins, and
 *
 * - forks the guest N times while it works (checksums of random bytes, files written), and prints for how long it stood still
 *   each time; every twin answers a command before it is ended;
 * - lets it rest, makes so many twins that stay, has all of them at once run a command that writes `--write` KiB to a file and
 *   tells a number, and prints what memory each came to have beside its original's: frames of guests, and of the process.
 *
 * Exit code 1 if in nine of ten forks the guest stood still longer than `--most` (10 ms), if a twin does not answer, or answers
 * for another, or if a twin takes more than four times of what it wrote and 8 MiB besides.
 */
import { parseArgs } from 'node:util';
import { assert } from '../src/base/assert.ts';
import { findImage, pullDebianImage } from '../src/host/images/index.ts';
import { createMachine, type MachineHandle } from '../src/host/machine/index.ts';

const { values } = parseArgs({
  options: {
    forks: { type: 'string', default: '25' },
    twins: { type: 'string', default: '200' },
    most: { type: 'string', default: '10' },
    memory: { type: 'string', default: '256' },
    write: { type: 'string', default: '1024' },
  },
});
const MiB = 2 ** 20;
const [forks, twins, most] = [Number(values.forks), Number(values.twins), Number(values.most)];
const writeKib = Number(values.write);
/** Of address space, beside the twins' blocks: 4 GiB is all that there is. */
const ROOM = 1536 * MiB;
/** What a twin touches to run a command at all. */
const LEAST_OWN = 8 * MiB;
const say = (line: string): void => void process.stdout.write(`${line}\n`);
let isBeyond = false;

function distribution(name: string, figures: readonly number[], unit: string): (part: number) => number {
  const sorted = [...figures].sort((a, b) => a - b);
  const at = (part: number): number => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0;
  const [least, median, high, top] = [at(0), at(0.5), at(0.9), at(1)].map((one) => one.toFixed(1).padStart(8));
  say(`${name.padEnd(44)} ${least} ${median} ${high} ${top}   ${unit}, of ${sorted.length}`);
  return at;
}

function check(isWithin: boolean, what: string): void {
  say(`${isWithin ? 'within' : 'BEYOND'} the bound: ${what}`);
  isBeyond ||= !isWithin;
}

async function told(machine: MachineHandle, script: string): Promise<string> {
  const { code, stdout } = await machine.exec(['sh', '-c', script]);
  assert(code === 0, `${machine.info.name} answers with ${code}`);
  return Buffer.from(stdout).toString().trim();
}

const framesMib = async (machine: MachineHandle): Promise<number> =>
  ((await machine.stats()) as { memory: { touchedBytes: number } }).memory.touchedBytes / MiB;
const residentMib = (): number => process.memoryUsage.rss() / MiB;
const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;

const { kernel, initrd, commandLine } = (await findImage('debian')) ?? (await pullDebianImage());
await using first = await createMachine({
  ...{ kernel, initrd, append: commandLine, memoryBytes: Number(values.memory) * MiB },
  room: { partitions: Math.max(twins, 1) + 1, memoryBytes: ROOM },
});
await first.ready();
say(`                                                least   median      90%     most`);

const ended = new AbortController();
const work = first.exec(
  ['sh', '-c', 'while :; do head -c 300000 /dev/urandom > /tmp/work; md5sum /tmp/work; done > /dev/null'],
  { signal: ended.signal },
);
work.catch(() => {});
await new Promise((resolve) => setTimeout(resolve, 3000));
const pauses: number[] = [];
const answers: number[] = [];
for (let i = 0; i < forks; i++) {
  const start = performance.now();
  await using twin = await first.fork();
  pauses.push(twin.info.fork?.pausedMs ?? 0);
  assert((await told(twin, `echo ${i}`)) === `${i}`, 'the twin answers');
  answers.push(performance.now() - start);
}
const pause = distribution('a guest at work stands still for its twin', pauses, 'ms');
distribution('until the twin, at work too, has answered', answers, 'ms');
check(pause(0.9) <= most, `nine of ten forks within ${most} ms: ${pause(0.9).toFixed(1)}`);
ended.abort();
await work.catch(() => {});

const before = { frames: await framesMib(first), resident: residentMib() };
const started = performance.now();
const all: MachineHandle[] = [];
const restful: number[] = [];
for (let i = 0; i < twins; i++) {
  const twin = await first.fork({ name: `${first.info.name}-${i}` });
  restful.push(twin.info.fork?.pausedMs ?? 0);
  all.push(twin);
}
say(`${twins} twins of a guest at rest in ${seconds(performance.now() - started)}`);
distribution('it stands still for each', restful, 'ms');
const made = { frames: await framesMib(first), resident: residentMib() };
const asked = performance.now();
const script = (i: number): string =>
  `head -c ${writeKib * 1024} /dev/urandom > /written; echo ${i} > /number; sync; wc -c < /written; cat /number`;
const said = await Promise.all(all.map(async (twin, i) => await told(twin, script(i))));
const isRight = said.every((text, i) => text.split(/\s+/).join(' ') === `${writeKib * 1024} ${i}`);
check(
  isRight,
  `each of ${twins} twins wrote ${writeKib} KiB and told its own number, after ${seconds(performance.now() - asked)} together`,
);
const after = { frames: await framesMib(first), resident: residentMib() };
const perTwin = (from: number, to: number): string => ((to - from) / twins).toFixed(2).padStart(8);
say('MiB of each twin                                frames  process');
say(
  `as it was made                               ${perTwin(before.frames, made.frames)} ${perTwin(before.resident, made.resident)}`,
);
say(
  `when all had answered                        ${perTwin(before.frames, after.frames)} ${perTwin(before.resident, after.resident)}`,
);
const own = (after.frames - before.frames) / twins;
const bound = (4 * writeKib) / 1024 + LEAST_OWN / MiB;
check(own <= bound, `${own.toFixed(2)} MiB of frames for each, at most ${bound.toFixed(2)}`);
await Promise.all(all.map((twin) => twin.kill()));
check((await framesMib(first)) <= before.frames + 4, 'their frames came back');
process.exitCode = isBeyond ? 1 : 0;
