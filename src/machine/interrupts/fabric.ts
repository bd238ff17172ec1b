/**
 * A machine's interrupts by PCI Express: ports, each with a relay (or a plain wire), and the VMM's interrupt service, in the
 * memory that all threads and all partitions of the machine share.
 *
 * A partition's root complex is a segment of the fabric: functions of two partitions with the same bus, device and function
 * number are two requesters, and may be behind one port. A guest knows nothing of that: it sees its own interrupts.
 *
 *     function --> segment is added --> port n: relay --> service --> partition's controller: line, message
 */
import { assert, must } from '../../base/assert.ts';
import { SharedLock } from '../../base/lock.ts';
import type { Saved } from '../../base/struct.ts';
import { SharedWords, type Words, wordOffsets } from '../../base/words.ts';
import {
  InterruptPort,
  type InterruptTransaction,
  portLayout,
  type RequesterId,
  type TransactionPort,
} from '../../devices/index.ts';
import { InterruptService, serviceLayout, serviceRows, type ThrottleOptions } from '../../hypervisor/index.ts';
import { type FabricStats, fabricStats } from './fabric-stats.ts';
import { restoreCounters, saveCounters } from './saved-counters.ts';

export interface InterruptFabricOptions {
  /** Ports, 1 to 32. */
  readonly ports: number;
  /** Functions behind a port, 1 to 256. */
  readonly functions: number;
  /** Absent: 64. */
  readonly identifiers?: number;
  readonly relay: boolean;
  readonly throttle?: ThrottleOptions;
}

/** A partition's interrupt controller, as far as functions reach it. */
export interface PartitionController {
  line(source: number): { set(level: boolean): void };
  /** A message; false: nothing takes it. */
  send(address: number, data: number): boolean;
}

export interface FabricPorts {
  /** Of the machine's clock, in 100 ns; fractions and high bits do not count. */
  ticks(): number;
  /** On this thread. Undefined: there is no such partition. */
  controllerOf(partition: number): PartitionController | undefined;
  /** Has `look` called on some thread when so many ticks have passed, or later. */
  lookAfter(ticks: number): void;
}

/** Where a function is, and whose. */
export interface FunctionPlace {
  readonly partition: number;
  /** As its own fabric numbers it. */
  readonly requester: RequesterId;
  /** The source of the partition's controller that each pin is, from INTA on. */
  readonly sources: readonly number[];
}

const SEGMENT = 0x1_0000;

/** A requester of the machine: the partition's number is the segment. */
export function machineRequester(partition: number, requester: RequesterId): RequesterId {
  return partition * SEGMENT + requester;
}

function machineRequesters(partition: number, functions: readonly RequesterId[]): RequesterId[] {
  return functions.map((requester) => machineRequester(partition, requester));
}

export class InterruptFabric {
  readonly service: InterruptService;
  readonly ports: readonly InterruptPort[];
  readonly options: InterruptFabricOptions;
  readonly #outside: FabricPorts;
  readonly #words: Words;
  readonly #lock: SharedLock;
  /** Ports by requester, as this thread has found them. */
  readonly #found = new Map<RequesterId, InterruptPort>();

  static sizeBytes(options: InterruptFabricOptions): number {
    return places(options).sizeBytes;
  }

