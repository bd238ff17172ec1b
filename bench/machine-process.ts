/**
 * One of our machines in a process of its own, so that its memory can be measured like QEMU's: started by measure.ts
 * with a MachineProcessStart as its argument. Console on stdin and stdout; over the channel it tells, for each line
 * of the console, how many instructions had been executed when it appeared, and the counters at the end. Asked for it
 * (the message 'memory') it tells what it knows of its memory, for memory.ts.
 */
import { keepCompiledModules } from '../src/cli/code-cache.ts';
import type { DriveOptions, MachineStats } from '../src/host/machine/index.ts';
import { startProcessorAhead } from '../src/host/machine/processor-worker-start.ts';
import type { BoardStats, PromotionMode, ShadowModel } from '../src/machine/index.ts';
import type { MemoryAccount } from './memory-account.ts';

export interface MachineProcessStart {
  readonly kernel: string;
  readonly initrd: string;
  readonly append: string;
  readonly memoryBytes: number;
  /** Default: no devices. */
  readonly network?: boolean;
  readonly drives?: readonly DriveOptions[];
  readonly pci?: boolean;
  readonly codeMemoryBytes?: number;
  readonly translate?: boolean;
  readonly promotion?: PromotionMode;
  readonly hotThreshold?: number;
  readonly shadows?: number;
  readonly asidBits?: number;
  readonly shadowModel?: ShadowModel;
  readonly protection?: boolean;
  readonly nested?: boolean;
  readonly combinedShadows?: boolean;
}

export type MachineProcessMessage =
  | {
      readonly kind: 'line';
      readonly text: string;
      readonly instructions: number;
      readonly refills: number;
      readonly walks: number;
    }
  | { readonly kind: 'memory'; readonly account: MemoryAccount }
  | { readonly kind: 'end'; readonly reason: string; readonly stats: MachineStats };

async function main(): Promise<void> {
  const start = JSON.parse(process.argv[2] ?? '{}') as MachineProcessStart;
  // As the command does.
  keepCompiledModules();
  startProcessorAhead();
  const { createMachine } = await import('../src/host/machine/index.ts');
  const { memoryAccount } = await import('./memory-account.ts');
  const machine = await createMachine({ network: false, ...start, agent: false });
  let partial = '';
  const tell = (message: MachineProcessMessage): void => void process.send?.(message);
  machine.onConsole((bytes) => {
    process.stdout.write(bytes);
    const lines = (partial + Buffer.from(bytes).toString('latin1')).split('\n');
    partial = lines.pop() ?? '';
    if (lines.length === 0) return;
    void machine.stats().then((stats) => {
      for (const text of lines) tell({ kind: 'line', text: text.trim(), ...countsOf(stats) });
    });
  });
  process.stdin.on('data', (bytes: Buffer) => machine.writeConsole(bytes));
  process.on('message', (message) => {
    if (message === 'memory') void memoryAccount(machine).then((account) => tell({ kind: 'memory', account }));
  });
  const { reason, message } = await machine.exited;
  tell({ kind: 'end', reason: message === undefined ? reason : `${reason}: ${message}`, stats: await machine.stats() });
  process.stdin.destroy();
  process.disconnect?.();
}

/** Of all harts: instructions executed, misses of the translation buffers, walks among these. */
function countsOf(stats: MachineStats): { instructions: number; refills: number; walks: number } {
  const vcpus = stats.vcpus as BoardStats['vcpus'];
  return {
    instructions: vcpus.reduce((sum, vcpu) => sum + vcpu.instructions, 0),
    refills: vcpus.reduce((sum, { shadows }) => sum + shadows.refillsByShadow + shadows.refillsByWalk, 0),
    walks: vcpus.reduce((sum, { shadows }) => sum + shadows.refillsByWalk, 0),
  };
}

await main();
