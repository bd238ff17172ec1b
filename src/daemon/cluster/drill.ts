import { OperatorError } from '../../base/errors.ts';
import type { DrillRequest, DrillResult } from '../schemas/cluster.ts';
import type { GuestVerbs } from './guest-verbs.ts';
import type { ClusterMember } from './member.ts';

export async function drill(
  _member: ClusterMember,
  _guests: GuestVerbs,
  request: DrillRequest,
  _signal: AbortSignal,
): Promise<DrillResult> {
  throw new OperatorError(
    'no-such-partition',
    `the cluster has no partition ${request.guest}`,
    'See "kage cluster status"',
  );
}
