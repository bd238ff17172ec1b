/**
 * What a heart costs a guest: `node bench/heartbeat.ts [--seconds N]`. Debian's stock kernel with our initramfs idles, without
 * a heart and with one at several intervals; from the instructions that it executes meanwhile, those of one beat, and the
 * time of its processor that they are. Beside it, what a process costs the guest that a shell starts for nothing. Prints each
 * figure; returns nonzero where a beat costs more than half of that.
 */
import { parseArgs } from 'node:util';
import { pullDebianImage } from '../src/host/images/index.ts';
import { createMachine, type MachineHandle } from '../src/host/machine/index.ts';

const BOUND = 0.5;
const PROCESSES = 200;
const INTERVALS_MS = [1000, 100, 20] as const;

const { values } = parseArgs({ options: { seconds: { type: 'string', default: '10' } } });
const seconds = Number(values.seconds);
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function instructions(machine: MachineHandle): Promise<number> {
  const { vcpus } = (await machine.stats()) as { vcpus: readonly { instructions: number }[] };
  return vcpus.reduce((sum, { instructions: own }) => sum + own, 0);
}

/** A second of it, and the share of a processor of this host that the process had meanwhile. */
async function second(machine: MachineHandle): Promise<{ instructions: number; share: number; beats: number }> {
  const beats = (): number => machine.info.agent?.heartbeat.heard ?? 0;
  const [before, heard, cpu] = [await instructions(machine), beats(), process.cpuUsage()];
  const since = performance.now();
  await sleep(seconds * 1000);
  const tookS = (performance.now() - since) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  return {
    instructions: ((await instructions(machine)) - before) / tookS,
    share: (user + system) / 1e6 / tookS,
    beats: (beats() - heard) / tookS,
  };
}

const { kernel, initrd, commandLine } = await pullDebianImage();
await using machine = await createMachine({
  ...{ kernel, initrd, append: commandLine, memoryBytes: 256 << 20, network: false },
});
await machine.ready();
await sleep(5000);
const idle = await second(machine);
const line = (name: string, ...cells: string[]): void => console.log([name.padEnd(12), ...cells].join('  '));
line('interval', 'instructions/s'.padStart(14), 'of a processor'.padStart(14), 'a beat'.padStart(9));
const row = (name: string, one: typeof idle, beat: string): void =>
  line(
    name,
    one.instructions.toFixed(0).padStart(14),
    `${(one.share * 100).toFixed(1)} %`.padStart(14),
    beat.padStart(9),
  );
row('off', idle, '');
/** Instructions of a process that a shell starts, and that ends at once. */
async function processCost(): Promise<number> {
  const run = async (count: number): Promise<number> => {
    const before = await instructions(machine);
    await machine.exec(['sh', '-c', `i=0; while [ $i -lt ${count} ]; do i=$((i + 1)); /bin/sleep 0; done`]);
    return (await instructions(machine)) - before;
  };
  const none = await run(0);
  return ((await run(PROCESSES)) - none) / PROCESSES;
}

const aProcess = await processCost();
let isCheap = true;
for (const intervalMs of INTERVALS_MS) {
  await machine.setHeartbeat(intervalMs);
  await sleep(2000);
  const one = await second(machine);
  const beat = (one.instructions - idle.instructions) / one.beats;
  if (beat > aProcess * BOUND) isCheap = false;
  row(`${intervalMs} ms`, one, beat.toFixed(0));
}
line('a process', ''.padStart(14), ''.padStart(14), aProcess.toFixed(0).padStart(9));
process.exitCode = isCheap ? 0 : 1;
