/** `kage snapshot` and `kage restore`: a machine into a file, and out of it again. */
import { resolve } from 'node:path';
import { inspectSnapshot, launchRestored, type RestoreOptions } from '../host/index.ts';
import type { CareFlags } from './health-flags.ts';
import type { Io, Platform } from './io.ts';
import { type Format, print, sizeText } from './output.ts';
import { commandOf, live } from './run.ts';
import { machineOptions, type RunFlags } from './run-options.ts';
import { parseEnvironment, parseRestart, parseWait } from './values.ts';

export interface SnapshotFlags {
  readonly base?: string;
  readonly stop?: boolean;
  readonly compress: boolean;
  readonly quiesce?: boolean;
  readonly format: Format;
}

export async function snapshot(
  io: Io,
  platform: Platform,
  name: string,
  file: string,
  flags: SnapshotFlags,
): Promise<number> {
  const { withApi } = await import('./partition-api.ts');
  const result = await withApi(io, platform, (client) =>
    client.snapshotPartition(name, {
      file: resolve(file),
      ...(flags.base === undefined ? {} : { base: resolve(flags.base) }),
      ...(flags.stop ? { stop: true } : {}),
      ...(flags.compress ? {} : { compress: false }),
      ...(flags.quiesce ? { quiesce: true } : {}),
    }),
  );
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
  | 'restart'
  | 'rm'
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
  if (flags.detach) {
    const { createPartition } = await import('./partition-api.ts');
    const { restart, rm: removeAtEnd = false, name = inspectSnapshot(file).name, quiet = false } = flags;
    const restartPolicy = restart === undefined ? undefined : parseRestart(restart);
    const partition = { name, image: undefined, options, restoreFrom: file, restartPolicy, removeAtEnd, start: true };
    return await createPartition(io, platform, partition, quiet);
  }
  return await live(io, flags, argv, life, {
    launch: () => launchRestored(platform.restoreMachine, file, options),
    keeps: () => ({ ...inspectSnapshot(file), ...options }),
  });
}
