/** A runner for a board's vCPUs: what the hypervisor asks for (devices, the SBI's console, memory, ends), joined. */
import type { EngineCode, Processor } from '../engine/index.ts';
import { Runner, type RunnerOptions, type RunnerPorts } from '../hypervisor/index.ts';
import { createDecoder, type Decoded, parseCpuModel } from '../isa/index.ts';
import { Translator, type TranslatorOptions } from '../translator/index.ts';
import type { Board } from './board.ts';

/** Steps between looks at the world: how long an interrupt may have to wait. */
export const SLICE_STEPS = 100_000;

export function boardRunner(
  board: Board,
  processor: Processor,
  ports: Pick<RunnerPorts, 'ticks' | 'stopped'> & Partial<Pick<Translator, 'collectGarbage'>>,
  options: Omit<RunnerOptions, 'emulation'>,
  signatures: EngineCode['signatures'],
): Runner {
  const { translation, cpu } = board.config;
  const translator = translation && translatorOf(board, processor, cpu, signatures, translation);
  if (translator !== undefined) translator.collectGarbage = ports.collectGarbage;
  for (const vcpu of board.vcpus) translator?.start(vcpu.state);
  return new Runner(
    board.memory,
    processor,
    board.world,
    {
      mmio: board.mmio,
      ticks: ports.ticks,
      stopped: ports.stopped,
      sbi: {
        consoleWrite: (bytes) => board.consoleWrite(bytes),
        consoleRead: (limit) => board.consoleRead(limit),
        readMemory: (gpa, into) => board.guestMemory.read(gpa, into),
        isWritable: (gpa, bytes) => board.guestMemory.isWritable(gpa, bytes),
        writeMemory: (gpa, from) => board.guestMemory.write(gpa, from),
        finish: (wish) =>
          board.finish(
            wish === 'failure' ? { kind: 'failure', code: 1 } : { kind: wish === 'reboot' ? 'reset' : 'poweroff' },
          ),
      },
    },
    { ...options, emulation: board.emulation },
    translator,
  );
}

function translatorOf(
  board: Board,
  processor: Processor,
  cpu: string,
  signatures: EngineCode['signatures'],
  options: TranslatorOptions,
): Translator {
  const { extensions, emulated } = parseCpuModel(cpu);
  const decoder = createDecoder(extensions);
  const emulation = emulated.size === 0 ? decoder : createDecoder(new Set([...extensions, ...emulated]));
  const { policies } = board.config;
  const isTrapped = ({ row, csr }: Decoded): boolean =>
    policies.some((policy) => policy.row === row.name || (row.kind === 'csr' && policy.csr === csr));
  const code = { decoder, emulation, isTrapped, hasCompressed: extensions.has('c'), signatures };
  return new Translator(board.memory, processor, code, options);
}
