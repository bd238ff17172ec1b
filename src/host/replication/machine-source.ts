/** The guest of a machine as replication takes it: still for a moment, its written pages, its state, its disks. */
import { must } from '../../base/assert.ts';
import { FRAME_BYTES } from '../../engine/index.ts';
import { RUN as WORLD } from '../../hypervisor/index.ts';
import { encodeRuns, RUN, RunList } from '../../machine/index.ts';
import type { Hold, OutputGate, PageBatch, SourceDisk, SourceGuest } from '../../replication/index.ts';
import { holdAtOnce, holdStill, type SnapshotSubject, stateOf } from '../snapshots/index.ts';

/** Within so long, slices that had begun are over, and short ones follow. */
const SLICE_MS = 2;

export interface SourceParts {
  readonly subject: SnapshotSubject;
  readonly gate: OutputGate;
  readonly disks: readonly SourceDisk[];
  /** What the console said since this was last called. */
  takeConsole(): Uint8Array;
  /** What the network knows of the guest's addresses. */
  addresses(): unknown;
}

export class MachineSource implements SourceGuest {
  readonly gate: OutputGate;
  readonly disks: readonly SourceDisk[];
  readonly #parts: SourceParts;
  /** By page: 1 where the other side has something of it. */
  readonly #held: Uint8Array;
  readonly #words: Uint32Array;
  #isTold = false;

  constructor(parts: SourceParts) {
    this.#parts = parts;
    this.gate = parts.gate;
    this.disks = parts.disks;
    const { map, memory } = parts.subject.board;
    this.#held = new Uint8Array(map.pages);
    this.#words = memory.u32;
  }

  get hasEnded(): boolean {
    return this.#parts.subject.board.world.run !== WORLD.running;
  }

  async hold(): Promise<Hold> {
    const { board, io } = this.#parts.subject;
    board.world.hurries = true;
    // A guest that has answered and sleeps need not be waited for.
    if (!board.world.isStill) await new Promise((resolve) => setTimeout(resolve, SLICE_MS));
    const sinceMs = performance.now();
    try {
      const release = holdAtOnce(board, io) ?? (await holdStill(board, io));
      return {
        sinceMs,
        release: () => {
          board.world.hurries = false;
          release();
        },
      };
    } catch (error) {
      board.world.hurries = false;
      throw error;
    }
  }

  sweep(): Uint32Array {
    const { board } = this.#parts.subject;
    // The guest's writes to disks are to be seen here from now on.
    board.world.servesApart = true;
    const pages: number[] = [];
    board.map.sweep(this.#held, (page, host) => {
      this.#held[page] = host === 0 ? 0 : 1;
      pages.push(page);
    });
    // The first to write to a page comes to the map.
    for (const vcpu of board.vcpus) vcpu.forgetWriteTranslations();
    return Uint32Array.from(pages);
  }

  read(pages: Uint32Array): PageBatch {
    const { map, memory } = this.#parts.subject.board;
    const list = new RunList();
    const data = new Uint8Array(pages.length * FRAME_BYTES);
    let at = 0;
    for (const page of pages) {
      const found = map.look(page);
      const host = found.kind === 'memory' ? found.host : 0;
      const isEmpty = host === 0 || this.#isZero(host);
      list.add(page, isEmpty ? RUN.zero : RUN.data);
      if (isEmpty) continue;
      data.set(memory.u8.subarray(host, host + FRAME_BYTES), at);
      at += FRAME_BYTES;
    }
    return { meta: encodeRuns(list.runs), data: data.subarray(0, at) };
  }

  ticks(): number {
    return this.#parts.subject.ticks();
  }

  state(): () => Uint8Array {
    const { subject } = this.#parts;
    const since = this.#parts.takeConsole();
    // Whoever gets the first has nothing yet.
    const said = Buffer.from(this.#isTold ? since : subject.console());
    this.#isTold = true;
    const state = { ...stateOf(subject), addresses: this.#parts.addresses() };
    return () => Buffer.from(JSON.stringify({ ...state, console: said.toString('base64') }));
  }

  endSweeps(): void {
    this.#parts.subject.board.map.endSweeps();
    this.#parts.subject.board.world.servesApart = false;
    this.#held.fill(0);
  }

  throttle(cap: number | undefined): void {
    const { board } = this.#parts.subject;
    const { share } = board;
    const all = board.vcpus.length;
    board.commons.scheduler?.changeShare(board.partition, {
      ...share,
      ...(cap === undefined ? {} : { cap: Math.min(cap * all, share?.cap ?? all) }),
    });
  }

  #isZero(host: number): boolean {
    const end = (host + FRAME_BYTES) / 4;
    for (let i = host / 4; i < end; i++) if (must(this.#words[i]) !== 0) return false;
    return true;
  }
}
