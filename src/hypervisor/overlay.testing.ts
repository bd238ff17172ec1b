/**
 * Two vCPUs over one memory, for tests of the code overlay: each with a partition, a map of its own in which the code
 * pages are the same frames, and data pages of its own. Traps end in a loop at the vector.
 *
 *   BASE, 2 pages code (both the same frames)    BASE + 8 KiB, 1 page vector    BASE + 12 KiB, 2 pages data (own)
 */
import { assert, must } from '../base/assert.ts';
import type { HotCode } from '../engine/engine.testing.ts';
import {
  type Exit,
  FRAME_BYTES,
  GuestPhysicalMap,
  generateEngine,
  MachineMemory,
  MMIO_ANSWER,
  PLAN,
  type Policy,
  Processor,
  placeShadows,
  shadowBytes,
  vcpuState,
} from '../engine/index.ts';
import { assemble, type CpuModel, createDecoder, type Decoded, featuresOf, parseCpuModel } from '../isa/index.ts';
import { translating } from '../translator/translation.testing.ts';
import { Emulation } from './emulation.ts';
import { hartBlock } from './hart-block.ts';
import { Vcpu } from './vcpu.ts';

export const BASE = 0x8000_0000;
export const CODE_BYTES = 2 * FRAME_BYTES;
export const VECTOR = BASE + CODE_BYTES;
export const DATA = VECTOR + FRAME_BYTES;
const PAGES = 5;
const FIRST = BASE / FRAME_BYTES;

export interface BenchOptions {
  readonly cpu?: string;
  readonly partitions?: readonly [number, number];
  /** Places; 0: none are made. */
  readonly overlays?: number;
  readonly policies?: readonly Policy[];
  /** Translates whatever is reached. */
  readonly translates?: boolean;
}

export class OverlayBench {
  readonly memory: MachineMemory;
  readonly vcpus: readonly [Vcpu, Vcpu];
  readonly processor: Processor;
  readonly emulation: Emulation;
  readonly #maps: readonly GuestPhysicalMap[];
  readonly #translator: HotCode | undefined;

