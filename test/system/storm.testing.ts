/**
 * A broken card: a thread of the machine on which a function's pin goes up and down as fast as it can, until it is told to
 * stop. Its interrupts go the way of all others, and what this thread finds to serve for others, it serves. A worker when
 * it is started as one.
 */
import assert from 'node:assert/strict';
import { isMainThread, Worker, workerData } from 'node:worker_threads';
import { must } from '../../src/base/assert.ts';
import type { MemoryShape } from '../../src/engine/index.ts';
import type { MachineHandle } from '../../src/host/machine/index.ts';
import { LocalMachine } from '../../src/host/machine/machine.ts';
import { ticksSince } from '../../src/host/machine/thread-clock.ts';
import { Board, type BoardConfig, bareSlot, Commons, slotLayout } from '../../src/machine/index.ts';

const AT = { pulses: 0, stop: 1 } as const;
const AT_ONCE = 64;

interface Start {
  readonly config: BoardConfig;
  readonly memory: WebAssembly.Memory;
  readonly shape: MemoryShape;
  readonly epoch: bigint;
  readonly partition: number;
  readonly id: string;
  readonly words: Int32Array;
}

export class Storm implements AsyncDisposable {
  readonly #worker: Worker;
  readonly #words = new Int32Array(new SharedArrayBuffer(8));
  readonly #ended: Promise<unknown>;

  /** Of the machine's function `id`. */
  constructor(machine: MachineHandle, id: string) {
    assert.ok(machine instanceof LocalMachine);
    const { board, home } = machine;
    const { memory, shape } = board.memory;
    const start: Start = {
      ...{ config: home.config, memory, shape, epoch: home.parts.epoch },
      ...{ partition: board.partition, id, words: this.#words },
    };
    this.#worker = new Worker(new URL(import.meta.url), { workerData: start });
    this.#ended = new Promise((resolve, reject) => this.#worker.once('exit', resolve).once('error', reject));
  }

  /** How often the pin went up. */
  get pulses(): number {
    return Atomics.load(this.#words, AT.pulses);
  }

  /** It is over; the pin stays up. */
  async stop(): Promise<void> {
    Atomics.store(this.#words, AT.stop, 1);
    await this.#ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

function storm({ config, memory, shape, epoch, partition, id, words }: Start): void {
  const ticks = ticksSince(epoch);
  const clock = { ticks: () => BigInt(Math.floor(ticks())), wallMs: () => Date.now() };
  const commons = Commons.attach(config, memory, shape);
  const boards = commons.partitions.map((one) => Board.attach(commons, one, { clock, slot: bareSlot, slotLayout }));
  const board = must(boards.find((one) => one.partition === partition));
  const { func } = must(must(board.pci).functions.find((one) => one.config.id === id));
  while (Atomics.load(words, AT.stop) === 0) {
    for (let i = 0; i < AT_ONCE; i++) {
      func.setInterrupt(false);
      func.setInterrupt(true);
    }
    Atomics.add(words, AT.pulses, AT_ONCE);
  }
}

if (!isMainThread && (workerData as Partial<Start> | undefined)?.words !== undefined) storm(workerData as Start);
