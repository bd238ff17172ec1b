/**
 * A DebugTarget without a machine: two harts on which every instruction is `addi a0, a0, 1`, one page of memory at
 * 0x8000_0000, and two CSRs. It keeps what was asked of it.
 */
import type { DebugRegister, DebugTarget, HartRegisters, Move, Privilege, StopReason } from './debug-target.ts';

export const memoryBase = 0x8000_0000n;
const memoryBytes = 4096;
/** addi a0, a0, 1 */
const instruction = 0x0015_0513;
const a0 = 10;

interface FakeHart {
  pc: bigint;
  readonly x: bigint[];
  readonly f: bigint[];
  readonly csrs: Map<number, bigint>;
}

export class FakeTarget implements DebugTarget {
  readonly harts = 2;
  readonly calls: string[] = [];
  readonly breakpoints = new Set<bigint>();
  readonly memory = new Uint8Array(memoryBytes);
  /** When set, the machine ends at this many further instructions. */
  endsAfter: number | undefined;
  readonly #harts: FakeHart[];
  #running: { moves: readonly Move[]; resolve(stop: StopReason): void } | undefined;
  #stop: StopReason = { kind: 'interrupt', hart: 0 };

  constructor() {
    const view = new DataView(this.memory.buffer);
    for (let at = 0; at < memoryBytes; at += 4) view.setUint32(at, instruction, true);
    this.#harts = Array.from({ length: this.harts }, (_, hart) => ({
      pc: memoryBase,
      x: Array.from({ length: 32 }, () => 0n),
      f: Array.from({ length: 32 }, (_, i) => BigInt(i) << 52n),
      csrs: new Map([
        [0x300, 0xa_0000_0000n],
        [0xf14, BigInt(hart)],
      ]),
    }));
  }

  get isRunning(): boolean {
    return this.#running !== undefined;
  }

  readRegisters(hart: number): HartRegisters {
    const { pc, x, f } = this.#at(hart);
    return { pc, x: [...x], f: [...f] };
  }

  writeRegister(hart: number, register: DebugRegister, value: bigint): void {
    const state = this.#at(hart);
    if (register.kind === 'pc') state.pc = value;
    else if (register.kind === 'f') state.f[register.number] = value;
    else if (register.number !== 0) state.x[register.number] = value;
  }

  readPrivilege(hart: number): Privilege {
    return { mode: 1, isVirtual: hart === 1 };
  }

  readCsr(hart: number, csr: number): bigint | undefined {
    return this.#at(hart).csrs.get(csr);
  }

  writeCsr(hart: number, csr: number, value: bigint): boolean {
    if (csr >> 10 === 3 || !this.#at(hart).csrs.has(csr)) return false;
    this.#at(hart).csrs.set(csr, value);
    return true;
  }

  readMemory(_hart: number, address: bigint, length: number): Uint8Array | undefined {
    const at = Number(address - memoryBase);
    return at >= 0 && at < memoryBytes ? this.memory.slice(at, at + length) : undefined;
  }

  writeMemory(_hart: number, address: bigint, bytes: Uint8Array): boolean {
    const at = Number(address - memoryBase);
    if (at < 0 || at + bytes.length > memoryBytes) return false;
    this.memory.set(bytes, at);
    return true;
  }

  setBreakpoint(hart: number, address: bigint): boolean {
    if (this.readMemory(hart, address, 1) === undefined) return false;
    this.breakpoints.add(address);
    return true;
  }

  clearBreakpoint(address: bigint): boolean {
    return this.breakpoints.delete(address);
  }

  async resume(moves: readonly Move[]): Promise<StopReason> {
    this.calls.push(moves.join(' '));
    const { promise, resolve } = Promise.withResolvers<StopReason>();
    this.#running = { moves, resolve };
    this.#go();
    return await promise;
  }

  async interrupt(): Promise<StopReason> {
    this.calls.push('interrupt');
    if (this.#running)
      this.#halt({ kind: 'interrupt', hart: this.#running.moves.findLastIndex((it) => it !== 'stay') });
    return this.#stop;
  }

  kill(): void {
    this.calls.push('kill');
  }

  #go(): void {
    const { moves } = this.#running ?? {};
    if (!moves) return;
    for (let hart = 0; hart < this.harts; hart += 1) {
      if (moves[hart] === 'stay') continue;
      this.#execute(hart);
      if (this.endsAfter !== undefined) {
        this.endsAfter -= 1;
        if (this.endsAfter <= 0) {
          this.#halt({ kind: 'ended', code: 3 });
          return;
        }
      }
      if (this.breakpoints.has(this.#at(hart).pc)) {
        this.#halt({ kind: 'breakpoint', hart });
        return;
      }
    }
    if (moves.includes('step')) {
      this.#halt({ kind: 'step', hart: moves.indexOf('step') });
      return;
    }
    setImmediate(() => this.#go());
  }

  #execute(hart: number): void {
    const state = this.#at(hart);
    state.x[a0] = (state.x[a0] ?? 0n) + 1n;
    state.pc += 4n;
  }

  #halt(stop: StopReason): void {
    this.#stop = stop;
    this.#running?.resolve(stop);
    this.#running = undefined;
  }

  #at(hart: number): FakeHart {
    const state = this.#harts[hart];
    if (state === undefined) throw new Error(`there is no hart ${hart}`);
    return state;
  }
}
