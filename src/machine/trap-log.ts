/**
 * Executions that policies trapped (`--trap`), as vCPUs log them in their blocks: a ring each (ring-log.ts), written by
 * the vCPU's thread alone, in generated code or by the emulation module. Counts are exact; the log may lose some.
 */
import { must } from '../base/assert.ts';
import { TRAP_LOG_ENTRIES, type VcpuState } from '../engine/index.ts';
import { readRing } from './ring-log.ts';

/** One execution. */
export interface TrappedExecution {
  readonly vcpu: number;
  readonly pc: bigint;
  /** Privilege mode: 0 user, 1 supervisor, 3 machine. */
  readonly mode: number;
  /** As the operator called it. */
  readonly name: string;
  readonly bits: number;
}

/** What the log needs of a board. */
export interface LoggedBoard {
  readonly vcpus: readonly LoggedVcpu[];
  readonly config: { readonly policies: readonly { readonly name: string }[] };
}

interface LoggedVcpu {
  readonly id: number;
  readonly state: Pick<VcpuState, 'trapLog' | 'trapLogNext'>;
}

export class TrapLog {
  readonly #board: LoggedBoard;
  /** Entries read so far, by vCPU. */
  readonly #read: number[];
  lost = 0;

  constructor(board: LoggedBoard) {
    this.#board = board;
    this.#read = board.vcpus.map((vcpu) => next(vcpu));
  }

  /** Tells what was logged since the last time: vCPU by vCPU, each in order. */
  drain(each: (execution: TrappedExecution) => void): void {
    for (const vcpu of this.#board.vcpus) {
      const ring = () => ({ next: next(vcpu), words: vcpu.state.trapLog, entries: TRAP_LOG_ENTRIES, width: 2 });
      const read = readRing(ring, must(this.#read[vcpu.id]), ([pc = 0n, what = 0n]) =>
        each({ ...this.#describe(what), vcpu: vcpu.id, pc }),
      );
      this.lost += read.lost;
      this.#read[vcpu.id] = read.next;
    }
  }

  #describe(what: bigint): Omit<TrappedExecution, 'vcpu' | 'pc'> {
    const policy = this.#board.config.policies[Number((what >> 32n) & 0xffffn) - 1];
    return { mode: Number(what >> 48n), name: policy?.name ?? '?', bits: Number(what & 0xffff_ffffn) };
  }
}

function next(vcpu: LoggedVcpu): number {
  return vcpu.state.trapLogNext;
}

const MODES = ['U', 'S', '?', 'M'];

/** `hart 0 S ffffffff80004a2c 10500073 wfi`. */
export function trapLine({ vcpu, pc, mode, name, bits }: TrappedExecution): string {
  const hex = (value: number | bigint, digits: number): string => value.toString(16).padStart(digits, '0');
  return `hart ${vcpu} ${MODES[mode] ?? '?'} ${hex(pc, 16)} ${hex(bits, (bits & 3) === 3 ? 8 : 4)} ${name}`;
}
