/**
 * Several vCPUs over one memory, in turns on one thread, with the machine's own runner: for tests in which the order of
 * their slices is known. Each has a processor and a translator of its own, as on threads of their own, or all share
 * one, as by the instruction clock. There are no devices, and of the
 * SBI what needs none.
 */
import { assert, must } from '../base/assert.ts';
import { type BareHartOptions, moduleFor } from '../engine/engine.testing.ts';
import {
  FRAME_BYTES,
  GuestPhysicalMap,
  MachineMemory,
  MMIO_ANSWER,
  Processor,
  placeShadows,
  type ShadowOptions,
  shadowBytes,
  type VcpuState,
  vcpuState,
} from '../engine/index.ts';
import type { Translator } from '../translator/index.ts';
import { Exclusion, exclusionBlock } from './exclusion.ts';
import { EXIT_KINDS, hartBlock, worldBlock } from './hart-block.ts';
import { Runner, type RunnerPorts } from './runner.ts';
import { Vcpu } from './vcpu.ts';
import { World } from './world.ts';

export interface HartsOptions {
  readonly harts: number;
  /** One processor and translator for all, or one for each. */
  readonly threads: 'one' | 'each';
  readonly extensions: ReadonlySet<string>;
  readonly ramBase: number;
  readonly ramBytes: number;
  readonly width: 32 | 64;
  readonly codeBytes: number;
  readonly translate: BareHartOptions['translate'];
  readonly shadows?: ShadowOptions;
}

interface Thread {
  readonly processor: Processor;
  readonly runner: Runner;
}

const NEVER = (1n << 64n) - 1n;
const MTI = 1n << 7n;
const FENCES = EXIT_KINDS.indexOf('fenceInstruction');

export class Harts {
  readonly memory: MachineMemory;
  readonly vcpus: readonly Vcpu[];
  readonly map: GuestPhysicalMap;
  readonly #options: HartsOptions;
  readonly #threads: readonly Thread[];
  /** How often code had been dropped when the vCPU last began a slice. */
  readonly #entered = new Map<number, number>();
  /** What the runners are given: the budget is each turn's own. */
  readonly #slice = { budget: 1, clock: 'instructions' as const };

