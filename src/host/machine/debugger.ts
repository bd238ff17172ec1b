/**
 * A machine as a debugger sees it: all harts stand still or all run. Breakpoints are substitutes in code overlays (or
 * decoded entries, where there are no overlays), so the guest's memory stays as it is; they are set by virtual address, as the hart that is looked at translates it
 * at that moment. Steps are made by the hart's own thread.
 *
 * Which stop came first is decided in the machine's shared memory (World.stop); a message from a hart's thread is only
 * the hint to look there, so that late ones do no harm.
 */
import { must } from '../../base/assert.ts';
import type { Processor } from '../../engine/index.ts';
import { GATE, HART, type Vcpu, type World } from '../../hypervisor/index.ts';
import type { Board } from '../../machine/index.ts';
import type { DebugRegister, DebugTarget, HartRegisters, Move, Privilege, StopReason } from '../gdb/index.ts';
import type { ExitStatus } from './machine-api.ts';

const PAGE = 4096n;
const MOST_BREAKPOINTS = 64;

const gates: Record<Move, number> = { continue: GATE.open, step: GATE.step, stay: GATE.held };

export interface DebuggedMachine {
  readonly board: Board;
  /** A processor of this thread, for translation and CSRs of harts that stand still. */
  readonly processor: Processor;
  /** It was let go on. */
  wentOn(): void;
  kill(): Promise<ExitStatus>;
}

export class MachineDebugger implements DebugTarget {
  readonly #machine: DebuggedMachine;
  readonly #breakpoints = new Map<bigint, number>();
  /** While `resume` is under way. */
  #resumed: PromiseWithResolvers<StopReason> | undefined;
  /** While a hart is moved past its breakpoint, before the rest goes on. */
  #passing: PromiseWithResolvers<void> | undefined;
  #isInterrupted = false;
  #ended: StopReason | undefined;
  #lastHart = 0;

  constructor(machine: DebuggedMachine) {
    this.#machine = machine;
  }

  get harts(): number {
    return this.#machine.board.vcpus.length;
  }

