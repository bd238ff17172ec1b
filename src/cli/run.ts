/**
 * `kage run`: a machine in this process, with its console on the terminal or one command run in it; or, detached, in
 * a process of its own. However it ends, nothing of it is left.
 */
import { HostError, OperatorError } from '../base/errors.ts';
import type { Failover } from '../client/index.ts';
import {
  type ExitStatus,
  endAfterCommand,
  type GuestImage,
  imageFor,
  launchMachine,
  type MachineHandle,
  type MachineOptions,
  withBootSnapshot,
  withImage,
} from '../host/index.ts';
import { joinTerminal } from './console.ts';
import { failoverOf } from './failover-flags.ts';
import type { Io, Platform } from './io.ts';
import { ProgressDisplay } from './progress.ts';
import { machineOptions, type RunFlags, withPaths } from './run-options.ts';
import { parseEnvironment, parseRestart, parseWait } from './values.ts';

/** Runs to the end and returns the exit code. `command`: what stood behind `--`. */
export async function run(
  io: Io,
  platform: Platform,
  given: string | undefined,
  flags: RunFlags,
  command: readonly string[],
): Promise<number> {
  const { image, failover } = failoverOf(given, flags);
  if (failover !== undefined && !flags.detach)
    throw new OperatorError('bad-usage', 'a machine of this terminal ends with it', 'Add -d, or leave out --failover');
  const argv = commandOf(flags, command);
  const asked = machineOptions(flags);
  const environment = parseEnvironment(flags.env, io.environment);
  const waitSeconds = parseWait(flags.wait);
  const found = await findImage(io, platform, image, asked, flags);
  // Of one in the background its declaration is kept, which names the image; what that gives is found at each start.
  if (flags.detach) return await declare(io, platform, found?.name, asked, flags, { start: true, failover });
  const options = withBootSnapshot(withImage(asked, found), found);
  return await live(
    io,
    flags,
    argv,
    { environment, waitSeconds },
    {
      launch: () => launchMachine(platform.createMachine, options),
      keeps: () => options,
    },
  );
}

/** `kage create`: a partition that is there, and does not run. */
export async function create(
  io: Io,
  platform: Platform,
  given: string | undefined,
  flags: RunFlags,
  command: readonly string[],
): Promise<number> {
  const { image, failover } = failoverOf(given, flags);
  if (command.length > 0)
    throw new OperatorError('bad-usage', 'a partition holds no command', 'Use "kage exec" when it has started');
  const asked = machineOptions(flags);
  const found = await findImage(io, platform, image, asked, flags);
  return await declare(io, platform, found?.name, asked, flags, { start: false, failover });
}

/** Fetched, where it is not there yet, with its progress on stderr. */
async function findImage(
  io: Io,
  platform: Platform,
  image: string | undefined,
  options: MachineOptions,
  { quiet = false }: Pick<RunFlags, 'quiet'>,
): Promise<GuestImage | undefined> {
  const progress = new ProgressDisplay(io.stderr, { quiet });
  try {
    return await imageFor(image, options, platform.images, { progress: progress.show, signal: io.signal });
  } finally {
    progress.finish();
  }
}

async function declare(
  io: Io,
  platform: Platform,
  image: string | undefined,
  options: MachineOptions,
  flags: Pick<RunFlags, 'name' | 'restart' | 'rm' | 'quiet'>,
  { start, failover }: { readonly start: boolean; readonly failover: Failover | undefined },
): Promise<number> {
  const { createPartition } = await import('./partition-api.ts');
  const { name, restart, rm = false, quiet = false } = flags;
  const restartPolicy = restart === undefined ? undefined : parseRestart(restart);
  const given = { name, image, options: withPaths(options), restartPolicy, removeAtEnd: rm, start, failover };
  return await createPartition(io, platform, given, quiet);
}

/** What of its flags a machine's life in this process needs. */
export type LifeFlags = Pick<RunFlags, 'quiet' | 'workdir'>;

export interface Birth {
  launch(): Promise<MachineHandle>;
  /** Where what it writes may be kept; asked when a command is to run. */
  keeps(): Pick<MachineOptions, 'drives' | 'shares'>;
}

