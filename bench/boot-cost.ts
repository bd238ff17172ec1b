/**
 * Where the way to the shell goes: `node bench/boot-cost.ts [--qemu] [--functions] [--no-translate] [--hot-threshold N]
 * [--append WORDS] [--initrd FILE] [--run COMMAND]`. Boots the stock image in this process and tells, for each stage,
 * milliseconds, processor time by thread, the guest's instructions, and frames that it has touched; then what was
 * translated, what that took, and why the guest's processor left the engine. `--qemu` boots QEMU before, for comparison;
 * `--functions` tells which kernel functions the instructions were spent in; `--run` gives the shell a command and tells
 * what that takes. Times are of a busy host; instructions hardly change from run to run.
 */
import { parseArgs } from 'node:util';
import { keepCompiledModules } from '../src/cli/code-cache.ts';
import type { MachineHandle, MachineOptions } from '../src/host/machine/index.ts';
import type { BoardStats } from '../src/machine/index.ts';
import { threadTimes } from './thread-times.ts';

const { values } = parseArgs({
  options: {
    ...{ append: { type: 'string' }, initrd: { type: 'string' }, run: { type: 'string' } },
    ...{ qemu: { type: 'boolean' }, functions: { type: 'boolean' }, 'no-translate': { type: 'boolean' } },
    'hot-threshold': { type: 'string' },
  },
});
// As the command does, before it loads anything.
keepCompiledModules();
const { pullDebianImage } = await import('../src/host/images/index.ts');
const { createMachine } = await import('../src/host/machine/index.ts');
const { bootGuest, prompt } = await import('./guest.ts');
const { FunctionProfile } = await import('./function-profile.ts');
const { measure } = await import('./measure.ts');

function say(name: string, ...cells: readonly string[]): void {
  process.stdout.write(`${name.padEnd(34)} ${cells.join(', ')}\n`);
}

/** The machine is in this process: its counters are a board's. */
async function statsOf(machine: MachineHandle): Promise<BoardStats> {
  return (await machine.stats()) as unknown as BoardStats;
}

let last = 0;
let lastInstructions = 0;
let lastTimes = new Map<string, number>();

/** What happened since the last stage; performance.now() counts from the start of the process. */
async function stage(name: string, machine?: MachineHandle): Promise<void> {
  const stats = machine && (await statsOf(machine));
  const instructions = (stats?.vcpus ?? []).reduce((sum, vcpu) => sum + vcpu.instructions, 0);
  const now = performance.now();
  const times = threadTimes();
  const busy = [...times].map(([thread, ms]) => [thread, ms - (lastTimes.get(thread) ?? 0)] as const);
  say(
    name,
    `${(now - last).toFixed(0)} ms`,
    ...(stats
      ? [
          `${((instructions - lastInstructions) / 1e6).toFixed(1)} million instructions`,
          `${(stats.memory.touchedBytes / 2 ** 20).toFixed(1)} MiB touched so far`,
        ]
      : []),
  );
  const shown = busy.filter(([, ms]) => ms >= 1).map(([thread, ms]) => `${thread} ${ms.toFixed(0)}`);
  if (shown.length > 0) say('', `processor ms: ${shown.join(', ')}`);
  [last, lastInstructions, lastTimes] = [now, instructions, times];
}

async function summary(machine: MachineHandle): Promise<void> {
  const { vcpus, translation, memory } = await statsOf(machine);
  const { tookMs } = translation;
  const translated = vcpus.reduce((sum, vcpu) => sum + vcpu.translated, 0);
  const instructions = vcpus.reduce((sum, vcpu) => sum + vcpu.instructions, 0);
  say('', '');
  say(
    'instructions',
    `${((instructions - translated) / 1e6).toFixed(1)} million interpreted, ${(translated / 1e6).toFixed(1)} translated`,
  );
  say(
    'regions',
    `${translation.regions} made in ${translation.modules} modules, ${translation.dropped} dropped`,
    `${(memory.codeBytes / 2 ** 20).toFixed(1)} MiB of code memory, dropped ${memory.codeFlushes} times`,
  );
  say('translation, ms by phase', ...Object.entries(tookMs).map(([phase, ms]) => `${phase} ${ms}`));
  for (const { exits, sleeps, sbiCalls } of vcpus) {
    const causes = Object.entries(exits).filter(([, count]) => count > 0);
    say('exits by cause', ...causes.map(([cause, count]) => `${cause} ${count}`), `${sbiCalls} calls of the SBI`);
    say('waits of the guest', `${sleeps} sleeps`);
  }
}

await stage('modules of ours loaded');
const guest = bootGuest(await pullDebianImage());
if (values.qemu) {
  const [shell] = (await measure('qemu', guest, { limitMs: 600_000 })).samples;
  say('QEMU to its shell', `${((shell?.seconds ?? 0) * 1000).toFixed(0)} ms`);
  say('', `processor ms: ${((shell?.cpuSeconds ?? 0) * 1000).toFixed(0)}`);
  [last, lastTimes] = [performance.now(), threadTimes()];
}
const append = `${guest.append} ${values.append ?? ''}`.trim();
const options: MachineOptions = {
  kernel: guest.kernel,
  initrd: values.initrd ?? guest.initrd,
  // The agent hands out the kernel's symbols.
  append: values.functions ? append.replace('kage.agent=off', '') : append,
  memoryBytes: 512 * 2 ** 20,
  agent: values.functions ?? false,
  network: false,
  translate: !values['no-translate'],
  ...(values['hot-threshold'] === undefined ? {} : { hotThreshold: Number(values['hot-threshold']) }),
};
const machine = await createMachine(options);
await stage('machine made', machine);
const profile = values.functions ? new FunctionProfile(machine) : undefined;
while ((await statsOf(machine)).vcpus.every((vcpu) => vcpu.instructions === 0))
  await new Promise((resolve) => setTimeout(resolve, 1));
await stage('first instructions executed', machine);

const commands = values.run === undefined ? [] : [values.run];
let seen = 0;
let text = '';
machine.onConsole(async (bytes) => {
  text = (text + Buffer.from(bytes).toString('latin1')).slice(-4096);
  if (!text.includes(prompt)) return;
  text = '';
  seen++;
  await stage(seen === 1 ? 'prompt of the shell' : `after ${values.run}`, machine);
  if (seen === 1) {
    await summary(machine);
    for (const line of (await profile?.end()) ?? []) say(...line);
  }
  machine.writeConsole(Buffer.from(`${commands.shift() ?? 'poweroff -f'}\n`));
});
await machine.exited;
