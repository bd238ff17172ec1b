/** The reference machine as a case's hart, with RAM of its own, which notes what the semantics tells the engine. */
import { createDecoder } from '../decoder.ts';
import { parseCpu } from '../extensions.ts';
import { Ram, ReferenceHart, resetState } from '../reference/index.ts';
import type { StateField } from '../state.ts';
import { RAM_START } from './cases/access-case.testing.ts';
import { type CaseHart, TIME } from './cases/hart-case.testing.ts';

const RAM_BYTES = 0x10000;

class NotingHart extends ReferenceHart {
  readonly notices: string[] = [];

  override contextChanged(): void {
    this.notices.push('context');
  }
  override timerChanged(): void {
    this.notices.push('timer');
  }
  override protectionChanged(): void {
    this.notices.push('fence all all');
  }
  override fenceTranslation(va?: bigint, asid?: bigint): void {
    this.notices.push(`fence ${va ?? 'all'} ${asid ?? 'all'}`);
  }
  override fenceGuest(va?: bigint, asid?: bigint): void {
    this.notices.push(`fence guest ${va ?? 'all'} ${asid ?? 'all'}`);
  }
  override fenceGuestPhysical(gpa?: bigint, vmid?: bigint): void {
    this.notices.push(`fence physical ${gpa ?? 'all'} ${vmid ?? 'all'}`);
  }
}

const decoder = createDecoder(parseCpu('rv64,h=on,smstateen=on'));

export class TestHart implements CaseHart {
  readonly memory = new Ram(RAM_START, RAM_BYTES);
  readonly machine = new NotingHart({
    state: resetState(0n, 0n),
    decoder,
    memory: this.memory,
    time: () => TIME,
  });

  /** What the semantics told the engine, in order: `context`, `timer`, `fence va asid`. */
  get notices(): readonly string[] {
    return this.machine.notices;
  }
  get(field: StateField): bigint {
    return this.machine.registers[field];
  }
  set(field: StateField, value: bigint): void {
    this.machine.registers[field] = value;
  }
  x(index: number): bigint {
    return this.machine.registers.x[index] ?? 0n;
  }
  setX(index: number, value: bigint): void {
    this.machine.registers.x[index] = value;
  }
  put(address: bigint, word: number): void {
    this.memory.write(address, 4, BigInt(word >>> 0));
  }
  step(): 'next' | 'call' | 'wait' {
    const step = this.machine.step();
    if (step.kind !== 'left') return 'next';
    return step.exit === 'call' ? 'call' : 'wait';
  }
}