/** From a machine's start to its end: with its console on the terminal, or for one command. */
export async function live(
  io: Io,
  flags: LifeFlags,
  argv: readonly string[] | undefined,
  { environment, waitSeconds }: { environment: Record<string, string>; waitSeconds: number | undefined },
  birth: Birth,
): Promise<number> {
  const keeps = argv === undefined ? {} : birth.keeps();
  await using machine = await birth.launch();
  const onAbort = (): void => void machine.kill();
  if (io.signal.aborted) onAbort();
  else io.signal.addEventListener('abort', onAbort, { once: true });
  if (argv === undefined) return await runConsole(io, machine, flags.quiet !== true);
  return await runCommand(io, machine, argv, keeps, waitSeconds, {
    environment,
    ...(flags.workdir === undefined ? {} : { workingFolder: flags.workdir }),
  });
}

export function commandOf(
  flags: Pick<RunFlags, 'exec' | 'detach'> & Pick<RunFlags, 'restart'>,
  command: readonly string[],
): readonly string[] | undefined {
  if (flags.restart !== undefined && flags.restart !== 'no' && !flags.detach)
    throw new OperatorError('bad-usage', 'a machine of this terminal ends with it', 'Add -d, or leave out --restart');
  if (flags.exec !== undefined && command.length > 0) {
    throw new OperatorError('bad-usage', '--exec and a command behind -- are two commands', 'Give one of them');
  }
  const argv = flags.exec === undefined ? command : ['/bin/sh', '-c', flags.exec];
  if (argv.length === 0) return undefined;
  if (flags.detach) {
    throw new OperatorError('bad-usage', 'a detached machine runs no command', 'Use "kage exec" when it has started');
  }
  return argv;
}

async function runConsole(io: Io, machine: MachineHandle, says: boolean): Promise<number> {
  if (says && io.stdin.isTTY) io.stderr.write(`${machine.info.name} starts; Ctrl-a x ends it, Ctrl-a h helps\r\n`);
  // What a restored guest said before, as whoever attaches to a console sees it.
  io.stdout.write(machine.consoleHistory());
  const remove = machine.onConsole((bytes) => io.stdout.write(bytes));
  let hasLeft = false;
  const giveBack = joinTerminal(io, {
    write: (bytes) => machine.writeConsole(bytes),
    leave: () => {
      hasLeft = true;
      void machine.kill();
    },
    detach: () =>
      io.stderr.write('\r\nThis machine lives in this process; one of "kage run -d" goes on without it.\r\n'),
  });
  try {
    const code = exitCode(await machine.exited);
    return hasLeft ? 0 : code; // whoever leaves by the door did nothing wrong
  } finally {
    remove();
    giveBack();
  }
}

async function runCommand(
  io: Io,
  machine: MachineHandle,
  argv: readonly string[],
  keeps: ReturnType<Birth['keeps']>,
  waitSeconds: number | undefined,
  where: { environment: Record<string, string>; workingFolder?: string },
): Promise<number> {
  const gone = machine.exited.then((status) => {
    exitCode(status);
    const fix = 'Run it without a command to see what its console says';
    throw new OperatorError('machine-ended', 'the machine ended before the command did', fix);
  });
  gone.catch(() => {}); // the race below tells
  const done = readyWithin(waitSeconds, machine.ready(io.signal), io.signal).then(() =>
    machine.exec(argv, {
      ...where,
      stdin: io.stdin,
      onStdout: (bytes) => io.stdout.write(bytes),
      onStderr: (bytes) => io.stderr.write(bytes),
      signal: io.signal,
    }),
  );
  done.catch(() => {});
  const { code } = await Promise.race([done, gone]);
  await endAfterCommand(machine, keeps);
  return code;
}

/** Waits for the guest's agent, for so long; throws `agent-not-ready` after that. Told to end, it waits no more. */
export async function readyWithin(
  seconds: number | undefined,
  ready: Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const late = Promise.withResolvers<void>();
  const timer =
    seconds === undefined
      ? undefined
      : setTimeout(() => {
          const fix = 'Wait longer with --wait, or see what its console says: "kage logs NAME"';
          const message = `the guest's agent did not answer within ${seconds} s`;
          late.reject(new OperatorError('agent-not-ready', message, fix));
        }, seconds * 1000);
  const onAbort = (): void => late.reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  if (signal.aborted) onAbort();
  ready.catch(() => {}); // whoever is late has been told
  await Promise.race([ready, late.promise]).finally(() => {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
  });
}

/** The exit code of a machine that ended; throws where the platform failed. */
export function exitCode(status: ExitStatus): number {
  if (status.reason !== 'error') return status.code;
  throw new HostError('machine-failed', status.message ?? 'the machine failed');
}
