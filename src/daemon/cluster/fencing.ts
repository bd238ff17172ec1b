/** Tells the gate of a guest's disks that older generations are over. */
import { type DriveOptions, fenceAtGate } from '../../host/index.ts';
import { gatedExports, gateOf } from './gated-drives.ts';

/** An answer that takes longer is none: the fence may be in force, and is asked for again. */
const ANSWER_MS = 3000;

/**
 * Resolves when no byte of an older generation changes a disk of the guest any more. `tls`: the folder of our certificates. Rejects with
 * OperatorError `no-gate`, and as `fenceAtGate`.
 */
export async function fenceDrives(
  drives: readonly DriveOptions[],
  { gate, generation, tls }: { readonly gate: string | undefined; readonly generation: number; readonly tls: string },
): Promise<void> {
  const exports = gatedExports(drives);
  if (exports.length === 0) return;
  const control = gateOf(drives, gate);
  await Promise.all(exports.map((name) => fenceAtGate(control, name, generation, { tls, timeoutMs: ANSWER_MS })));
}
