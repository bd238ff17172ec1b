/** What a machine of the cluster is started with: what was declared, with its lease, its generation's disks, its cores, its heart. */
import type { DetachedStart, DriveOptions, MachineOptions, RestoreOptions } from '../../host/index.ts';
import type { PartitionSpec } from '../schemas/spec.ts';
import { HEARTBEAT_MS } from './beats.ts';
import { type DriveFile, withGeneration } from './gated-drives.ts';

export interface Lease {
  readonly incarnation: number;
  readonly generation: number;
  readonly deadlineMs: number;
}

/** A guest cannot do with less. */
const LEAST_CORES = 0.05;
const MOST_CORES = 32;

/** `planned`: of what was declared. A boot from the guest's own disks. */
export function coldStart(planned: DetachedStart, lease: Lease, cores: number): DetachedStart {
  if (planned.kind === 'receive') throw new TypeError('a partition is started, and does not stand by');
  const more = { ...ofCluster(planned.options, cores), lease };
  if (planned.kind === 'restore') return { ...planned, options: { ...planned.options, ...more } };
  const options: MachineOptions = { ...planned.options, ...more };
  if (options.drives === undefined) return { ...planned, options };
  return { ...planned, options: { ...options, drives: withGeneration(options.drives, lease.generation).drives } };
}

/** On from a checkpoint that lies here. */
export function warmStart(name: string, spec: PartitionSpec, file: string, lease: Lease, cores: number): DetachedStart {
  return { kind: 'restore', file, options: { ...restorable(name, spec), ...ofCluster(spec, cores), lease } };
}

/** A process that has the guest of another host, and does not run it. */
export function hotStandby(name: string, spec: PartitionSpec, listen: string, tls: string): DetachedStart {
  const machine = { ...restorable(name, spec), heartbeatMs: heartbeatOf(spec) };
  return { kind: 'receive', options: { listen, tls, machine, onLoss: 'wait' } };
}

/** The disks of a guest that goes on here under that generation, as far as they are other than where it was. */
export function promotedFiles(planned: DetachedStart, generation: number): readonly DriveFile[] {
  const drives: readonly DriveOptions[] = planned.kind === 'start' ? (planned.options.drives ?? []) : [];
  return withGeneration(drives, generation).files;
}

export function capOf(cores: number, cap: number | undefined): number {
  return Math.min(MOST_CORES, cap ?? MOST_CORES, Math.max(LEAST_CORES, cores));
}

function ofCluster(
  options: Heart & { readonly cap?: number },
  cores: number,
): { readonly cap: number; readonly heartbeatMs: number } {
  return { cap: capOf(cores, options.cap), heartbeatMs: heartbeatOf(options) };
}

interface Heart {
  readonly agent?: PartitionSpec['agent'];
  readonly heartbeatMs?: number;
}

/** Its operator may want it faster; a guest without an agent has none. */
function heartbeatOf({ agent, heartbeatMs = 0 }: Heart): number {
  if (agent === false || agent === 'off') return 0;
  return heartbeatMs > 0 ? Math.min(heartbeatMs, HEARTBEAT_MS) : HEARTBEAT_MS;
}

/** What was declared of it that its snapshot does not decide: networks, ports, folders of this host. */
function restorable(name: string, spec: PartitionSpec): RestoreOptions {
  const { publish, vsock, netdevs, failback, pathFailover, processors, weight, pin, shares, health } = spec;
  const given = { publish, vsock, netdevs, failback, pathFailover, processors, weight, pin, shares, health };
  const said = Object.entries(given).filter(([, value]) => value !== undefined);
  return { name, ...Object.fromEntries(said) };
}
