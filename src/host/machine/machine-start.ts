/** Starts a machine, or another partition of one: opens what it has of the host's, puts it together, and lets it run. */
import { availableParallelism } from 'node:os';
import { boardConfig, partitionConfig } from '../../machine/index.ts';
import { MachineNetworks } from '../network/machine-networks.ts';
import { checkCare } from './guest-agents.ts';
import { GuestBackends, type GuestBackendsParts } from './guest-backends.ts';
import { leasePorts } from './lease-clock.ts';
import { LocalMachine } from './machine.ts';
import type { ForkOptions, MachineHandle, PartitionOptions } from './machine-api.ts';
import type { MachineHome } from './machine-home.ts';
import { checkLeasable, MachineLease } from './machine-lease.ts';
import { MachineThreads } from './machine-threads.ts';
import type { Origin } from './origin.ts';
import { twinConfig } from './twin.ts';

export interface MachineParts extends GuestBackendsParts {
  readonly origin: Origin;
  /** Makes another partition of the machine; a twin of one that there is. */
  readonly another: (options: PartitionOptions, home: MachineHome) => Promise<MachineHandle>;
  readonly twin: (original: LocalMachine, options: ForkOptions) => Promise<MachineHandle>;
}

/**
 * Builds, loads and starts the machine, or another partition of the one whose `home` is given. Rejects with OperatorError
 * on bad options; nothing is left behind then.
 */
export async function startMachine(parts: MachineParts, home?: MachineHome): Promise<LocalMachine> {
  const { options, origin } = parts;
  const twinOf = origin.kind === 'twin' ? origin.original.body : undefined;
  checkCare(options);
  if (options.lease !== undefined) checkLeasable(options);
  // Who stands by has none yet, and joins its network when the guest comes.
  const isReplica = origin.kind === 'replica';
  const lease = new MachineLease(leasePorts, isReplica ? undefined : options.lease);
  const config =
    home === undefined
      ? boardConfig(options, true, availableParallelism())
      : twinOf === undefined
        ? partitionConfig(options, home.config)
        : twinConfig(options, twinOf.config, home.config);
  const threads =
    home === undefined && config.clock === 'real'
      ? new MachineThreads({ processors: config.processors, translates: config.translation !== undefined })
      : undefined;
  const { pathFailover: failover = true } = options;
  const networks = home?.networks ?? new MachineNetworks({ failover, mayLeave: () => lease.mayAct });
  const backends = new GuestBackends(parts, networks, lease);
  let machine: LocalMachine | undefined;
  try {
    if (!isReplica) await backends.join({ original: twinOf?.backends.network });
    machine = new LocalMachine(parts, { config, origin, backends, lease, where: home ?? threads });
    await machine.begin(origin);
    return machine;
  } catch (error) {
    lease.end();
    backends.leaveNetworks();
    if (home === undefined) networks.close();
    await threads?.terminate();
    if (home && machine) await machine.abandon();
    throw error;
  }
}
