/** Answers the exits of a bare hart of the engine by the emulation module, with overlays or by trap each time. */
import { assert } from '../base/assert.ts';
import type { BareHart } from '../engine/engine.testing.ts';
import { type Exit, MMIO_ANSWER } from '../engine/index.ts';
import type { LockstepOptions } from '../engine/lockstep.testing.ts';
import { type CpuModel, parseCpuModel } from '../isa/index.ts';
import { Emulation } from './emulation.ts';
import { hartBlock } from './hart-block.ts';
import { Vcpu } from './vcpu.ts';

/** `hart`: made with room for a hart block (blockBytes). */
export function emulationOf(
  hart: BareHart,
  { extensions, emulated }: CpuModel,
  overlay: boolean,
): { readonly vcpu: Vcpu; readonly emulation: Emulation; answer(exit: Exit): void } {
  const vcpu = new Vcpu(hart.memory, 0, hart.at, hart.memory.block(hartBlock.sizeBytes));
  const emulation = new Emulation(hart.memory, hart.processor, [vcpu], {
    ...{ extensions, emulated, overlay },
    policyOf: () => undefined,
  });
  return {
    vcpu,
    emulation,
    answer(exit) {
      vcpu.acknowledgeCodeMarks(hart.processor);
      if (exit.kind === 'trapped') emulation.trapped(vcpu, exit.bits, exit.policy);
      else if (exit.kind === 'overlay') {
        assert(emulation.provide(vcpu), 'there is no place for an overlay');
        vcpu.forgetTranslations();
      } else {
        assert(exit.kind === 'illegal', `the engine left: ${exit.kind}`);
        // There are no devices here.
        while (emulation.illegal(vcpu, exit.bits) === 'unfinished') vcpu.state.mmioAnswer = MMIO_ANSWER.refused;
      }
    },
  };
}

/** For random programs in lockstep. */
export function lockstepEmulation(
  cpu: string,
  overlays: number,
): Pick<LockstepOptions, 'cpu' | 'emulation'> & { seen(): { emulations: number; substituted: bigint } } {
  let seen = (): { emulations: number; substituted: bigint } => ({ emulations: 0, substituted: 0n });
  return {
    cpu,
    seen: () => seen(),
    emulation: {
      overlays,
      attach(engine) {
        const { vcpu, answer } = emulationOf(engine, parseCpuModel(cpu), overlays > 0);
        seen = () => ({ emulations: vcpu.hart.emulations, substituted: vcpu.state.emulated });
        return answer;
      },
    },
  };
}
