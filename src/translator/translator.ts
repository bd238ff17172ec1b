/**
 * What translates the hot code of the vCPUs that a thread runs: here, on that thread, or elsewhere, on one of its own
 * (translation-service.ts). Nothing that the guest can see depends on where, or when.
 *
 *   hot pc -> region -> waits for company -> a module of several regions -> this thread's table, the log
 *   hot pc -> queue --> the other thread makes and installs it ----------> this thread meets it: fetched from the log
 */
import type { MachineMemory, Processor, VcpuState } from '../engine/index.ts';
import { placeOf } from './code-source.ts';
import { FirstArrivals } from './first-arrivals.ts';
import { type HotCode, HotQueue, ringHotBell } from './hot-queue.ts';
import { ModuleTable } from './module-table.ts';
import { DEFAULT_TRANSLATION, SWEEP_STEPS, type TranslatorOptions } from './options.ts';
import { setSiteThresholds } from './promotion.ts';
import { promotionMode } from './promotion-mode.ts';
import { type FoundRegion, type GuestCode, RegionMaker } from './region-maker.ts';

export interface Translator {
  /** To be called before a vCPU runs for the first time. */
  start(state: VcpuState): void;
  /** The vCPU is gone. */
  stop(state: VcpuState): void;
  /** To be called before a vCPU runs on this thread, while it counts as running. False: code memory is full. */
  prepare(state: VcpuState): boolean;
}

/** Looks at the world after which waiting regions are compiled without more company. */
const PATIENCE = 4;

/** With a threshold of 1 the counters alone do not say what is to be translated. */
function firstArrivals(memory: MachineMemory, options: TranslatorOptions): FirstArrivals | undefined {
  return options.threshold === 1 ? new FirstArrivals(memory, options.secondThreshold) : undefined;
}

function setThresholds(memory: MachineMemory, state: VcpuState, options: TranslatorOptions): void {
  state.hotThreshold = options.threshold;
  state.hotterThreshold = options.secondThreshold;
  setSiteThresholds(state, promotionMode(memory, options.promotion));
}

/** What a vCPU was told of, if its fetch buffer knows the place, and it is to be translated now. */
function hotCode(
  memory: MachineMemory,
  state: VcpuState,
  why: HotCode['why'],
  first: FirstArrivals | undefined,
): HotCode | undefined {
  const place = placeOf(memory, state, why === 'reached' ? state.pc : state.sitePc);
  if (place === undefined || (why === 'reached' && first?.isNew(state, place) === false)) return undefined;
  return { ...place, epoch: memory.header.decodedEpoch, why };
}

/** Translates on the thread that runs the vCPUs: they wait meanwhile. */
export class LocalTranslator implements Translator {
  readonly #options: TranslatorOptions;
  readonly #memory: MachineMemory;
  readonly #maker: RegionMaker;
  readonly #table: ModuleTable;
  readonly #first: FirstArrivals | undefined;
  readonly #states: VcpuState[] = [];
  readonly #waiting = new Map<number, FoundRegion>();
  #patience = 0;
  /** Promotion code is waited for: until then its instructions leave the engine. */
  #isUrgent = false;

  constructor(
    memory: MachineMemory,
    processor: Processor,
    code: GuestCode,
    options: TranslatorOptions = DEFAULT_TRANSLATION,
    nowMs?: () => number,
  ) {
    this.#options = options;
    this.#memory = memory;
    this.#maker = new RegionMaker(memory, code, options, nowMs);
    this.#table = new ModuleTable(memory, processor);
    this.#first = firstArrivals(memory, options);
    processor.onHot = (state) => this.#hot(state, 'reached');
    processor.onSensitive = (state) => this.#hot(state, 'emulated');
  }

  start(state: VcpuState): void {
    setThresholds(this.#memory, state, this.#options);
    this.#states.push(state);
  }

  stop(state: VcpuState): void {
    const at = this.#states.indexOf(state);
    if (at >= 0) this.#states.splice(at, 1);
  }

  prepare(state: VcpuState): boolean {
    this.#maker.sweep(this.#states, this.#table);
    if (this.#table.catchUp(state)) this.#waiting.clear();
    if (this.#waiting.size > 0 && (++this.#patience >= PATIENCE || this.#isUrgent)) this.#compile();
    return this.#memory.header.regionsFull === 0;
  }

  /** The vCPU that runs found its pc hot, or the instruction at its sitePc worth promoting. */
  #hot(state: VcpuState, why: HotCode['why']): void {
    const hot = hotCode(this.#memory, state, why, this.#first);
    if (hot === undefined) return;
    if (this.#waiting.has(RegionMaker.headOf(hot))) return;
    const found = this.#maker.find(hot);
    if (found === undefined) return;
    this.#waiting.set(found.head, found);
    this.#first?.noteMade(found.head);
    this.#isUrgent ||= found.isPromotion;
    if (this.#waiting.size >= this.#options.batch) this.#compile();
  }

  #compile(): void {
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    this.#patience = 0;
    this.#isUrgent = false;
    if (!this.#maker.make(waiting, this.#table)) this.#memory.header.regionsFull = 1;
  }
}

/** Leaves translation to another thread of the machine, which a TranslationService runs on. */
export class RemoteTranslator implements Translator {
  readonly #options: TranslatorOptions;
  readonly #memory: MachineMemory;
  readonly #table: ModuleTable;
  readonly #first: FirstArrivals | undefined;
  readonly #queues = new Map<VcpuState, HotQueue>();
  #nextSweep = SWEEP_STEPS;

  constructor(memory: MachineMemory, processor: Processor, options: TranslatorOptions = DEFAULT_TRANSLATION) {
    this.#options = options;
    this.#memory = memory;
    this.#table = new ModuleTable(memory, processor);
    this.#first = firstArrivals(memory, options);
    processor.onHot = (state) => this.#hot(state, 'reached');
    processor.onSensitive = (state) => this.#hot(state, 'emulated');
  }

  start(state: VcpuState): void {
    setThresholds(this.#memory, state, this.#options);
    this.#queues.set(state, new HotQueue(state));
  }

  stop(state: VcpuState): void {
    this.#queues.delete(state);
  }

  prepare(state: VcpuState): boolean {
    this.#table.catchUp(state);
    // The other thread looks at what has cooled down when it is awake.
    if (state.steps >= this.#nextSweep) {
      this.#nextSweep = state.steps + SWEEP_STEPS;
      ringHotBell(this.#memory);
    }
    return this.#memory.header.regionsFull === 0;
  }

  #hot(state: VcpuState, why: HotCode['why']): void {
    const hot = hotCode(this.#memory, state, why, this.#first);
    if (hot !== undefined && this.#queues.get(state)?.put(hot) === true) ringHotBell(this.#memory);
  }
}
