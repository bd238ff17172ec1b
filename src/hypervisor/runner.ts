/**
 * Runs vCPUs on the calling thread: enters the engine, looks at why it came back, does what is asked. One slice at a
 * time; between slices the vCPU serves what others asked of it (flushes, interrupts), its timers are compared, and
 * others may stop it. What waits is a value: the caller decides whether to block its thread or to do something else.
 */
import { must, unreachable } from '../base/assert.ts';
import {
  EXIT,
  type Exit,
  FRAME_BYTES,
  type MachineMemory,
  MMIO_ANSWER,
  type Processor,
  REQUEST,
  STEPS_PER_TICK,
  type VcpuState,
} from '../engine/index.ts';
import { FEATURE } from '../isa/index.ts';
import type { Translator } from '../translator/index.ts';
import { Emulation, type EmulationOptions } from './emulation.ts';
import type { Exclusion } from './exclusion.ts';
import { EXIT_KINDS, GATE, RUN } from './hart-block.ts';
import { isPromotable, reachesMemory, type SbiPorts, sbiCall } from './sbi.ts';
import { HART, IRQ, type Vcpu } from './vcpu.ts';
import type { World } from './world.ts';

/** Accesses to devices, by guest-physical address; undefined: nothing is there. */
export interface MmioPort {
  /** Who gives `isOff` does not wait for the device any longer when that says so: 'busy' then, and nothing done. */
  read(gpa: number, bytes: number, isOff?: () => boolean): bigint | undefined | 'busy';
  write(gpa: number, bytes: number, value: bigint, isOff?: () => boolean): boolean | 'busy';
}

export interface RunnerPorts {
  readonly mmio: MmioPort;
  readonly sbi: Omit<SbiPorts, 'vcpus' | 'awaitRequests' | 'awaitMarks'>;
  /** Timebase ticks now. */
  ticks(): number;
  /** A vCPU reached a breakpoint, or made the step that it was asked for: the machine is paused, the world knows why. */
  stopped(vcpu: Vcpu): void;
  /** Gives a page of the vCPU's partition, which others have too, a frame of its own; false: there is none left. */
  ownPage?(vcpu: Vcpu, page: number): boolean;
}

export interface RunnerOptions {
  /** What the harts are without but have emulated, and what policies trap. */
  readonly emulation?: EmulationOptions;
  /** Steps in a slice: how long an interrupt may have to wait. */
  readonly budget: number;
  /** `instructions`: ticks come from the vCPU's steps, and idle time is skipped. */
  readonly clock: 'real' | 'instructions';
  /** The processor that runs the vCPUs, by number; 0 by default. */
  readonly processor?: number;
  /** Partitions may share frames, so that reaching guest memory may have to wait until nobody is in the engine. */
  readonly forks?: boolean;
}

/** What a slice ended with. `idle`: nothing to do before `untilTicks` (or a wake). */
export type Slice =
  | { readonly kind: 'ran' }
  | { readonly kind: 'idle'; readonly untilTicks: number }
  | { readonly kind: 'barrier' }
  | { readonly kind: 'ended' };

/** An instruction is to be emulated, trapped or given a substitute, or code memory is full: nothing that the guest does. */
function isInterlude({ kind }: Exit): boolean {
  return kind === 'illegal' || kind === 'trapped' || kind === 'overlay' || kind === 'codeFull';
}

const NOTHING_EMULATED: EmulationOptions = {
  extensions: new Set(),
  emulated: new Set(),
  overlay: false,
  policyOf: () => undefined,
};
/** Of an access of so many bytes. */
const MASKS: Readonly<Record<number, bigint>> = {
  ...{ 1: 0xffn, 2: 0xffffn, 4: 0xffff_ffffn, 8: 0xffff_ffff_ffff_ffffn },
};
const BUDGET: Exit = { kind: 'budget' };
const RAN: Slice = { kind: 'ran' };
const ENDED: Slice = { kind: 'ended' };
const BARRIER: Slice = { kind: 'barrier' };
const NEVER = Number.POSITIVE_INFINITY;
const STILL: Slice = { kind: 'idle', untilTicks: NEVER };
const STCE = 1n << 63n;
/** Steps in a slice of a guest that is about to be held. */
const SHORT_SLICE = 5_000;
/** One exit of so many is timed; what took longer than 100 us was interrupted. */
const TIMED_EXITS = 64;
const LONGEST_EXIT_TICKS = 1000;
const NS_PER_TICK = 100;

