/** What of a declaration the cluster can keep up at all, whatever hosts there are. */
import { OperatorError } from '../../base/errors.ts';
import type { Method } from '../../cluster/index.ts';
import type { Failover } from '../schemas/failover.ts';
import type { PartitionSpec } from '../schemas/spec.ts';

/** The spec of a partition that the cluster keeps up. */
export type ClusteredSpec = PartitionSpec & { readonly failover: Failover };

/** etcd takes requests of 1.5 MiB. */
const MOST_BYTES = 512 << 10;

/** Errors: `bad-spec`. */
export function checkClustered(spec: ClusteredSpec): void {
  const { drives = [], failover } = spec;
  const wrong = (what: string, fix: string): OperatorError => new OperatorError('bad-spec', what, fix);
  for (const name of ['restoreFrom', 'beside'] as const)
    if (spec[name] !== undefined) throw wrong(`a partition with failover cannot have ${name}`, 'Leave one of them out');
  for (const { file, overlay = false, readOnly = false } of drives) {
    if (isNetworked(file) || overlay === true || readOnly) continue;
    const fix = 'Put it behind an NBD server (file=nbd://HOST/NAME), or add snapshot=on to have it end with the guest';
    throw wrong(`${file} is a disk of this host alone, and no other could go on with it`, fix);
  }
  const fixed = fixedMethod(failover);
  const { methods } = failover;
  if (fixed !== undefined && methods !== undefined && !methods.includes(fixed))
    throw wrong(`the method ${fixed} is not one of ${methods.join(', ')}`, 'Name it in methods, or leave methods out');
  const isPair = fixed === 'pair' || methods?.includes('pair') === true;
  if (isPair && failover.takeOverCommand === undefined)
    throw wrong('of a pair the other application must be told to take over', 'Give it a take-over command');
  if (Buffer.byteLength(JSON.stringify(spec)) > MOST_BYTES)
    throw wrong(`the declaration has more than ${MOST_BYTES >> 10} KiB`, 'Say less in it');
}

/** Undefined: the planner chooses. */
export function fixedMethod({ method = 'auto' }: Failover): Method | undefined {
  return method === 'auto' ? undefined : (method.slice('fixed:'.length) as Method);
}

export function isNetworked(file: string): boolean {
  return /^nbds?(\+unix)?:/.test(file);
}
