/** `kage snapshot` and `kage restore`: a machine into a file, and out of it again. */
import { resolve } from 'node:path';
import { connectMachine, inspectSnapshot, launchRestored, type RestoreOptions } from '../host/index.ts';
import { startDetached } from './detach.ts';
import type { CareFlags } from './health-flags.ts';
import type { Io, Platform } from './io.ts';
import { type Format, print, sizeText } from './output.ts';
import { commandOf, live } from './run.ts';
import { machineOptions, type RunFlags } from './run-options.ts';
import { parseEnvironment, parseWait } from './values.ts';

export interface SnapshotFlags {
  readonly base?: string;
  readonly stop?: boolean;
  readonly compress: boolean;
  readonly quiesce?: boolean;
  readonly format: Format;
}

export async function snapshot(io: Io, name: string, file: string, flags: SnapshotFlags): Promise<number> {
  await using machine = await connectMachine(name);
  const result = await machine.snapshot(file, {
    ...(flags.base === undefined ? {} : { base: flags.base }),
    ...(flags.stop ? { stop: true } : {}),
    ...(flags.compress ? {} : { compress: false }),
    ...(flags.quiesce ? { quiesce: true } : {}),
  });
  const { sizeBytes, pages, pausedMs, quiesced } = result;
  const frozen =
    quiesced === undefined
      ? ''
      : `, its file systems frozen (${quiesced.count}${quiesced.left > 0 ? `, but not ${quiesced.left} others` : ''})`;
  print(
    io,
    flags.format,
    result,
    () =>
      `${result.file}: ${sizeText(sizeBytes)} with ${sizeText(pages * 4096)} of memory; the guest stood still for ${Math.ceil(pausedMs)} ms${frozen}\n`,
  );
  return 0;
}

/** The flags of `run` that say nothing of what the machine is. */
export type RestoreFlags = Pick<
  RunFlags,
  | 'name'
  | 'publish'
  | 'volume'
  | 'vsock'
  | 'netdev'
  | 'failback'
  | 'pathFailover'
  | 'detach'
  | 'quiet'
  | 'exec'
  | 'env'
  | 'workdir'
  | 'wait'
  | 'gdb'
  | 'startPaused'
  | 'translate'
  | 'hotThreshold'
  | 'promotion'
  | 'shadows'
  | 'shadowModel'
  | 'combinedShadows'
  | 'relay'
  | 'codeMemory'
> &
  CareFlags;

export async function restore(
  io: Io,
  platform: Platform,
  given: string,
  flags: RestoreFlags,
  command: readonly string[],
): Promise<number> {
  const argv = commandOf(flags, command);
  const options: RestoreOptions = machineOptions(flags);
  const life = { environment: parseEnvironment(flags.env, io.environment), waitSeconds: parseWait(flags.wait) };
  const file = resolve(given);
  return await live(io, flags, argv, life, {
    startDetached: () => startDetached(platform.detachedEntry, { kind: 'restore', file, options }, io.signal),
    launch: () => launchRestored(platform.restoreMachine, file, options),
    keeps: () => ({ ...inspectSnapshot(file), ...options }),
  });
}
