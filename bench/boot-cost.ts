/**
 * Where the way to the shell goes: `node bench/boot-cost.ts [--append WORDS] [--initrd FILE] [--run COMMAND]`. Boots
 * the stock image in this process and tells, for each stage, milliseconds, the guest's instructions, and frames that
 * it has touched; `--run` gives the shell a command and tells what that takes. Times are of a busy host; instructions
 * hardly change from run to run.
 */
import { parseArgs } from 'node:util';
import { pullDebianImage } from '../src/host/images/index.ts';
import { createMachine, type MachineHandle } from '../src/host/machine/index.ts';
import { bootGuest, prompt } from './guest.ts';

const { values } = parseArgs({
  options: { append: { type: 'string' }, initrd: { type: 'string' }, run: { type: 'string' } },
});
// performance.now() counts from the start of the process.
process.stdout.write(`${'modules of ours loaded'.padEnd(44)} ${performance.now().toFixed(0)} ms\n`);
const guest = bootGuest(await pullDebianImage());
let last = 0;
let lastInstructions = 0;

async function stage(name: string, machine: MachineHandle): Promise<void> {
  const stats = await machine.stats();
  const vcpus = stats.vcpus as readonly { readonly instructions: number }[];
  const { touchedBytes } = stats.memory as { readonly touchedBytes: number };
  const instructions = vcpus.reduce((sum, vcpu) => sum + vcpu.instructions, 0);
  const now = performance.now();
  const cells = [
    `${(now - last).toFixed(0)} ms`,
    `${((instructions - lastInstructions) / 1e6).toFixed(1)} million instructions`,
    `${(touchedBytes / 2 ** 20).toFixed(1)} MiB touched so far`,
  ];
  process.stdout.write(`${name.padEnd(44)} ${cells.join(', ')}\n`);
  [last, lastInstructions] = [now, instructions];
}

last = performance.now();
const machine = await createMachine({
  kernel: guest.kernel,
  initrd: values.initrd ?? guest.initrd,
  append: `${guest.append} ${values.append ?? ''}`.trim(),
  memoryBytes: 512 * 2 ** 20,
  agent: false,
  network: false,
});
await stage('machine made, processor started', machine);

const commands = values.run === undefined ? [] : [values.run];
let seen = 0;
let isFirst = true;
let text = '';
machine.onConsole((bytes) => {
  text += Buffer.from(bytes).toString('latin1');
  if (isFirst) {
    isFirst = false;
    void stage('first byte on the console', machine);
  }
  const prompts = text.split(prompt).length - 1;
  if (prompts === seen) return;
  seen = prompts;
  void stage(prompts === 1 ? 'prompt of the shell' : `after ${values.run}`, machine);
  machine.writeConsole(Buffer.from(`${commands.shift() ?? 'poweroff -f'}\n`));
});
await machine.exited;
