/**
 * The verbs on partitions as people use them: on those of this host alone, as ever; on those with `failover`, through the cluster's
 * store, whichever host has them. What asks a machine asks the one that is here.
 */
import { randomBytes } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { OperatorError } from '../../base/errors.ts';
import type { RemoteMachine } from '../../host/index.ts';
import { checkDeclaration, type Partitions } from '../partitions/index.ts';
import type { ClusterPart } from '../schemas/cluster.ts';
import type { CreateRequest, DeclareRequest, ExitRecord, Partition, RestartPolicy } from '../schemas/partition.ts';
import type { PartitionSpec } from '../schemas/spec.ts';
import type { ClusterDoor } from './cluster-door.ts';
import type { ClusterGuest } from './cluster-view.ts';
import { type ClusteredSpec, checkClustered } from './clustered-spec.ts';
import type { GuestVerbs } from './guest-verbs.ts';

type Open = ReturnType<ClusterDoor['need']>;

export class OperatedPartitions {
  readonly #own: Partitions;
  readonly #door: ClusterDoor | undefined;

  /** `door` undefined: no daemon runs, and the cluster is asked of nothing. */
  constructor(own: Partitions, door: ClusterDoor | undefined) {
    this.#own = own;
    this.#door = door;
  }

  async list(): Promise<Partition[]> {
    const own = await this.#own.list();
    // Those of this host are there whether or not the store is.
    const guests = (await this.#door?.guests?.list().catch(() => [])) ?? [];
    if (guests.length === 0) return own;
    const here = new Map(own.map((one) => [one.name, one]));
    for (const guest of guests) here.set(guest.name, this.#view(guest, here.get(guest.name)));
    return [...here.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  async inspect(name: string): Promise<Partition> {
    const guest = await this.#guest(name);
    if (guest === undefined) return await this.#own.inspect(name);
    return this.#view(guest, await this.#own.inspect(name).catch(() => undefined));
  }

  async create(request: CreateRequest): Promise<Partition> {
    const { spec, restartPolicy = { name: 'no' }, removeAtEnd = false, start = false } = request;
    const { name = `kage-${randomBytes(3).toString('hex')}` } = request;
    if (!isClustered(spec)) {
      if (this.#door?.guests?.has(name) === true)
        throw new OperatorError('name-in-use', `the cluster has a partition ${name}`, 'Choose another name');
      return await this.#own.create(request);
    }
    const { guests } = this.#need();
    this.#check(name, spec, restartPolicy, removeAtEnd);
    if (this.#own.store.get(name) !== undefined || (await this.#own.machines.isLive(name)))
      if (!guests.has(name))
        throw new OperatorError(
          'name-in-use',
          `there is a partition ${name} of this host alone`,
          'Choose another name',
        );
    await guests.create(name, spec, start ? 'running' : 'stopped');
    this.#own.store.add('created', name, { cluster: true });
    if (start) await guests.start(name);
    return await this.inspect(name);
  }

  async declare(name: string, request: DeclareRequest): ReturnType<Partitions['declare']> {
    const { spec, restartPolicy = { name: 'no' } } = request;
    const before = await this.#guest(name);
    if (before === undefined && !isClustered(spec)) return await this.#own.declare(name, request);
    if (before === undefined)
      return { change: 'created', partition: await this.create({ name, ...request, start: true }) };
    const { guests } = this.#need();
    if (!isClustered(spec))
      throw new OperatorError(
        'clustered',
        `${name} is the cluster's, and is declared without failover here`,
        `Remove it first with "kage rm ${name}", or say failover`,
      );
    this.#check(name, spec, restartPolicy, false);
    const change = isDeepStrictEqual(before.record.spec, spec) ? 'unchanged' : 'changed';
    if (change === 'changed') await this.#redeclare(guests, before, spec);
    return { change, partition: await this.start(name) };
  }

  async update(name: string, policy: RestartPolicy): Promise<Partition> {
    if ((await this.#guest(name)) === undefined) return await this.#own.update(name, policy);
    throw restartsItself();
  }

  async start(name: string, signal?: AbortSignal): Promise<Partition> {
    if ((await this.#guest(name)) === undefined) return await this.#own.start(name);
    await this.#need().guests.start(name, signal);
    return await this.inspect(name);
  }

  async stop(name: string, options: { graceMs?: number } = {}): Promise<Partition> {
    if ((await this.#guest(name)) === undefined) return await this.#own.stop(name, options);
    await this.#need().guests.stop(name);
    return await this.inspect(name);
  }

  async kill(name: string): Promise<Partition> {
    return (await this.#guest(name)) === undefined ? await this.#own.kill(name) : await this.stop(name);
  }

  async restart(name: string, options: { graceMs?: number } = {}): Promise<Partition> {
    if ((await this.#guest(name)) === undefined) return await this.#own.restart(name, options);
    await this.stop(name);
    return await this.start(name);
  }

  async remove(name: string, options: { force?: boolean } = {}): Promise<void> {
    if ((await this.#guest(name)) === undefined) return await this.#own.remove(name, options);
    await this.#need().guests.remove(name, options);
    this.#own.store.add('removed', name, { cluster: true });
  }

  async pause(name: string): Promise<Partition> {
    if ((await this.#guest(name)) === undefined) return await this.#own.pause(name);
    throw new OperatorError(
      'clustered',
      `the cluster would take ${name} for failed`,
      `Stop it with "kage stop ${name}"`,
    );
  }

  async resume(name: string): Promise<Partition> {
    await this.#here(name);
    return await this.#own.resume(name);
  }

  async wait(name: string): Promise<ExitRecord> {
    await this.#here(name);
    return await this.#own.wait(name);
  }

  async logs(...call: Parameters<Partitions['logs']>): ReturnType<Partitions['logs']> {
    await this.#here(call[0]);
    return await this.#own.logs(...call);
  }

  /** Errors: `on-another-host`, and those of Partitions. */
  async reach(name: string): Promise<RemoteMachine> {
    await this.#here(name);
    return await this.#own.reach(name);
  }

  /** Undefined: it is this host's alone. Errors: `no-daemon`, `cluster-closed` where only the cluster could tell. */
  async #guest(name: string): Promise<ClusterGuest | undefined> {
    const guests = this.#door?.guests;
    const own = this.#own.store.get(name)?.spec;
    if (guests === undefined && own?.failover !== undefined) this.#need();
    if (own !== undefined && own.failover === undefined && guests?.has(name) !== true) return undefined;
    try {
      return await guests?.find(name);
    } catch (error) {
      if (own === undefined && (await this.#own.machines.isLive(name))) return undefined;
      throw error;
    }
  }

  async #here(name: string): Promise<void> {
    const guest = this.#door?.guests === undefined ? undefined : await this.#guest(name);
    if (guest === undefined) return;
    const { host, state } = guest.line;
    if (host === this.#door?.member?.name && state === 'running') return;
    if (state !== 'running')
      throw new OperatorError('not-running', `${name} does not run`, `See why with "kage cluster status"`);
    throw new OperatorError('on-another-host', `${name} runs on the host ${host}`, `Ask the daemon of ${host}`);
  }

  #need(): Open {
    if (this.#door !== undefined) return this.#door.need();
    throw noDaemon();
  }

  #check(name: string, spec: ClusteredSpec, policy: RestartPolicy, removeAtEnd: boolean): void {
    if (policy.name !== 'no') throw restartsItself();
    checkDeclaration(name, spec, policy, false);
    if (removeAtEnd)
      throw new OperatorError(
        'bad-spec',
        'the cluster keeps a partition up, and --rm ends it',
        'Leave one of them out',
      );
    checkClustered(spec);
  }

  /** What it needs of the cluster changes at once; what it is made of, with another machine. */
  async #redeclare(guests: GuestVerbs, { name, record, line }: ClusterGuest, spec: ClusteredSpec): Promise<void> {
    const { failover: _, ...before } = record.spec;
    const { failover: __, ...now } = spec;
    if (line.wanted === 'running' && !isDeepStrictEqual(before, now)) await guests.stop(name);
    await guests.respec(name, spec);
    this.#own.store.add('changed', name, { cluster: true });
  }

  #view({ name, record, line }: ClusterGuest, own: Partition | undefined): Partition {
    const [inForce] = line.associations;
    const cluster: ClusterPart = {
      ...(line.host === undefined ? {} : { host: line.host }),
      ...{ state: line.state, generation: line.generation },
      ...(inForce === undefined ? {} : { method: inForce.method }),
      ...{ why: line.why, missed: [...line.missed] },
    };
    const isHere = line.state === 'running' && line.host === this.#door?.member?.name;
    const machine = isHere ? own?.machine : undefined;
    return {
      ...{ name, managed: true, spec: record.spec, restartPolicy: { name: 'no' }, restarts: 0 },
      ...{ createdAt: record.createdAt, cluster },
      state: isHere ? hereState(own?.state) : STATES[line.state](line.generation),
      ...(machine === undefined ? {} : { machine }),
      ...(line.state === 'stopped' && own?.exit !== undefined ? { exit: own.exit } : {}),
    };
  }
}

const STATES = {
  running: () => 'running',
  moving: () => 'starting',
  waiting: (generation) => (generation === 0 ? 'starting' : 'restarting'),
  stopped: (generation) => (generation === 0 ? 'created' : 'exited'),
} as const satisfies Record<ClusterPart['state'], (generation: number) => Partition['state']>;

/** It is ours: as long as its machine is not there, it is on its way. */
function hereState(state: Partition['state'] | undefined): Partition['state'] {
  return state === 'running' || state === 'paused' ? state : 'starting';
}

function isClustered(spec: PartitionSpec): spec is ClusteredSpec {
  return spec.failover !== undefined;
}

function restartsItself(): OperatorError {
  return new OperatorError(
    'bad-spec',
    'the cluster starts again what ended, whatever a policy says',
    'Leave out --restart',
  );
}

export function noDaemon(): OperatorError {
  return new OperatorError(
    'no-daemon',
    'no daemon runs here, and a host is in its cluster by its daemon',
    'Start it with "kage serve"',
  );
}