  /** `at`: bytes, a zeroed block of `sizeBytes` that all threads wrap, a multiple of 8. */
  constructor(buffer: ArrayBufferLike, at: number, options: InterruptFabricOptions, outside: FabricPorts) {
    assert(options.ports >= 1 && options.ports <= 32, 'ports are few');
    const { relay, throttle } = options;
    const words: Words = new SharedWords(buffer);
    const { portAt, serviceAt, rows } = places(options);
    this.options = options;
    this.#outside = outside;
    this.#words = words;
    const ticks = (): number => Math.floor(outside.ticks()) % 2 ** 32;
    const raise = (isFall: boolean): void => {
      if (isFall) this.service.serveFall();
      else this.service.serve();
    };
    this.ports = portAt.map((offset) => {
      return new InterruptPort(shapeOf(options), { words, at: at + offset, relay, ticks, raise });
    });
    this.#lock = lockOf(buffer, at + serviceAt, rows);
    const service = {
      words,
      at: at + serviceAt,
      lock: this.#lock,
      ...(throttle && { throttle }),
    };
    this.service = new InterruptService(service, this.ports, {
      ticks,
      setLine: (partition, source, level) => outside.controllerOf(partition)?.line(source).set(level),
      message: (partition, address, data) => outside.controllerOf(partition)?.send(address, data) ?? false,
      lookAfter: (after) => outside.lookAfter(after),
    });
  }

  /** The partition has the function from now on, behind the port of its bus's number or the next. False: there is no room. */
  add({ partition, requester, sources }: FunctionPlace): boolean {
    const one = machineRequester(partition, requester);
    const first = (requester >> 8) % this.ports.length;
    const isAttached = this.ports.some((_, i) => this.service.attach((first + i) % this.ports.length, one));
    if (isAttached) this.service.assign(one, { partition, sources });
    return isAttached;
  }

  /** The function is gone: it sends no more. */
  remove({ partition, requester }: Pick<FunctionPlace, 'partition' | 'requester'>): void {
    const one = machineRequester(partition, requester);
    if (this.#portOf(one) === undefined) return;
    this.service.detach(one);
    this.#found.delete(one);
  }

  /** Where the functions of a partition send what interrupts. */
  portOf(partition: number): TransactionPort {
    return {
      send: (transaction: InterruptTransaction) => {
        const requester = machineRequester(partition, transaction.requester);
        const port = this.#portOf(requester) ?? must(this.ports[0]);
        port.line.send({ ...transaction, requester });
      },
    };
  }

  /** Whatever waits for the end of a window is delivered now: before a snapshot. */
  settle(): void {
    this.service.settle();
  }

  /** All other threads were ended, in the middle of whatever they did. */
  freeLock(): void {
    this.#lock.release();
  }

  /** Counters: of everybody, or of one partition. */
  stats(partition?: number): FabricStats {
    const now = Math.floor(this.#outside.ticks()) % 2 ** 32;
    return fabricStats(this.service, this.ports, now, partition);
  }

  /** Counters of a partition's functions, as its fabric numbers them; nobody interrupts. Restored they must fit `countersLayout`. */
  saveCounters(partition: number, functions: readonly RequesterId[]): Saved {
    return saveCounters(this.#words, this.service, machineRequesters(partition, functions));
  }

  restoreCounters(partition: number, functions: readonly RequesterId[], saved: Saved): void {
    restoreCounters(this.#words, this.service, machineRequesters(partition, functions), saved);
  }

  #portOf(requester: RequesterId): InterruptPort | undefined {
    const known = this.#found.get(requester);
    if (known?.records.rowOf(requester) !== undefined) return known;
    const port = this.ports.find(({ records }) => records.rowOf(requester) !== undefined);
    if (port) this.#found.set(requester, port);
    return port;
  }
}

function shapeOf({ functions, identifiers }: InterruptFabricOptions) {
  return { functions, ...(identifiers === undefined ? {} : { identifiers }) };
}

/** Offsets in the block. */
function places(options: InterruptFabricOptions) {
  const port = portLayout(shapeOf(options)).sizeBytes;
  const rows = serviceRows(new Array(options.ports).fill(options));
  const serviceAt = port * options.ports;
  return {
    portAt: Array.from({ length: options.ports }, (_, i) => i * port),
    serviceAt,
    rows,
    sizeBytes: serviceAt + serviceLayout(rows).sizeBytes,
  };
}

function lockOf(buffer: ArrayBufferLike, at: number, rows: number): SharedLock {
  return new SharedLock(new Int32Array(buffer), at / 4 + wordOffsets(serviceLayout(rows)).lock);
}
