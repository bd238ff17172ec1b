/** How guests' machines come to run here, by each method. */
import { must } from '../../base/assert.ts';
import { OperatorError } from '../../base/errors.ts';
import type { StartOrder } from '../../cluster/index.ts';
import type { Launching, Partitions } from '../partitions/index.ts';
import type { PartitionSpec } from '../schemas/spec.ts';
import type { GuestCosts } from './guest-costs.ts';
import { GuestProcess } from './guest-process.ts';
import type { GuestRecords } from './guest-records.ts';
import { HotStandby } from './hot-standby.ts';
import type { KeptStandbys } from './kept-standbys.ts';
import { PairStandby } from './pair-standby.ts';
import { coldStart, type Lease, promotedFiles, warmStart } from './starting.ts';
import { WarmStandby } from './warm-standby.ts';

export interface MachineStartsParts {
  readonly partitions: Partitions;
  readonly records: GuestRecords;
  readonly costs: GuestCosts;
  readonly standbys: KeptStandbys;
  /** Of sockets. */
  readonly folder: string;
  /** The latest deadline of that incarnation, at least this one. */
  latest(incarnation: number, deadlineMs: number): number;
}

export interface Started {
  readonly process: GuestProcess;
  readonly deadlineMs: number;
  /** When a boot began, by performance.now(). */
  readonly bootingSinceMs?: number;
}

export class MachineStarts {
  readonly #parts: MachineStartsParts;

  constructor(parts: MachineStartsParts) {
    this.#parts = parts;
  }

  /** Resolves when its machine answers, and is written down. Nothing is left of one that the signal breaks off. */
  async start(order: StartOrder, spec: PartitionSpec, signal: AbortSignal): Promise<Started> {
    const { partitions, records } = this.#parts;
    const { guest, generation, incarnation, method } = order;
    let started: Started | undefined;
    try {
      await partitions.occupy(guest, spec, async (launching) => {
        started = await this.#by(order, spec, launching, signal);
        const process = started.process.id;
        records.put(guest, { kind: 'machine', generation, incarnation, method, process });
        return process.pid;
      });
    } catch (error) {
      // It runs, and could not be written down: nobody would know of it.
      await started?.process.end({ kind: 'killed' });
      throw error;
    }
    return must(started, 'who occupies a partition begins it');
  }

  async #by(order: StartOrder, spec: PartitionSpec, launching: Launching, signal: AbortSignal): Promise<Started> {
    switch (order.method) {
      case 'cold':
        return await this.#boot(order, launching, signal);
      case 'hot':
        return await this.#promote(order, launching, signal);
      case 'warm':
        return await this.#restore(order, spec, launching, signal);
      case 'pair':
        return await this.#takeOver(order);
    }
  }

  async #boot(order: StartOrder, launching: Launching, signal: AbortSignal): Promise<Started> {
    const planned = await launching.plan(signal);
    // Finding an image may take its time.
    const lease = this.#lease(order);
    const bootingSinceMs = performance.now();
    const pid = await launching.run(coldStart(planned, lease, order.cores), signal);
    return { process: this.#process(order, pid), deadlineMs: lease.deadlineMs, bootingSinceMs };
  }

  async #promote(order: StartOrder, launching: Launching, signal: AbortSignal): Promise<Started> {
    const { guest, generation } = order;
    const { standbys } = this.#parts;
    const standby = standbys.get(guest);
    if (!(standby instanceof HotStandby)) throw noStandby(guest);
    const files = promotedFiles(await launching.plan(signal), generation);
    signal.throwIfAborted();
    const lease = this.#lease(order);
    try {
      return { process: await standby.promote(lease, files), deadlineMs: lease.deadlineMs };
    } finally {
      standbys.release(guest);
    }
  }

  async #restore(order: StartOrder, spec: PartitionSpec, launching: Launching, signal: AbortSignal): Promise<Started> {
    const { guest, cores } = order;
    const { standbys, costs } = this.#parts;
    const standby = standbys.get(guest);
    if (!(standby instanceof WarmStandby)) throw noStandby(guest);
    const lease = this.#lease(order);
    const sinceMs = performance.now();
    try {
      const pid = await launching.run(warmStart(guest, spec, standby.latest, lease, cores), signal);
      costs.took(guest, { restoreMs: performance.now() - sinceMs });
      return { process: this.#process(order, pid), deadlineMs: lease.deadlineMs };
    } finally {
      // All of it was read, or it is of no use.
      await standbys.drop(guest);
    }
  }

  /** It runs, and has this host's lease already. */
  async #takeOver({ guest, incarnation, deadlineMs }: StartOrder): Promise<Started> {
    const { standbys } = this.#parts;
    const standby = standbys.get(guest);
    if (!(standby instanceof PairStandby)) throw noStandby(guest);
    const process = await standby.takeOver(incarnation);
    standbys.release(guest);
    return { process, deadlineMs: Math.min(deadlineMs, 0) };
  }

  #lease({ incarnation, generation, deadlineMs }: StartOrder): Lease {
    return { incarnation, generation, deadlineMs: this.#parts.latest(incarnation, deadlineMs) };
  }

  #process({ guest }: StartOrder, pid: number): GuestProcess {
    return GuestProcess.of(guest, pid, this.#parts.folder);
  }
}

function noStandby(guest: string): OperatorError {
  return new OperatorError('no-standby', `nothing stands by for ${guest} here`, 'Start it cold');
}
