/**
 * Plain wires between functions and the interrupt controller: a line is high while one of the functions on it asserts its
 * pin, and a message is written where it says. Who interrupted, nobody knows here.
 */
import { array, type Layout, struct, type View } from '../base/struct.ts';
import type { Block, InterruptTransaction, Model, RequesterId, TransactionPort } from '../devices/index.ts';
import type { InterruptController } from './interrupt-controller.ts';
import { PCIE_PINS } from './virt-map.ts';

function fields(functions: number) {
  return {
    /** Of each line, a bit for each function that holds it up. */
    holders: array('u32', PCIE_PINS * wordsOf(functions)),
    messages: 'u32',
    /** Messages to where there is no interrupt file. */
    lostMessages: 'u32',
  } as const;
}

export interface WireParts {
  /** Requesters, in any order, the same on every thread. */
  readonly requesters: readonly RequesterId[];
  /** Which of the lines a pin is. */
  lineOf(requester: RequesterId, pin: number): number;
  /** Source of the controller that line 0 is. */
  readonly firstSource: number;
  readonly controller: Pick<InterruptController, 'line' | 'send'>;
}

export class PciWires implements Model, TransactionPort {
  readonly name = 'pcie-wires';
  readonly layout: Layout<ReturnType<typeof fields>>;
  readonly state: View<ReturnType<typeof fields>>;
  readonly #parts: WireParts;
  readonly #words: Int32Array;

  /** Of a fabric with so many functions that interrupt. */
  static layout(functions: number): Layout<ReturnType<typeof fields>> {
    return struct('pcie-wires', fields(functions));
  }

  constructor({ buffer, at }: Block, parts: WireParts) {
    this.layout = PciWires.layout(parts.requesters.length);
    this.state = this.layout.view(buffer, at);
    this.#parts = parts;
    this.#words = new Int32Array(buffer, at + this.layout.offset.holders, this.state.holders.length);
  }

  reset(): void {
    this.state.holders.fill(0);
    this.state.messages = this.state.lostMessages = 0;
  }

  send(transaction: InterruptTransaction): void {
    const { requester, kind, address, data } = transaction;
    if (kind === 'message') {
      this.state.messages++;
      if (!this.#parts.controller.send(address, data)) this.state.lostMessages++;
    } else this.#hold(requester, this.#parts.lineOf(requester, data), kind === 'assert');
  }

  #hold(requester: RequesterId, line: number, holds: boolean): void {
    const { requesters, controller, firstSource } = this.#parts;
    const holder = requesters.indexOf(requester);
    const words = wordsOf(requesters.length);
    const at = line * words + (holder >> 5);
    if (holds) Atomics.or(this.#words, at, 1 << (holder & 31));
    else Atomics.and(this.#words, at, ~(1 << (holder & 31)));
    // Another thread may change the line meanwhile: whoever comes last sees it.
    const isHigh = () => Array.from({ length: words }, (_, i) => i).some((i) => this.#load(line * words + i) !== 0);
    let level: boolean;
    do {
      level = isHigh();
      controller.line(firstSource + line).set(level);
    } while (level !== isHigh());
  }

  #load(at: number): number {
    return Atomics.load(this.#words, at);
  }
}

function wordsOf(functions: number): number {
  return Math.max(1, Math.ceil(functions / 32));
}
