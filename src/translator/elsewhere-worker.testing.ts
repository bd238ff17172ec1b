/** The other thread of elsewhere.testing.ts: translates until it is ended. */
import { parentPort } from 'node:worker_threads';
import { MachineMemory, Processor, vcpuState } from '../engine/index.ts';
import { createDecoder, parseCpuModel } from '../isa/index.ts';
import type { ElsewhereStart } from './elsewhere.testing.ts';
import { TranslationService } from './translation-service.ts';

parentPort?.once('message', ({ memory, shape, module, signatures, cpu, options, at }: ElsewhereStart) => {
  const { extensions } = parseCpuModel(cpu);
  const state = vcpuState.view(memory.buffer, at);
  const service = new TranslationService(
    new MachineMemory(memory, shape),
    new Processor(module, memory, { width: shape.description.width, ticks: () => 0 }),
    { decoder: createDecoder(extensions), hasCompressed: extensions.has('c'), signatures },
    [{ at, state }],
    options,
  );
  for (;;) service.wait();
});
