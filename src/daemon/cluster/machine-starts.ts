/** How guests' machines come to run here, by each method. */
import { OperatorError } from '../../base/errors.ts';
import type { StartOrder } from '../../cluster/index.ts';
import type { Launching, Partitions } from '../partitions/index.ts';
import type { PartitionSpec } from '../schemas/spec.ts';
import type { GuestCosts } from './guest-costs.ts';
import { GuestProcess } from './guest-process.ts';
import type { GuestRecords } from './guest-records.ts';
import { coldStart, type Lease } from './starting.ts';

export interface MachineStartsParts {
  readonly partitions: Partitions;
  readonly records: GuestRecords;
  readonly costs: GuestCosts;
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
    await partitions.occupy(guest, spec, async (launching) => {
      started = await this.#by(order, spec, launching, signal);
      const process = started.process.id;
      records.put(guest, { kind: 'machine', generation, incarnation, method, process });
      return process.pid;
    });
    if (started !== undefined) return started;
    throw new TypeError('who occupies a partition begins it');
  }

  async #by(order: StartOrder, spec: PartitionSpec, launching: Launching, signal: AbortSignal): Promise<Started> {
    switch (order.method) {
      case 'cold':
        return await this.#boot(order, launching, signal);
      case 'warm':
      case 'hot':
      case 'pair':
        throw new OperatorError('no-standby', `nothing stands by for ${order.guest} here`, 'Start it cold');
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

  #lease({ incarnation, generation, deadlineMs }: StartOrder): Lease {
    return { incarnation, generation, deadlineMs: this.#parts.latest(incarnation, deadlineMs) };
  }

  #process({ guest }: StartOrder, pid: number): GuestProcess {
    return GuestProcess.of(guest, pid, this.#parts.folder);
  }
}
