/** A partition as it is shown: what was declared, and what is found running under its name. */
import type { MachineInfo } from '../../host/index.ts';
import type { Partition } from '../schemas/partition.ts';
import type { Definition } from '../store/index.ts';

/** What only the one who starts and restarts it knows. */
export interface Doing {
  readonly isStarting: boolean;
  /** When it is to be started again. */
  readonly restartAt?: string | undefined;
}

export function viewOf(definition: Definition, info: MachineInfo | undefined, doing: Doing): Partition {
  const { name, spec, policy, removeAtEnd, restarts, createdAt, exit } = definition;
  return {
    name,
    state: stateOf(definition, info, doing),
    managed: true,
    spec,
    restartPolicy: policy,
    ...(removeAtEnd ? { removeAtEnd } : {}),
    restarts,
    ...(doing.restartAt === undefined ? {} : { restartAt: doing.restartAt }),
    createdAt,
    ...(info === undefined ? {} : { machine: machineOf(info) }),
    ...(exit === undefined ? {} : { exit }),
  };
}

function stateOf({ startedAt }: Definition, info: MachineInfo | undefined, doing: Doing): Partition['state'] {
  if (info !== undefined && info.state !== 'ended') return info.state;
  if (doing.isStarting) return 'starting';
  if (doing.restartAt !== undefined) return 'restarting';
  return startedAt === undefined ? 'created' : 'exited';
}

/** Of a machine that nobody declared. */
export function foundView(info: MachineInfo): Partition {
  return {
    name: info.name,
    state: info.state === 'paused' ? 'paused' : info.state === 'ended' ? 'exited' : 'running',
    managed: false,
    restartPolicy: { name: 'no' },
    restarts: 0,
    machine: machineOf(info),
  };
}

function machineOf({
  pid,
  cpus,
  memoryBytes,
  startedAt,
  publish,
  fork,
  agent,
  health,
}: MachineInfo): NonNullable<Partition['machine']> {
  return {
    pid,
    cpus,
    memoryBytes,
    startedAt,
    publish: [...publish],
    ...(fork === undefined ? {} : { fork }),
    ...(agent === undefined ? {} : { agent }),
    ...(health === undefined ? {} : { health: { ...health, log: [...health.log] } }),
  };
}