  constructor(options: BenchOptions = {}) {
    const { cpu = 'rv64,zba=emulate', partitions = [0, 0], overlays = 4, policies = [] } = options;
    const model: CpuModel = parseCpuModel(cpu);
    const mapBytes = (FIRST + PAGES) * 4;
    this.memory = MachineMemory.create({
      ...{ width: 32, shared: true, codeBytes: 1 << 20, frames: 2 * PAGES, overlays },
      blockBytes: 2 * (mapBytes + vcpuState.sizeBytes + shadowBytes() + hartBlock.sizeBytes) + 4096,
    });
    const code = generateEngine(this.memory.shape.description, model.extensions, model.emulated);
    code.tables.write(this.memory.buffer);
    code.tables.writePolicies(this.memory.buffer, policies);
    const module = new WebAssembly.Module(code.bytes);
    this.processor = new Processor(module, this.memory.memory, { width: 32, ticks: () => 0 });
    if (options.translates) {
      const own = createDecoder(model.extensions);
      const decoders = {
        decoder: own,
        emulation: createDecoder(new Set([...model.extensions, ...model.emulated])),
        isTrapped: ({ row, csr }: Decoded) =>
          policies.some((policy) => policy.row === row.name || (row.kind === 'csr' && policy.csr === csr)),
      };
      const { memory, processor } = this;
      this.#translator = translating()(decoders)?.({ memory, processor, module, signatures: code.signatures });
    }
    this.#maps = [0, 1].map(() => {
      const map = new GuestPhysicalMap(this.memory, this.memory.block(mapBytes), FIRST + PAGES);
      map.declare(BASE, PAGES * FRAME_BYTES, { readOnly: false });
      return map;
    });
    for (let page = 0; page < 3; page++) {
      must(this.#maps[0]).host(FIRST + page, 'setup');
      const entry = (map: GuestPhysicalMap): number => map.at / 4 + FIRST + page;
      this.memory.u32[entry(must(this.#maps[1]))] = must(this.memory.u32[entry(must(this.#maps[0]))]);
    }
    const vcpu = (id: 0 | 1): Vcpu => {
      const made = new Vcpu(
        this.memory,
        id,
        this.memory.block(vcpuState.sizeBytes),
        this.memory.block(hartBlock.sizeBytes),
      );
      placeShadows(this.memory, made.state, this.memory.block(shadowBytes()));
      const map = must(this.#maps[id]);
      Object.assign(made.state, {
        ...{ gpaMap: BigInt(map.at), gpaPages: BigInt(map.pages), features: featuresOf(model.extensions) },
        ...{ clockMode: 1, mode: 3n, hasPeers: 1, partition: partitions[id], mtvec: BigInt(VECTOR) },
      });
      this.processor.contextChanged(made.at);
      this.#translator?.start(made.state);
      return made;
    };
    this.vcpus = [vcpu(0), vcpu(1)];
    this.emulation = new Emulation(this.memory, this.processor, this.vcpus, {
      ...{ ...model, overlay: overlays > 0 },
      policyOf: (row) => {
        const i = policies.findIndex((policy) => policy.row === row);
        return i < 0 ? undefined : i + 1;
      },
    });
    this.write(VECTOR, assemble('1: j 1b', BigInt(VECTOR)).bytes);
  }

  /** Puts a program there, as a loader or a device would. */
  program(source: string, at = BASE): void {
    this.write(at, assemble(source, BigInt(at)).bytes);
  }

  /** Writes shared pages as a device would. */
  write(gpa: number, bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      const offset = (gpa + done) % FRAME_BYTES;
      const host = this.host(gpa + done - offset);
      const count = Math.min(FRAME_BYTES - offset, bytes.length - done);
      this.memory.u8.set(bytes.subarray(done, done + count), host + offset);
      this.processor.written(must(this.vcpus[0]).at, host + offset, count);
      done += count;
    }
  }

  read(gpa: number, bytes: number): Uint8Array {
    const host = this.host(gpa);
    return this.memory.u8.slice(host, host + bytes);
  }

  /** Linear address, as the first vCPU's map has it. */
  host(gpa: number): number {
    const page = must(this.#maps[0]).host(Math.floor(gpa / FRAME_BYTES), 'setup');
    return page + (gpa % FRAME_BYTES);
  }

  isDecoded(gpa: number): boolean {
    return this.memory.u32[PLAN.frameTable / 4 + Math.floor(this.host(gpa) / FRAME_BYTES)] !== 0;
  }

  /** Runs the vCPU from `pc` until it waits (wfi), stands in the vector's loop, or makes so many steps. */
  run(id: 0 | 1, pc: number | undefined, steps = 10_000): { readonly exits: string[]; readonly last: Exit } {
    const vcpu = this.vcpus[id];
    const { state } = vcpu;
    if (pc !== undefined) state.pc = BigInt(pc);
    const exits: string[] = [];
    const end = state.steps + BigInt(steps);
    for (;;) {
      vcpu.running = true;
      vcpu.acknowledgeCodeMarks(this.processor);
      assert(this.#translator?.prepare(state) !== false, 'code memory is full');
      const exit = this.processor.run(vcpu.at, state, Number(end - state.steps));
      vcpu.running = false;
      if (exit.kind !== 'budget') exits.push(exit.kind);
      if (exit.kind === 'mmio') {
        state.mmioAnswer = MMIO_ANSWER.refused;
        continue;
      }
      if (exit.kind === 'illegal') {
        while (this.emulation.illegal(vcpu, exit.bits) === 'unfinished') state.mmioAnswer = MMIO_ANSWER.refused;
      } else if (exit.kind === 'trapped') this.emulation.trapped(vcpu, exit.bits, exit.policy);
      else if (exit.kind === 'overlay') {
        if (this.emulation.provide(vcpu)) vcpu.forgetTranslations();
      } else if (exit.kind !== 'fenceInstruction') return { exits, last: exit };
      if (state.steps >= end) return { exits, last: { kind: 'budget' } };
    }
  }

  x(id: 0 | 1, register: number): bigint {
    return must(this.vcpus[id].state.x[register]);
  }
}
