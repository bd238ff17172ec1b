/**
 * PLIC: the platform-level interrupt controller, after the RISC-V PLIC specification 1.0.0, in the shape of QEMU's
 * `virt`: sources 1 to 95, priorities 0 to 7, two contexts a hart (2 x hart: machine mode, 2 x hart + 1: supervisor).
 *
 *     device line -> gateway -> pending -> (enable, priority > threshold) -> external interrupt of a context
 *                       ^                     |
 *                       +---- complete <---- claim
 *
 * A gateway turns a level into requests: one when the line is high, the next only after the last was completed. A
 * request once made is not taken back when the line falls (section "Interrupt Gateways").
 * Left out: edge-triggered sources (`virt` has none).
 */
import { assert } from '../../base/assert.ts';
import { array, struct } from '../../base/struct.ts';
import type { AccessBytes, Block, Device, InterruptLine } from '../device.ts';
import { accessCounters, RegisterTable } from '../registers.ts';

/** Interrupt source numbers, 0 (none) included: `riscv,ndev` is one less. */
export const PLIC_SOURCES = 96;
const WORDS = PLIC_SOURCES / 32;
const PRIORITY_MASK = 7;
/** The window's words of enable bits for each context, whatever the number of sources. */
const ENABLE_WORDS = 0x80 / 4;

function plicLayout(contexts: number) {
  return struct('plic', {
    ...accessCounters,
    priority: array('u32', PLIC_SOURCES),
    /** Lines as devices drive them now. */
    level: array('u32', WORDS),
    pending: array('u32', WORDS),
    /** Claimed and not yet completed: the gateway is closed. */
    inService: array('u32', WORDS),
    /** WORDS words for each context. */
    enable: array('u32', contexts * WORDS),
    threshold: array('u32', contexts),
    /** What each context's external interrupt was last set to. */
    external: array('u8', contexts),
  });
}

/** The interrupt pins of the harts. */
export interface ExternalInterrupts {
  /** Context 2 x hart is MEIP, 2 x hart + 1 SEIP. Called on changes only, and for every context by reset and drive. */
  setExternal(context: number, level: boolean): void;
}

export class Plic implements Device {
  /** The registers of a PLIC with so many contexts. */
  static registers(contexts: number): RegisterTable<Plic> {
    return new RegisterTable<Plic>([
      {
        at: 0x4,
        bytes: 4,
        name: 'PRIORITY',
        array: { count: PLIC_SOURCES - 1, strideBytes: 4 },
        read: (plic, index) => plic.state.priority[index + 1] ?? 0,
        write: (plic, value, index) => {
          plic.state.priority[index + 1] = value & PRIORITY_MASK;
          plic.#update();
        },
        reset: 0,
        does: 'priority of source n + 1; 0 never interrupts',
      },
      {
        at: 0x1000,
        bytes: 4,
        name: 'PENDING',
        array: { count: WORDS, strideBytes: 4 },
        read: (plic, index) => plic.state.pending[index] ?? 0,
        reset: 0,
        does: 'requests that wait, a bit each',
      },
      {
        at: 0x2000,
        bytes: 4,
        name: 'ENABLE',
        array: { count: contexts * ENABLE_WORDS, strideBytes: 4 },
        read: (plic, index) => plic.#enableWord(index) ?? 0,
        write: (plic, value, index) => plic.#setEnableWord(index, value),
        reset: 0,
        does: 'context n / 32: word n % 32 of its enable bits',
      },
      {
        at: 0x20_0000,
        bytes: 4,
        name: 'THRESHOLD',
        array: { count: contexts, strideBytes: 0x1000 },
        read: (plic, index) => plic.state.threshold[index] ?? 0,
        write: (plic, value, index) => {
          plic.state.threshold[index] = value & PRIORITY_MASK;
          plic.#updateContext(index);
        },
        reset: 0,
        does: 'context n is interrupted by priorities above this',
      },
      {
        at: 0x20_0004,
        bytes: 4,
        name: 'CLAIM',
        array: { count: contexts, strideBytes: 0x1000 },
        read: (plic, index) => plic.#claim(index),
        write: (plic, value, index) => plic.#complete(index, value),
        reset: 0,
        does: 'context n: read claims the most urgent source, write completes it',
      },
    ]);
  }

  /** The block's layout for so many harts. */
  static layout(harts: number): ReturnType<typeof plicLayout> {
    return plicLayout(harts * 2);
  }

  readonly name: string;
  readonly sizeBytes = 0x60_0000;
  readonly layout: ReturnType<typeof plicLayout>;
  readonly state: ReturnType<ReturnType<typeof plicLayout>['view']>;
  /** Two for each hart. */
  readonly contexts: number;
  readonly registers: RegisterTable<Plic>;
  readonly #out: ExternalInterrupts;

