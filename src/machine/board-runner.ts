/** A runner for a board's vCPUs: what the hypervisor asks for (devices, the SBI's console, memory, ends), joined. */
import type { EngineCode, MachineMemory, Processor } from '../engine/index.ts';
import { Runner, type RunnerOptions, type RunnerPorts } from '../hypervisor/index.ts';
import { createDecoder, type Decoded, parseCpuModel } from '../isa/index.ts';
import { type GuestCode, LocalTranslator, RemoteTranslator, type Translator } from '../translator/index.ts';
import type { Board } from './board.ts';
import type { BoardConfig } from './board-shape.ts';
import { TICKS_PER_MS } from './virt-map.ts';

/** Steps between looks at the world: how long an interrupt may have to wait. */
export const SLICE_STEPS = 100_000;

export function boardRunner(
  board: Board,
  processor: Processor,
  ports: Pick<RunnerPorts, 'ticks' | 'stopped'>,
  options: Omit<RunnerOptions, 'emulation'>,
  signatures: EngineCode['signatures'],
  translator: Translator | undefined = translatorOf(board, processor, ports, signatures),
): Runner {
  for (const vcpu of board.vcpus) translator?.start(vcpu.state);
  return new Runner(
    board.memory,
    processor,
    { world: board.world, exclusion: board.commons.exclusion },
    {
      mmio: board.mmio,
      ticks: ports.ticks,
      stopped: ports.stopped,
      ownPage: (vcpu, page) => board.ownPage(vcpu, page),
      sbi: {
        consoleWrite: (bytes) => board.consoleWrite(bytes),
        consoleRead: (limit) => board.consoleRead(limit),
        readMemory: (gpa, into) => board.kernelMemory.read(gpa, into),
        isWritable: (gpa, bytes) => board.kernelMemory.isWritable(gpa, bytes),
        writeMemory: (gpa, from) => board.kernelMemory.write(gpa, from),
        finish: (wish) =>
          board.finish(
            wish === 'failure' ? { kind: 'failure', code: 1 } : { kind: wish === 'reboot' ? 'reset' : 'poweroff' },
          ),
      },
    },
    { ...options, emulation: board.emulation, forks: board.commons.hasRoom },
    translator,
  );
}

/**
 * What the processor's code hands out and gives back enters the tables of the partition whose vCPU it is: for every
 * processor that runs vCPUs, or looks at them.
 */
export function tellOfFrames(
  processor: Pick<Processor, 'onHanded'>,
  boardOf: (partition: number) => Board | undefined,
): void {
  processor.onHanded = (partition, frame, page) => boardOf(partition)?.protection?.handed(frame, page);
}

/** What translates for the vCPUs that a thread runs, of whatever partition: here, or elsewhere (translation-thread.ts). */
export function translatorOf(
  { memory, config }: { readonly memory: MachineMemory; readonly config: BoardConfig },
  processor: Processor,
  { ticks }: Pick<RunnerPorts, 'ticks'>,
  signatures: EngineCode['signatures'],
  where: 'here' | 'elsewhere' = 'here',
): Translator | undefined {
  const { translation } = config;
  if (translation === undefined) return undefined;
  if (where === 'elsewhere') return new RemoteTranslator(memory, processor, translation);
  const nowMs = (): number => ticks() / TICKS_PER_MS;
  return new LocalTranslator(memory, processor, guestCode(config, signatures), translation, nowMs);
}

/** How the code of a board's harts is decoded. */
export function guestCode({ cpu, policies }: BoardConfig, signatures: EngineCode['signatures']): GuestCode {
  const { extensions, emulated } = parseCpuModel(cpu);
  const decoder = createDecoder(extensions);
  const emulation = emulated.size === 0 ? decoder : createDecoder(new Set([...extensions, ...emulated]));
  const isTrapped = ({ row, csr }: Decoded): boolean =>
    policies.some((policy) => policy.row === row.name || (row.kind === 'csr' && policy.csr === csr));
  return { decoder, emulation, isTrapped, hasCompressed: extensions.has('c'), signatures };
}
