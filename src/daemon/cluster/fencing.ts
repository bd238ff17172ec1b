/** Tells the gate of a guest's disks that older generations are over. */
import { basename, dirname } from 'node:path';
import { OperatorError } from '../../base/errors.ts';
import { type DriveOptions, fenceAtGate } from '../../host/index.ts';
import { gatedExports, gateOf } from './gated-drives.ts';

/** An answer that takes longer is none: the fence is in force all the same, and is asked for again. */
const ANSWER_MS = 3000;
const SOCKET = 'control.sock';

/**
 * Resolves when no byte of an older generation changes a disk of the guest any more. Rejects with OperatorError `no-gate` and those of
 * the gate, HostError `gate-unanswered`.
 */
export async function fenceDrives(
  drives: readonly DriveOptions[],
  gate: string | undefined,
  generation: number,
): Promise<void> {
  const exports = gatedExports(drives);
  if (exports.length === 0) return;
  const folder = stateFolderOf(gateOf(drives, gate));
  await Promise.all(exports.map((name) => fenceAtGate(folder, name, generation, { timeoutMs: ANSWER_MS })));
}

function stateFolderOf(gate: string): string {
  const [, path] = /^unix:(\/.+)$/.exec(gate) ?? [];
  if (path !== undefined && basename(path) === SOCKET) return dirname(path);
  throw new OperatorError('no-gate', `${gate} is no gate's control`, `Name unix:FOLDER/${SOCKET}, or tls:HOST:PORT`);
}