  get #world(): World {
    return this.#machine.board.world;
  }

  /** To be called when the machine has ended: what waits for its harts learns of it. */
  ended(code: number): void {
    this.#ended = { kind: 'ended', code };
    this.#passing?.resolve();
    this.#resumed?.resolve(this.#ended);
  }

  /** To be called when a hart's thread says that it stopped. */
  async stopped(): Promise<void> {
    if (this.#world.stopped === undefined || (this.#resumed === undefined && this.#passing === undefined)) return;
    await this.#report();
  }

  readRegisters(hart: number): HartRegisters {
    const { state } = this.#vcpu(hart);
    return { pc: state.pc, x: Array.from(state.x.subarray(0, 32)), f: Array.from(state.f) };
  }

  writeRegister(hart: number, register: DebugRegister, value: bigint): void {
    const { state } = this.#vcpu(hart);
    if (register.kind === 'pc') state.pc = value & ~1n;
    else if (register.kind === 'f') state.f[register.number] = value;
    else if (register.number !== 0) state.x[register.number] = value;
  }

  readPrivilege(hart: number): Privilege {
    const { mode, virtual } = this.#vcpu(hart).state;
    return { mode: mode === 0n ? 0 : mode === 1n ? 1 : 3, isVirtual: virtual !== 0n };
  }

  readCsr(hart: number, csr: number): bigint | undefined {
    const vcpu = this.#vcpu(hart);
    return this.#machine.processor.readCsr(vcpu.at, vcpu.state, csr);
  }

  writeCsr(hart: number, csr: number, value: bigint): boolean {
    const vcpu = this.#vcpu(hart);
    return this.#machine.processor.writeCsr(vcpu.at, vcpu.state, csr, value);
  }

  readMemory(hart: number, address: bigint, length: number): Uint8Array | undefined {
    const out = new Uint8Array(length);
    let done = 0;
    for (const part of pagesOf(address, length)) {
      const gpa = this.#translate(hart, part.address);
      if (gpa === undefined || !this.#machine.board.guestMemory.read(gpa, out.subarray(done, done + part.length)))
        break;
      done += part.length;
    }
    return done === 0 && length > 0 ? undefined : out.subarray(0, done);
  }

  writeMemory(hart: number, address: bigint, bytes: Uint8Array): boolean {
    const parts = pagesOf(address, bytes.length).map((part) => ({ ...part, gpa: this.#translate(hart, part.address) }));
    const memory = this.#machine.board.guestMemory;
    if (parts.some(({ gpa, length }) => gpa === undefined || memory.spans(gpa, length, 'read') === null)) return false;
    let done = 0;
    for (const { gpa, length } of parts) {
      memory.setUp(must(gpa), bytes.subarray(done, done + length));
      done += length;
    }
    return true;
  }

  setBreakpoint(hart: number, address: bigint): boolean {
    if (this.#breakpoints.has(address)) return true;
    if (this.#breakpoints.size >= MOST_BREAKPOINTS) return false;
    const host = this.#hostOf(hart, address);
    if (host === undefined) return false;
    this.#breakpoints.set(address, host);
    this.#apply();
    return true;
  }

  clearBreakpoint(address: bigint): boolean {
    if (!this.#breakpoints.delete(address)) return false;
    this.#apply();
    return true;
  }

  async resume(moves: readonly Move[]): Promise<StopReason> {
    if (this.#ended) return this.#ended;
    const resumed = Promise.withResolvers<StopReason>();
    this.#resumed = resumed;
    this.#isInterrupted = false;
    // Who is to be named when an interrupt stops the harts: one that was allowed to move.
    if (moves[this.#lastHart] === 'stay') this.#lastHart = moves.findIndex((move) => move !== 'stay');
    try {
      const early = await this.#beforeAllMove(moves);
      if (early) return early;
      if (this.#isInterrupted) return { kind: 'interrupt', hart: this.#lastHart };
      this.#go(moves.map((move) => gates[move]));
      return await resumed.promise;
    } finally {
      if (this.#resumed === resumed) this.#resumed = undefined;
    }
  }

  async interrupt(): Promise<StopReason> {
    if (this.#ended) return this.#ended;
    this.#isInterrupted = true;
    this.#world.stop({ kind: 'interrupt', hart: this.#lastHart });
    await this.#report();
    return { kind: 'interrupt', hart: this.#lastHart };
  }

  async kill(): Promise<void> {
    await this.#machine.kill();
  }

  #vcpu(hart: number): Vcpu {
    return must(this.#machine.board.vcpus[hart], `no hart ${hart}`);
  }

  /** Steps of harts that stand on a breakpoint, or that do not run at all, are made before the others move. */
  async #beforeAllMove(moves: readonly Move[]): Promise<StopReason | undefined> {
    const stepping = moves.indexOf('step');
    if (stepping >= 0 && !this.#canMove(this.#vcpu(stepping))) {
      this.#lastHart = stepping;
      return { kind: 'step', hart: stepping };
    }
    // Other harts that stand on a breakpoint are to be reported yet.
    const passing = stepping >= 0 ? stepping : this.#lastHart;
    const standing = this.#breakpoints.get(this.#vcpu(passing).state.pc);
    if (moves[passing] === 'stay' || standing === undefined || !this.#canMove(this.#vcpu(passing))) return undefined;
    this.#lastHart = passing;
    await this.#pass(standing);
    if (this.#ended) return this.#ended;
    return stepping >= 0 && !this.#isInterrupted ? { kind: 'step', hart: passing } : undefined;
  }

  /** One instruction of the last hart, with the breakpoint that it stands on lifted. */
  async #pass(standing: number): Promise<void> {
    this.#apply(standing);
    const passing = Promise.withResolvers<void>();
    this.#passing = passing;
    this.#go(this.#machine.board.vcpus.map(({ id }) => (id === this.#lastHart ? GATE.step : GATE.held)));
    await passing.promise;
    this.#passing = undefined;
    this.#apply();
  }

  #go(allowed: readonly number[]): void {
    this.#world.clearStop();
    for (const vcpu of this.#machine.board.vcpus) vcpu.hart.gate = allowed[vcpu.id] ?? GATE.open;
    this.#world.setPaused(false);
    this.#machine.wentOn();
  }

  /**
   * Waits until all stand still, and says why to who waits. The gates are open again, for whoever else lets the machine
   * go on. Does nothing if the machine went on meanwhile: then this stop was told of already.
   */
  async #report(): Promise<void> {
    while (!this.#world.isStill) await new Promise((resolve) => setTimeout(resolve, 1));
    // The pause first, then stillness: a hart that did not see the pause yet is busy.
    const { stopped, paused, isStill } = this.#world;
    if (stopped === undefined || !paused) return;
    if (!isStill) return await this.#report();
    for (const vcpu of this.#machine.board.vcpus) vcpu.hart.gate = GATE.open;
    if (this.#passing) {
      this.#passing.resolve();
      return;
    }
    this.#lastHart = stopped.hart;
    this.#resumed?.resolve(stopped);
  }

  #canMove(vcpu: Vcpu): boolean {
    return vcpu.status === HART.started || vcpu.status === HART.startPending;
  }

  #apply(except?: number): void {
    const { board } = this.#machine;
    const list = [...this.#breakpoints.values()].filter((host) => host !== except);
    board.memory.setBreakpoints(
      list.map((address) => ({ address, partition: board.partition })),
      { inOverlays: board.config.overlays > 0 },
    );
    for (const vcpu of board.vcpus) vcpu.forgetTranslations();
  }

  #translate(hart: number, address: bigint): number | undefined {
    const vcpu = this.#vcpu(hart);
    const gpa = this.#machine.processor.translate(vcpu.at, vcpu.state, address, Number(vcpu.state.mode));
    return gpa === undefined ? undefined : Number(gpa);
  }

  /**
   * Where the instruction at `address` lies, as the hart that is looked at sees it, or the first that can: kernels at both
   * levels of a nested guest, and programs, lie at the same addresses.
   */
  #hostOf(chosen: number, address: bigint): number | undefined {
    const others = Array.from({ length: this.harts }, (_, hart) => hart).filter((hart) => hart !== chosen);
    for (const hart of [chosen, ...others]) {
      const gpa = this.#translate(hart, address);
      if (gpa === undefined) continue;
      const host = this.#machine.board.map.host(Math.floor(gpa / Number(PAGE)), 'setup');
      if (host !== 0) return host + (gpa % Number(PAGE));
    }
    return undefined;
  }
}

function pagesOf(address: bigint, length: number): { address: bigint; length: number }[] {
  const parts: { address: bigint; length: number }[] = [];
  for (let at = address, left = length; left > 0; ) {
    const size = Math.min(left, Number(PAGE - (at % PAGE)));
    parts.push({ address: at, length: size });
    at += BigInt(size);
    left -= size;
  }
  return parts;
}
