/** Ends a machine that was there for one command, when the command has ended, so that nothing it wrote is lost. */
import { sharesKeepWrites } from '../shares/index.ts';
import { keepsWrites } from './drives.ts';
import type { MachineHandle, MachineOptions } from './machine-api.ts';

/** A guest that does not get its writes out within so long is not waited for. */
const SYNC_MS = 30_000;

/**
 * Disks that outlive the machine want their file systems closed. What was written to shared folders may still be in the
 * guest's memory, and wants to get out. All else may just go.
 */
export async function endAfterCommand(
  machine: Pick<MachineHandle, 'stop' | 'kill' | 'exec'>,
  { drives, shares }: Pick<MachineOptions, 'drives' | 'shares'>,
): Promise<void> {
  if (keepsWrites(drives)) {
    await machine.stop();
    return;
  }
  if (sharesKeepWrites(shares)) await machine.exec(['sync'], { signal: AbortSignal.timeout(SYNC_MS) }).catch(() => {});
  await machine.kill();
}
