/** How a partition ended, from what its machine's process said, if it said anything. */
import type { ExitStatus } from '../../host/index.ts';
import type { ExitRecord } from '../schemas/partition.ts';

/** 137: as of a process that was killed (128 + SIGKILL). */
export function exitOf(status: ExitStatus | undefined, at = new Date().toISOString()): ExitRecord {
  if (status === undefined) return { reason: 'lost', code: 137, message: 'its process is gone', at };
  const { reason, code, message } = status;
  return { reason, code, ...(message === undefined ? {} : { message }), at };
}
