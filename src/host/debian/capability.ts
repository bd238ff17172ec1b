/** What of Debian's archive this machine can reach; tests that need it ask here first. */
import { OperatorError } from '../../base/errors.ts';
import { defaultSuite, openArchive } from './archive.ts';

export type Capability = { available: true } | { available: false; reason: string };

/** Whether packages can be fetched: apt is installed, knows a Debian mirror, and the mirror answers. */
export async function archiveCapability(architecture = 'riscv64'): Promise<Capability> {
  try {
    await openArchive({ suite: defaultSuite, architecture });
    return { available: true };
  } catch (error) {
    if (error instanceof OperatorError) return { available: false, reason: `${error.message} (${error.code})` };
    throw error;
  }
}