  constructor(name: string, block: Block, harts: number, out: ExternalInterrupts) {
    assert(harts >= 1 && harts * 2 <= (this.sizeBytes - 0x20_0000) / 0x1000, `${harts} harts do not fit a PLIC`);
    this.name = name;
    this.contexts = harts * 2;
    this.layout = Plic.layout(harts);
    this.state = this.layout.view(block.buffer, block.at);
    this.registers = Plic.registers(this.contexts);
    this.#out = out;
  }

  /** Lines keep their level: they belong to the devices that drive them. */
  reset(): void {
    const { state } = this;
    for (const field of [state.priority, state.pending, state.inService, state.enable, state.threshold]) field.fill(0);
    state.unassignedReads = state.unassignedWrites = 0;
    for (let word = 0; word < WORDS; word++) state.pending[word] = state.level[word] ?? 0;
    state.external.fill(0);
    this.drive();
  }

  read(offset: number, bytes: AccessBytes): number {
    return this.registers.read(this, offset, bytes);
  }

  write(offset: number, bytes: AccessBytes, value: number): void {
    this.registers.write(this, offset, bytes, value);
  }

  /** The line of one source, 1 to 95, for the device that drives it. */
  line(source: number): InterruptLine {
    assert(Number.isInteger(source) && source >= 1 && source < PLIC_SOURCES, `no interrupt source ${source}`);
    return { set: (level) => this.#setLevel(source, level) };
  }

  /** Tells every context its level again, whatever it was told before: after restore. */
  drive(): void {
    for (let context = 0; context < this.contexts; context++) {
      const level = this.#mostUrgent(context, this.state.threshold[context] ?? 0) !== 0;
      this.state.external[context] = level ? 1 : 0;
      this.#out.setExternal(context, level);
    }
  }

  #setLevel(source: number, level: boolean): void {
    const { state } = this;
    setBit(state.level, source, level);
    if (!level || bit(state.inService, source) || bit(state.pending, source)) return;
    setBit(state.pending, source, true);
    this.#update();
  }

  /** Claims are not subject to the threshold (section "Interrupt Claim Process"). */
  #claim(context: number): number {
    const source = this.#mostUrgent(context, 0);
    if (source === 0) return 0;
    setBit(this.state.pending, source, false);
    setBit(this.state.inService, source, true);
    this.#update();
    return source;
  }

  /** Ignored unless the context has the source enabled, as the specification asks; Linux counts on it. */
  #complete(context: number, source: number): void {
    const { state } = this;
    if (source === 0 || source >= PLIC_SOURCES || !this.#enabled(context, source) || !bit(state.inService, source))
      return;
    setBit(state.inService, source, false);
    if (!bit(state.level, source)) return;
    setBit(state.pending, source, true);
    this.#update();
  }

  #enableWord(index: number): number | undefined {
    const word = index % ENABLE_WORDS;
    return word < WORDS ? this.state.enable[Math.floor(index / ENABLE_WORDS) * WORDS + word] : undefined;
  }

  #setEnableWord(index: number, value: number): void {
    const word = index % ENABLE_WORDS;
    if (word >= WORDS) return;
    const context = Math.floor(index / ENABLE_WORDS);
    // Bit 0 of word 0 would be source 0, which does not exist.
    this.state.enable[context * WORDS + word] = word === 0 ? value & ~1 : value;
    this.#updateContext(context);
  }

  #enabled(context: number, source: number): boolean {
    return (((this.state.enable[context * WORDS + (source >> 5)] ?? 0) >>> (source & 31)) & 1) === 1;
  }

  /** The pending, enabled source of highest priority above `threshold`, the lowest number among equals; 0: none. */
  #mostUrgent(context: number, threshold: number): number {
    const { state } = this;
    let best = 0;
    let bestPriority = threshold;
    for (let word = 0; word < WORDS; word++) {
      let waiting = (state.pending[word] ?? 0) & (state.enable[context * WORDS + word] ?? 0);
      while (waiting !== 0) {
        const source = word * 32 + (31 - Math.clz32(waiting & -waiting));
        waiting &= waiting - 1;
        const priority = state.priority[source] ?? 0;
        if (priority > bestPriority) {
          best = source;
          bestPriority = priority;
        }
      }
    }
    return best;
  }

  #update(): void {
    for (let context = 0; context < this.contexts; context++) this.#updateContext(context);
  }

  #updateContext(context: number): void {
    const level = this.#mostUrgent(context, this.state.threshold[context] ?? 0) !== 0;
    if (this.state.external[context] === (level ? 1 : 0)) return;
    this.state.external[context] = level ? 1 : 0;
    this.#out.setExternal(context, level);
  }
}

function bit(words: Uint32Array, source: number): boolean {
  return (((words[source >> 5] ?? 0) >>> (source & 31)) & 1) === 1;
}

function setBit(words: Uint32Array, source: number, value: boolean): void {
  const mask = 1 << (source & 31);
  const word = words[source >> 5] ?? 0;
  words[source >> 5] = value ? word | mask : word & ~mask;
}
