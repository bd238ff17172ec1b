/** From what was declared to what a machine's process is started with. */
import { OperatorError } from '../../base/errors.ts';
import {
  checkMachineName,
  type DetachedStart,
  type Images,
  imageFor,
  type MachineOptions,
  type RestoreOptions,
  type WorkOptions,
  withBootSnapshot,
  withImage,
} from '../../host/index.ts';
import type { RestartPolicy } from '../schemas/partition.ts';
import type { PartitionSpec } from '../schemas/spec.ts';

/** What a machine that is restored may be told (host/machine/machine-api.ts, RestoreOptions); leases are the cluster's to give. */
const RESTORABLE = {
  ...{ publish: true, vsock: true, netdevs: true, failback: true, pathFailover: true, processors: true, weight: true },
  ...{ cap: true, pin: true, gdbPort: true, startPaused: true, codeMemoryBytes: true, translate: true },
  ...{ hotThreshold: true, promotion: true, shadows: true, shadowModel: true, combinedShadows: true, relay: true },
  ...{ shares: true, heartbeatMs: true, health: true },
} satisfies Record<Exclude<keyof RestoreOptions, 'name' | 'signal' | 'lease'>, true>;

/** What is wrong whatever is on the host; throws OperatorError `bad-spec`. */
function checkSpec({ image, restoreFrom, beside, ...machine }: PartitionSpec): void {
  const { kernel, bios } = machine;
  if (restoreFrom !== undefined) {
    const other = Object.keys({
      ...machine,
      ...(image === undefined ? {} : { image }),
      ...(beside === undefined ? {} : { beside }),
    }).find((name) => !Object.hasOwn(RESTORABLE, name));
    if (other !== undefined)
      throw new OperatorError(
        'bad-spec',
        `the snapshot says what ${other} is`,
        'Leave it out, or leave out restoreFrom',
      );
  } else if (image === undefined && kernel === undefined && bios === undefined)
    throw new OperatorError(
      'bad-spec',
      'nothing is named that could be started',
      'Name an image, a kernel or firmware',
    );
}

/** Errors: `bad-name`, `bad-spec`. */
export function checkDeclaration(name: string, spec: PartitionSpec, policy: RestartPolicy, removeAtEnd: boolean): void {
  checkMachineName(name);
  checkSpec(spec);
  if (policy.most !== undefined && policy.name !== 'on-failure')
    throw new OperatorError('bad-spec', `${policy.name} has no number of restarts`, 'Leave it out, or say on-failure');
  if (removeAtEnd && policy.name !== 'no')
    throw new OperatorError('bad-spec', 'what goes at its end cannot be restarted', 'Leave out --rm or --restart');
}

/** Finds the image, or fetches it. */
export async function startOf(
  name: string,
  { image, restoreFrom, beside: _, failover: __, ...machine }: PartitionSpec,
  images: Images,
  work: WorkOptions,
): Promise<DetachedStart> {
  if (restoreFrom !== undefined) return { kind: 'restore', file: restoreFrom, options: { ...machine, name } };
  const asked: MachineOptions = { ...machine, name };
  const found = image === undefined ? undefined : await imageFor(image, asked, images, work);
  return { kind: 'start', options: withBootSnapshot(withImage(asked, found), found) };
}
