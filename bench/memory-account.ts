/**
 * What a machine of ours knows of its memory, in its own process: the heaps of its threads, and what lies where in the
 * one memory that it shares. How much of it is resident only the kernel knows (resident.ts).
 */
import { AssertionError } from '../src/base/assert.ts';
import { FRAME_BYTES, type MachineMemory } from '../src/engine/index.ts';
import type { MachineHandle } from '../src/host/machine/index.ts';
import { LocalMachine } from '../src/host/machine/machine.ts';
import { ModuleLog } from '../src/translator/module-log.ts';

export interface MemoryAccount {
  /** Of the shared memory. */
  readonly sizeBytes: number;
  /** Parts of the shared memory, without gaps, by offset. */
  readonly areas: readonly Area[];
  readonly heaps: readonly HeapAccount[];
  readonly frames: { readonly used: number; readonly zero: number };
  /** What code memory holds: bytes handed out, of which decoded pages, modules, and room kept for the host's code. */
  readonly code: { readonly usedBytes: number; readonly moduleBytes: number; readonly modules: number };
}

export interface Area {
  readonly name: string;
  readonly start: number;
  readonly end: number;
}

export interface HeapAccount {
  readonly thread: string;
  readonly residentBytes: number;
  readonly usedBytes: number;
  readonly externalBytes: number;
  readonly mallocedBytes: number;
  readonly peakMallocedBytes: number;
}

/** Takes a while: it reads all frames that the guest has. */
export async function memoryAccount(machine: MachineHandle): Promise<MemoryAccount> {
  if (!(machine instanceof LocalMachine)) throw new AssertionError('the machine is not in this process');
  const { memory } = machine.board;
  const modules = new ModuleLog(memory).since(0);
  return {
    sizeBytes: memory.shape.sizeBytes,
    areas: areasOf(memory),
    heaps: (await machine.heaps()).map(({ thread, heap }) => ({
      thread,
      residentBytes: heap.total_physical_size,
      usedBytes: heap.used_heap_size,
      externalBytes: heap.external_memory,
      mallocedBytes: heap.malloced_memory,
      peakMallocedBytes: heap.peak_malloced_memory,
    })),
    frames: { used: memory.framesUsed, zero: zeroFrames(memory) },
    code: {
      usedBytes: memory.codeBytes,
      moduleBytes: modules.reduce((sum, { bytes }) => sum + bytes.length, 0),
      modules: modules.length,
    },
  };
}

function areasOf(memory: MachineMemory): Area[] {
  const { decodedFirst, codeEnd, overlayFirst, frameFirst, frameLimit } = memory.header;
  const bounds: [string, number][] = [
    ['tables and blocks', 0],
    ['code memory', decodedFirst],
    ['overlays', Math.max(codeEnd, overlayFirst)],
    ["the guest's frames", frameFirst * FRAME_BYTES],
    ['rest', frameLimit * FRAME_BYTES],
  ];
  return bounds.map(([name, start], i) => ({ name, start, end: bounds[i + 1]?.[1] ?? memory.shape.sizeBytes }));
}

/** Frames that were handed out and hold nothing but zeros. */
function zeroFrames(memory: MachineMemory): number {
  const words = FRAME_BYTES / 8;
  const { frameFirst, frameNext } = memory.header;
  let zero = 0;
  for (let frame = frameFirst; frame < frameNext; frame++) {
    let at = frame * words;
    const end = at + words;
    while (at < end && memory.u64[at] === 0n) at++;
    if (at === end) zero++;
  }
  return zero;
}
