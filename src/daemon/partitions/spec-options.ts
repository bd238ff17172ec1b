/** From what was declared to what a machine's process is started with. */
import { OperatorError } from '../../base/errors.ts';
import {
  type DetachedStart,
  type Images,
  imageFor,
  type MachineOptions,
  type RestoreOptions,
  type WorkOptions,
  withBootSnapshot,
  withImage,
} from '../../host/index.ts';
import type { PartitionSpec } from '../schemas/spec.ts';

/** What a machine that is restored may be told (host/machine/machine-api.ts, RestoreOptions). */
const RESTORABLE: ReadonlySet<string> = new Set<keyof RestoreOptions>([
  ...(['publish', 'vsock', 'netdevs', 'failback', 'pathFailover', 'processors', 'weight', 'cap', 'pin'] as const),
  ...(['gdbPort', 'startPaused', 'codeMemoryBytes', 'translate', 'hotThreshold', 'promotion', 'shadows'] as const),
  ...(['shadowModel', 'combinedShadows', 'relay'] as const),
]);

/** What is wrong whatever is on the host; throws OperatorError `bad-spec`. */
export function checkSpec({ image, restoreFrom, beside, ...machine }: PartitionSpec): void {
  const { kernel, bios } = machine;
  if (restoreFrom !== undefined) {
    const other = Object.keys({
      ...machine,
      ...(image === undefined ? {} : { image }),
      ...(beside === undefined ? {} : { beside }),
    }).find((name) => !RESTORABLE.has(name));
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

/** Finds the image, or fetches it. */
export async function startOf(
  name: string,
  { image, restoreFrom, beside: _, ...machine }: PartitionSpec,
  images: Images,
  work: WorkOptions,
): Promise<DetachedStart> {
  if (restoreFrom !== undefined) return { kind: 'restore', file: restoreFrom, options: { ...machine, name } };
  const asked: MachineOptions = { ...machine, name };
  const found = image === undefined ? undefined : await imageFor(image, asked, images, work);
  return { kind: 'start', options: withBootSnapshot(withImage(asked, found), found) };
}
