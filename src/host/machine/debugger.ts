/**
 * A machine as a debugger sees it: all harts stand still or all run. Breakpoints are decoded entries of the engine,
 * so the guest's memory stays as it is; they are set by virtual address, as the hart that is looked at translates it
 * at that moment. Steps are made by the hart's own thread.
 */
import { must } from '../../base/assert.ts';
import type { Processor } from '../../engine/index.ts';
import { HART, type Vcpu } from '../../hypervisor/index.ts';
import type { Board } from '../../machine/index.ts';
import type { DebugRegister, DebugTarget, HartRegisters, StopReason } from '../gdb/index.ts';
import type { ExitStatus } from './machine-api.ts';

const PAGE = 4096n;
const MOST_BREAKPOINTS = 64;

export interface DebuggedMachine {
  readonly board: Board;
  readonly exited: Promise<ExitStatus>;
  /** A processor of this thread, for translation and CSRs of harts that stand still. */
  readonly processor: Processor;
  pause(): Promise<void>;
  resume(): Promise<void>;
  kill(): Promise<ExitStatus>;
}

export class MachineDebugger implements DebugTarget {
  readonly #machine: DebuggedMachine;
  readonly #breakpoints = new Map<bigint, number>();
  #waiting: PromiseWithResolvers<StopReason> | undefined;
  #stepping: PromiseWithResolvers<void> | undefined;
  #ended: StopReason | undefined;
  #lastHart = 0;

  constructor(machine: DebuggedMachine) {
    this.#machine = machine;
    void machine.exited.then(({ code }) => {
      this.#ended = { kind: 'ended', code };
      this.#stepping?.resolve();
      this.#waiting?.resolve(this.#ended);
    });
  }

  get harts(): number {
    return this.#machine.board.vcpus.length;
  }

  /** To be called when a hart's thread says that it stopped. */
  async stopped(hart: number, reason: 'breakpoint' | 'step'): Promise<void> {
    if (reason === 'step') {
      this.#stepping?.resolve();
      return;
    }
    // Late news of a hart that stopped together with one that was reported: it stands on its breakpoint, and will
    // meet it again when the machine goes on.
    if (!this.#machine.board.world.paused || !this.#breakpoints.has(this.#vcpu(hart).state.pc)) return;
    // The machine is paused already; the other harts are on their way out.
    await this.#machine.pause();
    this.#lastHart = hart;
    this.#waiting?.resolve({ kind: 'breakpoint', hart });
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

  setBreakpoint(address: bigint): boolean {
    if (this.#breakpoints.has(address)) return true;
    if (this.#breakpoints.size >= MOST_BREAKPOINTS) return false;
    const host = this.#hostOf(address);
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

  async step(hart: number): Promise<StopReason> {
    await this.#stepHart(this.#vcpu(hart));
    this.#lastHart = hart;
    return this.#ended ?? { kind: 'step', hart };
  }

  async continue(): Promise<StopReason> {
    if (this.#ended) return this.#ended;
    // Past the breakpoint that was reported; other harts that stand on one are to be reported yet.
    const reported = this.#vcpu(this.#lastHart);
    if (this.#breakpoints.has(reported.state.pc)) await this.#stepHart(reported);
    const waiting = Promise.withResolvers<StopReason>();
    this.#waiting = waiting;
    await this.#machine.resume();
    const reason = await waiting.promise;
    this.#waiting = undefined;
    return reason;
  }

  async interrupt(): Promise<StopReason> {
    if (this.#ended) return this.#ended;
    await this.#machine.pause();
    const reason: StopReason = { kind: 'interrupt', hart: this.#lastHart };
    this.#waiting?.resolve(reason);
    return reason;
  }

  async kill(): Promise<void> {
    await this.#machine.kill();
  }

  #vcpu(hart: number): Vcpu {
    return must(this.#machine.board.vcpus[hart], `no hart ${hart}`);
  }

  /** One instruction, with the breakpoint that stands on it lifted. */
  async #stepHart(vcpu: Vcpu): Promise<void> {
    if (vcpu.status !== HART.started && vcpu.status !== HART.startPending) return;
    const standing = this.#breakpoints.get(vcpu.state.pc);
    this.#apply(standing);
    const stepping = Promise.withResolvers<void>();
    this.#stepping = stepping;
    vcpu.hart.step = 1;
    vcpu.wake();
    await stepping.promise;
    this.#stepping = undefined;
    this.#apply();
  }

  #apply(except?: number): void {
    this.#machine.board.memory.setBreakpoints([...this.#breakpoints.values()].filter((host) => host !== except));
  }

  #translate(hart: number, address: bigint): number | undefined {
    const vcpu = this.#vcpu(hart);
    const gpa = this.#machine.processor.translate(vcpu.at, vcpu.state, address, Number(vcpu.state.mode));
    return gpa === undefined ? undefined : Number(gpa);
  }

  /** Where the instruction at `address` lies, as the first hart sees it that can. */
  #hostOf(address: bigint): number | undefined {
    for (let hart = 0; hart < this.harts; hart++) {
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