  constructor(options: HartsOptions) {
    const { harts, width, extensions } = options;
    this.#options = options;
    const pages = (options.ramBase + options.ramBytes) / FRAME_BYTES;
    this.memory = MachineMemory.create({
      ...{ width, shared: true, codeBytes: options.codeBytes, frames: options.ramBytes / FRAME_BYTES + 16 },
      blockBytes:
        pages * 4 +
        harts * (vcpuState.sizeBytes + shadowBytes(options.shadows) + hartBlock.sizeBytes + 192) +
        worldBlock.sizeBytes +
        exclusionBlock.sizeBytes +
        320,
    });
    const { memory } = this;
    const code = moduleFor(memory, extensions, new Set<string>());
    code.tables.write(memory.buffer);
    this.map = new GuestPhysicalMap(memory, memory.block(pages * 4), pages);
    this.map.declare(options.ramBase, options.ramBytes, { readOnly: false });
    this.vcpus = Array.from({ length: harts }, (_, id) => {
      const vcpu = new Vcpu(memory, id, memory.block(vcpuState.sizeBytes), memory.block(hartBlock.sizeBytes));
      placeShadows(memory, vcpu.state, memory.block(shadowBytes(options.shadows)), options.shadows);
      vcpu.state.gpaMap = BigInt(this.map.at);
      vcpu.state.gpaPages = BigInt(pages);
      vcpu.state.clockMode = 1;
      vcpu.state.hasPeers = 1;
      vcpu.hart.sbiDeadline = NEVER;
      return vcpu;
    });
    const world = new World(memory, memory.block(worldBlock.sizeBytes), this.vcpus);
    const exclusion = new Exclusion(memory, memory.block(exclusionBlock.sizeBytes));
    const module = new WebAssembly.Module(code.bytes);
    this.#threads = Array.from({ length: options.threads === 'one' ? 1 : harts }, () => {
      const processor = new Processor(module, memory.memory, { width, ticks: () => 0 });
      const translator = options.translate?.({ memory, processor, module, signatures: code.signatures }) as
        | Translator
        | undefined;
      for (const vcpu of this.vcpus) translator?.start(vcpu.state);
      return {
        processor,
        runner: new Runner(memory, processor, { world, exclusion }, NOTHING_ELSE, this.#slice, translator),
      };
    });
    for (const vcpu of this.vcpus) this.#thread(vcpu).processor.contextChanged(vcpu.at);
  }

  /** To be called after state that translation depends on was set. */
  changed(id: number): void {
    const vcpu = must(this.vcpus[id]);
    this.#thread(vcpu).processor.contextChanged(vcpu.at);
  }

  /**
   * Runs a vCPU for so many steps, and lets it take the interrupt that is due behind them. `goesOn`: as if still in the
   * slice before (see mayGoOn), that is, without a look at what others asked of it or began to execute; it comes out for a fence.i
   * of whomever.
   */
  run(id: number, steps: number, { lines, goesOn }: { lines: bigint; goesOn: boolean }): void {
    const vcpu = must(this.vcpus[id]);
    const { state, hart } = vcpu;
    const { processor, runner } = this.#thread(vcpu);
    state.lines = lines;
    hart.machineDeadline = (lines & MTI) === 0n ? NEVER : 0n;
    const end = state.steps + BigInt(steps);
    let isInside = goesOn;
    while (state.steps < end) {
      const left = Number(end - state.steps);
      const fences = must(hart.exits[FENCES]);
      let isFence = false;
      if (isInside) {
        const exit = processor.run(vcpu.at, state, left);
        if (exit.kind === 'mmio') state.mmioAnswer = MMIO_ANSWER.refused;
        isFence = exit.kind === 'fenceInstruction';
        isInside = exit.kind !== 'codeFull';
      } else {
        this.#slice.budget = left;
        this.#entered.set(id, this.memory.header.decodedEpoch);
        const slice = runner.slice(vcpu);
        assert(slice.kind === 'ran' || slice.kind === 'idle', `the slice ended: ${slice.kind}`);
        isFence = must(hart.exits[FENCES]) > fences;
      }
      if (isFence) for (const each of this.vcpus) each.acknowledgeCodeMarks(processor);
    }
    processor.run(vcpu.at, state, 0);
  }

  /** One slice, as a machine's thread runs it, of which nobody else is told; `onHot` is called at what becomes hot. */
  slice(id: number, steps: number, onHot?: (state: VcpuState) => void): void {
    const vcpu = must(this.vcpus[id]);
    const { processor, runner } = this.#thread(vcpu);
    if (onHot) processor.onHot = onHot;
    this.#slice.budget = steps;
    runner.slice(vcpu);
  }

  /** What runs that vCPU. */
  processor(id: number): Processor {
    return this.#thread(must(this.vcpus[id])).processor;
  }

  /** All code is dropped, of which each vCPU hears when it enters next. */
  dropCode(): void {
    this.memory.dropCode();
  }

  /**
   * Whether it can be as if the vCPU had not left its last slice. What was asked of a vCPU has to be done before who
   * asked goes on, and all come out when code is dropped.
   */
  mayGoOn(id: number): boolean {
    return must(this.vcpus[id]).requests === 0 && this.#entered.get(id) === this.memory.header.decodedEpoch;
  }

  /** Whether others began to execute code of which this vCPU was not told. */
  isUnaware(id: number): boolean {
    return must(this.vcpus[id]).state.seenMarks !== this.memory.header.marks;
  }

  /** Writes as a device would: decoded code is dropped. */
  write(gpa: number, bytes: Uint8Array): void {
    const vcpu = must(this.vcpus[0]);
    for (let done = 0; done < bytes.length; ) {
      const offset = (gpa + done) % FRAME_BYTES;
      const host = this.map.host(Math.floor((gpa + done) / FRAME_BYTES), 'setup');
      const count = Math.min(FRAME_BYTES - offset, bytes.length - done);
      this.memory.u8.set(bytes.subarray(done, done + count), host + offset);
      this.#thread(vcpu).processor.written(vcpu.at, host + offset, count);
      done += count;
    }
  }

  /** A page of guest memory as it stands, by its number in RAM. */
  page(number: number): Uint8Array {
    const host = this.map.host(this.#options.ramBase / FRAME_BYTES + number, 'read');
    return this.memory.u8.subarray(host, host + FRAME_BYTES);
  }

  #thread(vcpu: Vcpu): Thread {
    return must(this.#threads[vcpu.id % this.#threads.length]);
  }
}

const none = (): never => {
  throw new Error('there is nothing around');
};
const NOTHING_ELSE: RunnerPorts = {
  mmio: { read: () => undefined, write: () => false },
  ticks: () => 0,
  stopped: none,
  sbi: {
    ...{ consoleWrite: none, consoleRead: none, finish: none },
    ...{ readMemory: none, isWritable: none, writeMemory: none },
  },
};
