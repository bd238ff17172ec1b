/**
 * A machine in a process of its own (`kage run -d`): the parent hands over the options, and leaves when the machine
 * answers on its control socket or has said why it did not start.
 *
 *   parent: {kind: 'start', options} | {kind: 'restore', file, options} | {kind: 'receive', options} -> child
 *   child:  {kind: 'started', name} | {kind: 'failed', code, message, fix} -> parent, which disconnects
 */
import { fork } from 'node:child_process';
import { HostError, OperatorError } from '../../base/errors.ts';
import type { ReceiveMachine, ReceiveOptions } from '../machine/index.ts';
import type {
  CreateMachine,
  MachineHandle,
  MachineOptions,
  RestoreMachine,
  RestoreOptions,
} from '../machine/machine-api.ts';
import { connectMachine } from './client.ts';
import { launchMachine, launchReceiver, launchRestored } from './launch.ts';
import { keepRecord } from './machine-record.ts';

/**
 * `home`: a folder for what is to be known of the machine when it is gone (machine-record.ts); `folder`: of its control socket, the
 * user's by default.
 */
export type DetachedStart = (
  | { readonly kind: 'start'; readonly options: MachineOptions }
  | { readonly kind: 'restore'; readonly file: string; readonly options: RestoreOptions }
  | { readonly kind: 'receive'; readonly options: ReceiveOptions }
) & { readonly home?: string; readonly folder?: string };

/** The program of such a process, and how Node is to run it. */
export interface DetachedProgram {
  readonly entry: URL;
  readonly flags: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
}

export interface DetachedMachine {
  readonly name: string;
  readonly pid: number;
}

type ToParent =
  | { readonly kind: 'started'; readonly name: string }
  | { readonly kind: 'failed'; readonly code: string; readonly message: string; readonly fix?: string };

/** How long a guest may take to shut down when its process is told to end. */
const graceMs = 10_000;

/** Starts the program as a process that outlives this one; resolves when its machine answers. */
export async function startDetached(
  { entry, flags, environment }: DetachedProgram,
  start: DetachedStart,
  signal: AbortSignal,
): Promise<DetachedMachine> {
  signal.throwIfAborted();
  const execArgv = [...new Set([...process.execArgv, ...flags])];
  const env = { ...environment, ...process.env };
  const child = fork(entry, [], { detached: true, execArgv, env, stdio: ['ignore', 'ignore', 'ignore', 'ipc'] });
  const gone = new Promise<void>((resolve) => {
    if (child.pid === undefined) resolve();
    child.once('exit', () => resolve());
  });
  const onAbort = (): void => void child.kill('SIGKILL');
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    const name = await new Promise<string>((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code, killedBy) => {
        reject(new HostError('machine-failed', `the machine's process ended with ${killedBy ?? code} as it started`));
      });
      child.once('message', (message: ToParent) => {
        if (message.kind === 'started') resolve(message.name);
        else if (message.fix === undefined) reject(new HostError(message.code, message.message));
        else reject(new OperatorError(message.code, message.message, message.fix));
      });
      child.send(start);
    });
    await using machine = await connectMachine(name, start.folder);
    const { pid } = await machine.info();
    return { name, pid };
  } catch (error) {
    child.kill('SIGKILL');
    await gone; // whoever is told that it does not run may rely on it
    signal.throwIfAborted();
    throw error;
  } finally {
    signal.removeEventListener('abort', onAbort);
    if (child.connected) child.disconnect();
    child.unref();
  }
}

/** The child's side: owns the machine until it ends, then ends this process. */
export function ownDetachedMachine(create: CreateMachine, restore: RestoreMachine, receive: ReceiveMachine): void {
  let hasStarted = false;
  process.once('disconnect', () => {
    if (!hasStarted) process.exit(1); // nobody would ever know of this machine
  });
  process.once('message', async (start: DetachedStart) => {
    try {
      const { home, folder } = start;
      if (start.kind === 'receive') {
        const { name, receiver, close } = await launchReceiver(receive, start.options, folder);
        for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => void close());
        receiver.machine.then(
          // What clients asked last is answered yet; then nothing holds this process.
          (machine) => {
            if (home !== undefined) keepRecord(machine, home);
            machine.exited.then(async ({ code }) => {
              process.exitCode = code;
              await receiver.close();
            });
          },
          () => process.exit(0),
        );
        hasStarted = true;
        await say({ kind: 'started', name });
        return;
      }
      const made = home === undefined ? undefined : (machine: MachineHandle) => keepRecord(machine, home);
      const machine =
        start.kind === 'start'
          ? await launchMachine(create, start.options, folder, made)
          : await launchRestored(restore, start.file, start.options, folder, made);
      for (const name of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
        process.on(name, () => void machine.stop({ graceMs }));
      }
      machine.exited.then(({ code }) => {
        process.exitCode = code;
      });
      hasStarted = true;
      await say({ kind: 'started', name: machine.info.name });
    } catch (error) {
      await say(asMessage(error));
      process.exit(1);
    }
  });
}

function asMessage(error: unknown): ToParent {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof OperatorError) return { kind: 'failed', code: error.code, message, fix: error.fix };
  return { kind: 'failed', code: error instanceof HostError ? error.code : 'machine-failed', message };
}

/** Resolves when the message is out, or when there is nobody to hear it. */
async function say(message: ToParent): Promise<void> {
  await new Promise<void>((resolve) => {
    if (process.connected) process.send?.(message, undefined, {}, () => resolve());
    else resolve();
  });
}
