/**
 * A partition of the cluster, in its store: `partitions/GUEST` is our record, the declaration as it was given; `specs/GUEST` is what the
 * cluster needs to know of it. Both are written together.
 */
import { randomUUID } from 'node:crypto';
import { closeSync, openSync, readSync, statSync } from 'node:fs';
import type { GuestSpec, Method, RecordKind } from '../../cluster/index.ts';
import type { Images } from '../../host/index.ts';
import { type PartitionSpec, partitionSpec } from '../schemas/spec.ts';
import { type ClusteredSpec, fixedMethod, isNetworked } from './clustered-spec.ts';

export interface PartitionRecord {
  /** Of this declaration: one that comes to the same name later is another one. */
  readonly id: string;
  readonly createdAt: string;
  readonly spec: PartitionSpec;
}

export const PARTITION: RecordKind<PartitionRecord> = {
  prefix: 'partitions/',
  shape: { id: 'text', createdAt: 'text', spec: (value) => partitionSpec.safeParse(value).success },
};

export function newRecord(spec: PartitionSpec): PartitionRecord {
  return { id: randomUUID(), createdAt: new Date().toISOString(), spec };
}

const DEFAULT_MEMORY = 512 << 20;
const DEFAULT_CODE_MEMORY = 64 << 20;
/** Of the process itself: Node, heaps, what V8 makes of the translator's code (measured: bench/memory.ts). */
const PROCESS_BYTES = 192 << 20;

const DEFAULTS = { recoveryTimeMs: 60_000, performanceFloor: 0.5, priority: 0 } as const;
/** A pair wants an application that is made for it. */
const METHODS: readonly Method[] = ['cold', 'warm', 'hot'];

/** What the cluster needs to know. `images`: for the size of an image's disk; 0 where it is not known yet. */
export async function guestSpecOf(
  name: string,
  spec: ClusteredSpec,
  wanted: GuestSpec['wanted'],
  images: Pick<Images, 'find'>,
): Promise<GuestSpec> {
  const { cpus = 1, cap = cpus, memoryBytes = DEFAULT_MEMORY, codeMemoryBytes = DEFAULT_CODE_MEMORY, failover } = spec;
  const { recoveryTimeMs, dataLossMs, performanceFloor, priority, group } = { ...DEFAULTS, ...failover };
  const fixed = fixedMethod(failover);
  const methods = failover.methods ?? (fixed === undefined || METHODS.includes(fixed) ? METHODS : [...METHODS, fixed]);
  return {
    name,
    cores: Math.min(cpus, cap),
    memoryBytes: memoryBytes + codeMemoryBytes + PROCESS_BYTES,
    diskBytes: await layerBytes(spec, images),
    requirements: {
      ...{ recoveryTimeMs, performanceFloor, priority },
      ...(dataLossMs === undefined ? {} : { dataLossMs }),
    },
    ...(group === undefined ? {} : { group }),
    methods,
    ...(fixed === undefined ? {} : { fixed }),
    wanted,
  };
}

/** What the guest's writes may come to on the host: layers over its disks, each as large as the disk at the most. */
async function layerBytes({ drives = [], image }: PartitionSpec, images: Pick<Images, 'find'>): Promise<number> {
  const disk = image === undefined ? undefined : (await images.find(image).catch(() => undefined))?.disk;
  const layers = drives.filter(({ overlay }) => overlay === true).map(({ file }) => file);
  return [...layers, ...(disk === undefined ? [] : [disk])].reduce((sum, file) => sum + diskBytes(file), 0);
}

const QCOW2 = 0x5146_49fb;

/** 0 for what is not here to be seen. */
function diskBytes(file: string): number {
  if (isNetworked(file)) return 0;
  try {
    const head = Buffer.alloc(32);
    const open = openSync(file, 'r');
    const length = readSync(open, head, 0, head.length, 0);
    closeSync(open);
    const isQcow2 = length === head.length && head.readUInt32BE() === QCOW2;
    return isQcow2 ? Number(head.readBigUInt64BE(24)) : statSync(file).size;
  } catch {
    return 0;
  }
}