export class Runner {
  readonly #memory: MachineMemory;
  readonly #processor: Processor;
  readonly #world: World;
  readonly #exclusion: Exclusion;
  readonly #self: number;
  readonly #onDevice = (): boolean => this.#current !== undefined && this.#promotedAccess(this.#current);
  readonly #onCall = (): boolean => this.#current !== undefined && this.#promotedCall(this.#current);
  readonly #ports: RunnerPorts;
  readonly #options: RunnerOptions;
  readonly #sbi: SbiPorts;
  readonly #translator: Translator | undefined;
  readonly #emulation: Emulation;
  #current: Vcpu | undefined;
  /** Exits that a promoted execution would have saved: every so many are timed. */
  #untimed = 0;
  #leftAt = 0;
  #handledFor = 0;

  constructor(
    memory: MachineMemory,
    processor: Processor,
    { world, exclusion }: { readonly world: World; readonly exclusion: Exclusion },
    ports: RunnerPorts,
    options: RunnerOptions,
    translator?: Translator,
  ) {
    this.#translator = translator;
    this.#memory = memory;
    this.#processor = processor;
    this.#world = world;
    this.#exclusion = exclusion;
    this.#self = options.processor ?? 0;
    this.#ports = ports;
    this.#options = options;
    this.#emulation = new Emulation(memory, processor, world.vcpus, options.emulation ?? NOTHING_EMULATED);
    this.#sbi = {
      ...ports.sbi,
      vcpus: world.vcpus,
      awaitRequests: (self, targets) => this.#awaitRequests(self, targets),
      awaitMarks: (self) => this.#awaitMarks(self),
    };
  }

  /** Runs the vCPU for one slice. */
  slice(vcpu: Vcpu): Slice {
    vcpu.busy = true;
    // Another guest's vCPU may have been on the processor before.
    this.#processor.onDevice = this.#onDevice;
    this.#processor.onCall = this.#onCall;
    const slice = this.#slice(vcpu);
    vcpu.busy = false;
    return slice;
  }

  #slice(vcpu: Vcpu): Slice {
    if (this.#world.run !== RUN.running) return ENDED;
    vcpu.armSleep();
    if (this.#world.paused || vcpu.hart.gate === GATE.held) return STILL;
    const idle = this.#prepare(vcpu);
    if (idle !== undefined) return idle;
    if (!this.#enter(vcpu)) return BARRIER;
    this.#serveRequests(vcpu);
    if (this.#translator?.prepare(vcpu.state) === false) {
      this.#leave(vcpu);
      this.#makeRoomForCode();
      // By the instruction clock, that code memory was full is no turn missed.
      if (!this.#enter(vcpu)) return BARRIER;
      this.#translator.prepare(vcpu.state);
    }
    const isStep = vcpu.hart.gate === GATE.step;
    const { steps } = vcpu.state;
    // What lies between two vCPUs is no exit's time.
    if (this.#current !== vcpu) this.#leftAt = 0;
    const most = this.#world.hurries ? Math.min(this.#options.budget, SHORT_SLICE) : this.#options.budget;
    const exit = this.#run(vcpu, isStep ? 1 : most);
    const slice = this.#handle(vcpu, exit);
    // A step is over when an instruction was begun; an access to a device takes another entry to end it.
    if (isStep && exit.kind !== 'breakpoint' && exit.kind !== 'mmio' && vcpu.state.steps !== steps) {
      this.#stop(vcpu, 'step');
      return RAN;
    }
    return slice;
  }

  /**
   * Runs the vCPU until it leaves the engine for good. By the instruction clock, an instruction that is emulated by trap
   * ends no slice and lets no interrupt in: the run is the same as where a substitute stands for it. Nor does an access
   * to a device, a call that promoted code could have answered, or code memory that is full, which depends on what was
   * translated.
   */
  #run(vcpu: Vcpu, budget: number): Exit {
    const { state } = vcpu;
    const end = state.steps + BigInt(budget);
    this.#current = vcpu;
    for (;;) {
      if (this.#leftAt > 0) this.#timeExit(state);
      const exit = this.#processor.run(vcpu.at, state, Number(end - state.steps));
      this.#leave(vcpu);
      const kind = EXIT_KINDS.indexOf(exit.kind);
      vcpu.hart.exits[kind] = (vcpu.hart.exits[kind] ?? 0) + 1;
      if (this.#options.clock === 'real') return exit;
      const isCall = exit.kind === 'call';
      if (!isInterlude(exit) && exit.kind !== 'mmio' && !(isCall && isPromotable(vcpu))) return exit;
      this.#handle(vcpu, exit);
      if (isCall) this.#timers(vcpu);
      // Behind a call interrupts are looked at, even where the slice ends there.
      const isOver = state.steps >= end && !isCall;
      if (isOver || this.#world.run !== RUN.running || !this.#enter(vcpu)) return BUDGET;
      state.resume = isCall ? 0 : 1;
    }
  }

  /** May the vCPU enter the engine? If so it counts as inside until #leave. */
  #enter(vcpu: Vcpu): boolean {
    vcpu.running = true;
    if (!this.#exclusion.tryEnter(this.#self)) {
      vcpu.running = false;
      return false;
    }
    vcpu.forgetDroppedCode();
    return true;
  }

  /**
   * From now on the vCPU counts as outside. Others, which executed code that it wrote without knowing, wait for nobody who
   * is outside: so it drops what they know of that code first.
   */
  #leave(vcpu: Vcpu): void {
    if (vcpu.state.hasPeers !== 0) {
      // A fence: who made its mark before it is seen here, and to who makes one later the writes are visible.
      vcpu.running = true;
      vcpu.acknowledgeCodeMarks(this.#processor);
    }
    this.#exclusion.leave(this.#self);
    vcpu.running = false;
  }

  /** Between leaving the engine and entering it again, without what the emulation itself took. */
  #timeExit(state: VcpuState): void {
    const ticks = this.#ports.ticks() - this.#leftAt - this.#handledFor;
    this.#leftAt = 0;
    if (ticks <= 0 || ticks > LONGEST_EXIT_TICKS) return;
    const ns = ticks * NS_PER_TICK;
    state.exitNs = state.exitNs === 0 ? ns : state.exitNs + (ns - state.exitNs) / 8;
  }

  /** An exit is handled; now and then its time is taken. */
  #timed(act: () => void): void {
    if (this.#translator === undefined || this.#options.clock !== 'real' || ++this.#untimed < TIMED_EXITS) {
      act();
      return;
    }
    this.#untimed = 0;
    this.#leftAt = this.#ports.ticks();
    act();
    this.#handledFor = this.#ports.ticks() - this.#leftAt;
  }

  /** Promoted code meets a device: what an exit would have asked for is answered at once. */
  #promotedAccess(vcpu: Vcpu): boolean {
    const { state, hart } = vcpu;
    // Who has the device may be waiting for this vCPU to leave the engine.
    const isOff = (): boolean => this.#exclusion.isUp;
    const { exitGpa, exitBytes, exitIsWrite, exitValue } = state;
    if (!this.#access(state, Number(exitGpa), exitBytes, exitIsWrite !== 0, exitValue, isOff)) return false;
    hart.promotedAccesses++;
    return true;
  }

  /** Promoted code makes a call: one that returns at once, and asks nothing of other vCPUs that has to be awaited. */
  #promotedCall(vcpu: Vcpu): boolean {
    if (!isPromotable(vcpu) || (this.#options.forks === true && reachesMemory(vcpu))) return false;
    vcpu.hart.promotedCalls++;
    sbiCall(vcpu, this.#sbi);
    this.#timers(vcpu);
    this.#processor.updateTimer(vcpu.at);
    return true;
  }

  /** Ticks of the machine's clock as this vCPU sees it. */
  ticks(vcpu: Vcpu): number {
    if (this.#options.clock === 'real') return this.#ports.ticks();
    const { state } = vcpu;
    return Math.floor((Number(state.steps) + state.budgetAtEntry - state.budgetLeft) / STEPS_PER_TICK);
  }

  /** Pauses the machine while this vCPU still counts as busy: whoever waits for all to stand still finds it so. */
  #stop(vcpu: Vcpu, kind: 'breakpoint' | 'step'): void {
    vcpu.hart.gate = GATE.held;
    if (this.#world.stop({ kind, hart: vcpu.id })) this.#ports.stopped(vcpu);
  }

  #handle(vcpu: Vcpu, exit: Exit): Slice {
    switch (exit.kind) {
      case 'budget':
        return RAN;
      case 'mmio':
        this.#timed(() => this.#mmio(vcpu, exit));
        return RAN;
      case 'call':
        this.#timed(() => sbiCall(vcpu, this.#sbi));
        return RAN;
      case 'wait':
        return this.#wait(vcpu);
      case 'breakpoint':
        this.#stop(vcpu, 'breakpoint');
        return RAN;
      case 'codeFull':
        this.#makeRoomForCode();
        return RAN;
      case 'memoryFull':
        if (this.#memory.refill(vcpu.state)) return RAN;
        this.#world.finish(RUN.memoryFull, 125);
        return ENDED;
      case 'copyPage':
        return this.#ownPage(vcpu, exit.gpa) ? RAN : ENDED;
      case 'fenceInstruction':
        this.#awaitMarks(vcpu);
        return RAN;
      case 'illegal':
        this.#illegal(vcpu, exit.bits);
        return RAN;
      case 'trapped':
        vcpu.withCode(() => this.#emulation.trapped(vcpu, exit.bits, exit.policy));
        return RAN;
      case 'overlay':
        // Without a place for it yet it comes here again: others have to leave theirs first.
        if (vcpu.withCode(() => this.#emulation.provide(vcpu))) vcpu.forgetTranslations();
        return RAN;
      default:
        return unreachable(exit);
    }
  }

  /** The page that the vCPU is about to write gets a frame of its own. False: there is none, and the partition ends. */
  #ownPage(vcpu: Vcpu, gpa: number): boolean {
    if (must(this.#ports.ownPage, 'frames are shared')(vcpu, Math.floor(gpa / FRAME_BYTES))) return true;
    this.#world.finish(RUN.memoryFull, 125);
    return false;
  }

  /** Code memory is full. Whoever comes second finds that there is room already; each vCPU sees it when it enters next. */
  #makeRoomForCode(): void {
    this.#exclusion.exclude(() => this.#memory.makeRoomForCode());
  }

  /** HSM transitions, timers. A value: the vCPU has nothing to run. */
  #prepare(vcpu: Vcpu): Slice | undefined {
    switch (vcpu.status) {
      case HART.started:
        break;
      case HART.startPending:
        this.#start(vcpu);
        break;
      case HART.suspendPending:
        if (!vcpu.interruptWaiting) {
          this.#timers(vcpu);
          if (!vcpu.interruptWaiting) return this.#idle(vcpu);
        }
        vcpu.status = HART.started;
        break;
      case HART.suspended:
        this.#timers(vcpu);
        if (!vcpu.interruptWaiting) return this.#idle(vcpu);
        this.#start(vcpu);
        break;
      default:
        return STILL;
    }
    this.#timers(vcpu);
    return undefined;
  }

  /** A hart's first instruction: supervisor mode, a0 its id, a1 the caller's value (SBI 2.0, section 9.1). */
  #start(vcpu: Vcpu): void {
    const { state, hart } = vcpu;
    state.pc = hart.startAddress;
    state.mode = 1n;
    state.virtual = 0n;
    state.satp = 0n;
    state.mstatus &= ~2n;
    state.x[10] = BigInt(vcpu.id);
    state.x[11] = hart.startOpaque;
    vcpu.status = HART.started;
    this.#processor.contextChanged(vcpu.at);
  }

  /** MTIP from mtimecmp, STIP from the SBI's timer. STIP of Sstc is the engine's. */
  #timers(vcpu: Vcpu): void {
    const now = this.ticks(vcpu);
    const { hart } = vcpu;
    vcpu.setLine(IRQ.mti, now >= Number(hart.machineDeadline));
    if (now >= Number(hart.sbiDeadline)) {
      hart.sbiDeadline = (1n << 64n) - 1n;
      vcpu.setPending(IRQ.sti, true);
    }
  }

  #wait(vcpu: Vcpu): Slice {
    if (vcpu.requests !== 0) return RAN;
    this.#processor.updateTimer(vcpu.at);
    this.#timers(vcpu);
    return vcpu.interruptWaiting ? RAN : this.#idle(vcpu);
  }

  #idle(vcpu: Vcpu): Slice {
    const { state, hart } = vcpu;
    let until = Math.min(Number(hart.machineDeadline), Number(hart.sbiDeadline));
    const at = (deadline: bigint, offset: bigint): void => {
      until = Math.min(until, Number(BigInt.asUintN(64, deadline - offset)));
    };
    if ((state.features & FEATURE.sstc) !== 0n && (state.menvcfg & STCE) !== 0n) {
      at(state.stimecmp, state.timeOffset);
      const isGuests = (state.features & FEATURE.h) !== 0n && (state.henvcfg & STCE) !== 0n;
      if (isGuests) at(state.vstimecmp, state.timeOffset + state.htimedelta);
    }
    return { kind: 'idle', untilTicks: until >= 2 ** 63 ? NEVER : until };
  }

  /** The instruction clock: nothing happens before `ticks`, so it is then. */
  skipTo(vcpu: Vcpu, ticks: number): void {
    const steps = BigInt(ticks) * BigInt(STEPS_PER_TICK);
    if (steps > vcpu.state.steps) vcpu.state.steps = steps;
  }

  #serveRequests(vcpu: Vcpu): void {
    const requests = vcpu.requests === 0 ? 0 : vcpu.takeRequests();
    if ((requests & REQUEST.forget) !== 0) vcpu.forgetTranslations();
    if ((requests & REQUEST.fence) !== 0)
      for (const fence of vcpu.takeFences()) this.#processor.fence(vcpu.at, vcpu.state, fence);
    if ((requests & REQUEST.softwareInterrupt) !== 0) vcpu.setPending(IRQ.ssi, true);
    vcpu.acknowledgeProtection();
    vcpu.acknowledgeTracks(this.#world.vcpus);
    vcpu.acknowledgeCodeMarks(this.#processor);
  }

  #mmio({ state }: Vcpu, { gpa, bytes, isWrite, value }: Extract<Exit, { kind: 'mmio' }>): void {
    this.#access(state, gpa, bytes, isWrite, value);
  }

  /** False: the device is busy, and `isOff` said that it is not to be waited for. */
  #access(
    state: VcpuState,
    gpa: number,
    bytes: number,
    isWrite: boolean,
    written: bigint,
    isOff?: () => boolean,
  ): boolean {
    const mask = must(MASKS[bytes]);
    if (isWrite) {
      const done = this.#ports.mmio.write(gpa, bytes, written & mask, isOff);
      if (done === 'busy') return false;
      state.mmioAnswer = done ? MMIO_ANSWER.written : MMIO_ANSWER.refused;
      return true;
    }
    const value = this.#ports.mmio.read(gpa, bytes, isOff);
    if (value === 'busy') return false;
    state.exitValue = (value ?? 0n) & mask;
    state.mmioAnswer = value === undefined ? MMIO_ANSWER.refused : MMIO_ANSWER.read;
    return true;
  }

  /** Until the targets have served what was asked of them, or are not running (then they serve it before they run). */
  #awaitRequests(self: Vcpu, targets: readonly Vcpu[]): void {
    this.#serveRequests(self);
    for (const target of targets) {
      if (target === self) continue;
      while (target.running && target.requests !== 0) this.#serveRequests(self);
    }
  }

  #illegal(vcpu: Vcpu, bits: number): void {
    while (vcpu.withCode(() => this.#emulation.illegal(vcpu, bits)) === 'unfinished') {
      const { state } = vcpu;
      if (state.exitKind === EXIT.copyPage) {
        if (this.#ownPage(vcpu, Number(state.exitGpa))) continue;
        return;
      }
      if (state.exitKind !== EXIT.mmio) {
        if (this.#memory.refill(state)) continue;
        this.#world.finish(RUN.memoryFull, 125);
        return;
      }
      const { exitGpa, exitBytes, exitIsWrite, exitValue } = state;
      this.#mmio(vcpu, {
        ...{ kind: 'mmio', gpa: Number(exitGpa), bytes: exitBytes, isWrite: exitIsWrite !== 0, value: exitValue },
      });
    }
  }

  /** Until no vCPU in the engine can have written to code without knowing: what was written is executed next. */
  #awaitMarks(self: Vcpu): void {
    const { marks } = this.#memory.header;
    for (const other of this.#world.vcpus) {
      if (other === self) continue;
      while (other.running && ((marks - other.state.seenMarks) | 0) > 0) this.#serveRequests(self);
    }
  }
}
