/**
 * What the threads of a machine agree on about a guest: whether it is paused, what became of it, what its I/O thread is to
 * do.
 *
 * A pause lasts, and what waits for it sees whole slices. A slice says that it is busy before it looks at the pause, so
 * once the pause stands and nobody is busy, nothing of any vCPU changes.
 *
 *   slice: busy = 1; paused? -> busy = 0, sleep          pause: paused = 1; wait for busy = 0 of all
 */

import type { MachineMemory } from '../engine/index.ts';
import { RUN, STOP, type WorldBlock, worldBlock } from './hart-block.ts';
import type { Vcpu } from './vcpu.ts';

/** Why the vCPUs stand still, and which of them is the reason. */
export interface Stop {
  readonly kind: 'breakpoint' | 'step' | 'interrupt';
  readonly hart: number;
}

/** Why vCPUs are to stay outside, bits of the world's `paused`. */
const PAUSE = { asked: 1, held: 2, overdue: 4 } as const;

const stopKinds: readonly Stop['kind'][] = ['breakpoint', 'step', 'interrupt'];

export class World {
  readonly block: WorldBlock;
  readonly vcpus: readonly Vcpu[];
  /** On the I/O thread: what it does where it rings itself, as it need not be woken. */
  onOwnRing: (() => void) | undefined;
  readonly #words: Int32Array;
  readonly #at: number;

  constructor(memory: MachineMemory, at: number, vcpus: readonly Vcpu[]) {
    this.block = worldBlock.view(memory.buffer, at);
    this.vcpus = vcpus;
    this.#words = new Int32Array(memory.buffer);
    this.#at = at;
  }

  #index(field: 'run' | 'ioBell' | 'doorbells' | 'paused' | 'stopped' | 'hurries' | 'servesApart'): number {
    return (this.#at + worldBlock.offset[field]) / 4;
  }

  get run(): number {
    return Atomics.load(this.#words, this.#index('run'));
  }

  /** The first wish counts. Wakes everybody. */
  finish(run: number, code: number): void {
    if (Atomics.compareExchange(this.#words, this.#index('run'), RUN.running, run) !== RUN.running) return;
    this.block.code = code;
    for (const vcpu of this.vcpus) vcpu.wake();
    this.ringIo();
  }

  /** For whichever reason. */
  get paused(): boolean {
    return Atomics.load(this.#words, this.#index('paused')) !== 0;
  }

  /** Paused vCPUs sleep outside the engine. */
  setPaused(paused: boolean): void {
    this.#pause(PAUSE.asked, paused);
  }

  /** As a pause, for a snapshot: it stands whatever an operator or a debugger wishes meanwhile. */
  setHeld(held: boolean): void {
    this.#pause(PAUSE.held, held);
  }

  /** As a pause, because the machine's deadline has passed: nobody but a later deadline takes it back. */
  setOverdue(overdue: boolean): void {
    this.#pause(PAUSE.overdue, overdue);
  }

  /** Slices are short from now on, so that all stand still soon after a hold; until it is taken back. */
  set hurries(hurries: boolean) {
    Atomics.store(this.#words, this.#index('hurries'), hurries ? 1 : 0);
  }

  /** Requests are done by the I/O thread alone, not by the threads of vCPUs that make them: where their order counts. */
  set servesApart(apart: boolean) {
    Atomics.store(this.#words, this.#index('servesApart'), apart ? 1 : 0);
  }

  get servesApart(): boolean {
    return Atomics.load(this.#words, this.#index('servesApart')) === 1;
  }

  get hurries(): boolean {
    return Atomics.load(this.#words, this.#index('hurries')) === 1;
  }

  #pause(bit: number, on: boolean): void {
    if (on) Atomics.or(this.#words, this.#index('paused'), bit);
    else Atomics.and(this.#words, this.#index('paused'), ~bit);
    for (const vcpu of this.vcpus) vcpu.wake();
  }

  /** Nobody is in a slice. With the pause up: all stand still. */
  get isStill(): boolean {
    return this.vcpus.every((vcpu) => !vcpu.busy);
  }

  /** Pauses the machine for the reason given; false if there was one already, which then stays the reason. */
  stop(reason: Stop): boolean {
    const code = (reason.hart << 2) | STOP[reason.kind];
    const isFirst = Atomics.compareExchange(this.#words, this.#index('stopped'), STOP.none, code) === STOP.none;
    this.setPaused(true);
    return isFirst;
  }

  /** Why the machine stopped first since the reason was last cleared. */
  get stopped(): Stop | undefined {
    const code = Atomics.load(this.#words, this.#index('stopped'));
    const kind = stopKinds.find((name) => STOP[name] === (code & 3));
    return kind === undefined ? undefined : { kind, hart: code >>> 2 };
  }

  /** To be called while all stand still. */
  clearStop(): void {
    Atomics.store(this.#words, this.#index('stopped'), STOP.none);
  }

  /** Wakes the I/O thread. */
  ringIo(): void {
    Atomics.add(this.#words, this.#index('ioBell'), 1);
    Atomics.notify(this.#words, this.#index('ioBell'));
  }

  /** Marks a device for service and wakes the I/O thread if it does not know yet. */
  ring(device: number): void {
    const bit = 1 << device;
    if ((Atomics.or(this.#words, this.#index('doorbells'), bit) & bit) !== 0) return;
    if (this.onOwnRing === undefined) this.ringIo();
    else this.onOwnRing();
  }

  takeDoorbells(): number {
    return Atomics.exchange(this.#words, this.#index('doorbells'), 0);
  }

  get ioBell(): number {
    return Atomics.load(this.#words, this.#index('ioBell'));
  }

  /** Where the I/O thread waits: for the word to become other than what `ioBell` said. */
  get ioWord(): { words: Int32Array; index: number } {
    return { words: this.#words, index: this.#index('ioBell') };
  }
}
