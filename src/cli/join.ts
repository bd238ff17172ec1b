/**
 * `kage run --machine NAME`: a guest beside another one, in its machine and its process. What this terminal shows of it goes
 * over the control socket.
 */
import {
  connectMachine,
  endAfterCommand,
  imageFor,
  type MachineOptions,
  type RemoteMachine,
  withImage,
} from '../host/index.ts';
import { checkPartition } from '../machine/index.ts';
import type { Io, Platform } from './io.ts';
import { ProgressDisplay } from './progress.ts';
import { attach, exec } from './remote.ts';
import { commandOf } from './run.ts';
import { machineOptions, type RunFlags, withPaths } from './run-options.ts';
import { parseEnvironment, parseWait } from './values.ts';

/** Runs to the guest's end, or, detached, until it has begun; returns the exit code. */
export async function joinMachine(
  io: Io,
  platform: Platform,
  image: string | undefined,
  flags: RunFlags & { readonly machine: string },
  command: readonly string[],
): Promise<number> {
  const argv = commandOf(flags, command);
  const asked = machineOptions(flags);
  checkPartition(asked);
  parseEnvironment(flags.env, io.environment);
  parseWait(flags.wait);
  await using machine = await connectMachine(flags.machine);
  const progress = new ProgressDisplay(io.stderr, { quiet: flags.quiet === true });
  const found = await imageFor(image, asked, platform.images, { progress: progress.show, signal: io.signal }).finally(
    () => progress.finish(),
  );
  const { signal: _, ...options } = withImage(asked, found);
  const name = await machine.createPartition(withPaths(options));
  if (flags.detach) {
    io.stdout.write(`${name}\n`);
    return 0;
  }
  await using guest = await connectMachine(name);
  try {
    if (argv === undefined) {
      if (flags.quiet !== true && io.stdin.isTTY)
        io.stderr.write(`${name} starts beside ${flags.machine}; Ctrl-a x ends it, Ctrl-a d leaves it\r\n`);
      return await attach(io, name);
    }
    return await exec(io, name, argv, flags);
  } finally {
    await endGuest(guest, options, { isOurs: argv !== undefined || io.signal.aborted });
  }
}

/** The guest of a command goes with it; disks that outlive it want their file systems closed. One of a console may go on. */
async function endGuest(
  guest: RemoteMachine,
  options: MachineOptions,
  { isOurs }: { readonly isOurs: boolean },
): Promise<void> {
  if (!isOurs) return;
  await endAfterCommand(guest, options).catch(() => {}); // it may have ended by itself
}
