/** A hart of the engine with a little memory and nothing around it, for tests: one step at a time, or many. */
import { assert, must } from '../base/assert.ts';
import { FEATURE, featuresOf } from '../isa/index.ts';
import { type Exit, generateEngine, Processor, type Signature } from './engine.ts';
import { GuestPhysicalMap } from './guest-physical-map.ts';
import { MachineMemory } from './machine-memory.ts';
import { FRAME_BYTES, PLAN } from './memory-plan.ts';
import { forgetProfile } from './profile.ts';
import { placeShadows, type ShadowOptions, shadowBytes } from './shadows.ts';
import { MMIO_ANSWER, type VcpuState, vcpuState } from './vcpu-state.ts';

export interface BareHartOptions {
  readonly extensions: ReadonlySet<string>;
  readonly ramBase: number;
  readonly ramBytes: number;
  readonly width?: 32 | 64;
  readonly shared?: boolean;
  readonly codeBytes?: number;
  /** Makes what translates hot code; see TranslatorOptions. */
  readonly translate?: undefined | ((code: BareHartCode) => HotCode);
  /** Extensions that are emulated, and places for overlays. */
  readonly emulated?: ReadonlySet<string>;
  readonly overlays?: number;
  readonly shadows?: ShadowOptions;
  /** Bytes of blocks that the test asks for, and frames beside those of the hart's RAM. */
  readonly blockBytes?: number;
  readonly moreFrames?: number;
}

/** What a translator works with. */
export interface BareHartCode {
  readonly memory: MachineMemory;
  readonly processor: Processor;
  readonly module: WebAssembly.Module;
  readonly signatures: ReadonlyMap<string, Signature>;
}

/** The translator, as a hart without a hypervisor uses it. */
export interface HotCode {
  start(state: VcpuState): void;
  prepare(state: VcpuState): boolean;
}

export class BareHart {
  readonly state: VcpuState;
  readonly at: number;
  readonly memory: MachineMemory;
  readonly processor: Processor;
  readonly map: GuestPhysicalMap;
  readonly #options: BareHartOptions;
  readonly hotCode: HotCode | undefined;

  constructor(options: BareHartOptions) {
    const pages = (options.ramBase + options.ramBytes) / FRAME_BYTES;
    this.#options = options;
    this.memory = MachineMemory.create({
      width: options.width ?? 32,
      shared: options.shared ?? true,
      blockBytes: pages * 4 + vcpuState.sizeBytes + shadowBytes(options.shadows) + 1024 + (options.blockBytes ?? 0),
      overlays: options.overlays ?? 0,
      codeBytes: options.codeBytes ?? 1 << 20,
      frames: options.ramBytes / FRAME_BYTES + 16 + (options.moreFrames ?? 0),
    });
    const { bytes, tables, signatures } = moduleFor(
      this.memory,
      options.extensions,
      options.emulated ?? new Set<string>(),
    );
    tables.write(this.memory.buffer);
    this.map = new GuestPhysicalMap(this.memory, this.memory.block(pages * 4), pages);
    this.map.declare(options.ramBase, options.ramBytes, { readOnly: false });
    this.at = this.memory.block(vcpuState.sizeBytes);
    this.state = vcpuState.view(this.memory.buffer, this.at);
    const module = new WebAssembly.Module(bytes);
    this.processor = new Processor(module, this.memory.memory, {
      width: options.width ?? 32,
      ticks: () => 0,
    });
    const { state } = this;
    placeShadows(this.memory, state, this.memory.block(shadowBytes(options.shadows)), options.shadows);
    state.gpaMap = BigInt(this.map.at);
    state.gpaPages = BigInt(pages);
    state.features = featuresOf(options.extensions) & ~FEATURE.sbi;
    state.clockMode = 1;
    state.mode = 3n;
    this.processor.contextChanged(this.at);
    this.hotCode = options.translate?.({ memory: this.memory, processor: this.processor, module, signatures });
    this.hotCode?.start(state);
  }

  /** Runs `steps` steps, or until an exit other than an access to a device: there is none here, such accesses fault. */
  run(steps: number): Exit {
    const end = this.state.steps + BigInt(steps);
    for (;;) {
      // After the drop once more: it empties the table of regions, whose numbers are given out anew.
      while (this.hotCode?.prepare(this.state) === false) this.makeRoomForCode();
      const exit = this.processor.run(this.at, this.state, Number(end - this.state.steps));
      if (exit.kind !== 'mmio') return exit;
      this.state.mmioAnswer = MMIO_ANSWER.refused;
    }
  }

  /** As if nothing had been executed yet. */
  dropCode(): void {
    this.memory.dropCode();
    this.#forgetCode();
  }

  /** Code memory is full: what the hypervisor does then. */
  makeRoomForCode(): void {
    this.memory.makeRoomForCode();
    this.#forgetCode();
  }

  #forgetCode(): void {
    this.processor.flushTranslation(this.at);
    forgetProfile(this.state);
  }

  /** Writes as a device would: decoded code is dropped. */
  write(gpa: number, bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      const offset = (gpa + done) % FRAME_BYTES;
      const host = this.map.host(Math.floor((gpa + done) / FRAME_BYTES), 'setup');
      assert(host !== 0, `no memory at ${(gpa + done).toString(16)}`);
      const count = Math.min(FRAME_BYTES - offset, bytes.length - done);
      this.memory.u8.set(bytes.subarray(done, done + count), host + offset);
      this.processor.written(this.at, host + offset, count);
      done += count;
    }
  }

  read(gpa: number, sizeBytes: number): Uint8Array {
    const out = new Uint8Array(sizeBytes);
    for (let i = 0; i < sizeBytes; i++) {
      const host = this.map.host(Math.floor((gpa + i) / FRAME_BYTES), 'read');
      out[i] = must(this.memory.u8[host + ((gpa + i) % FRAME_BYTES)]);
    }
    return out;
  }

  /** All of RAM. */
  contents(): Uint8Array {
    const { ramBase, ramBytes } = this.#options;
    const out = new Uint8Array(ramBytes);
    for (let page = 0; page < ramBytes / FRAME_BYTES; page++) {
      const host = this.map.host(ramBase / FRAME_BYTES + page, 'read');
      out.set(this.memory.u8.subarray(host, host + FRAME_BYTES), page * FRAME_BYTES);
    }
    return out;
  }

  /** Whether the frame of that page holds decoded code. */
  isDecoded(gpa: number): boolean {
    const host = this.map.host(Math.floor(gpa / FRAME_BYTES), 'read');
    return this.memory.u32[PLAN.frameTable / 4 + host / FRAME_BYTES] !== 0;
  }
}

const modules = new Map<string, ReturnType<typeof generateEngine>>();

/** Generating takes a moment: once for each memory and extension set. */
export function moduleFor(
  memory: MachineMemory,
  extensions: ReadonlySet<string>,
  emulated: ReadonlySet<string>,
): ReturnType<typeof generateEngine> {
  const key = JSON.stringify([memory.shape.description, [...extensions].sort(), [...emulated].sort()]);
  const made = modules.get(key) ?? generateEngine(memory.shape.description, extensions, emulated);
  modules.set(key, made);
  return made;
}
