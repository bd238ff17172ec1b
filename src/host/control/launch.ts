/**
 * A machine that its user's other processes can reach: claims the name, starts the machine, serves its socket.
 * `createMachine` of the library is this, over the machine proper.
 */
import { randomBytes } from 'node:crypto';
import type { ReceiveMachine, ReceiveOptions, Receiver } from '../machine/index.ts';
import type {
  CreateMachine,
  Launch,
  MachineHandle,
  MachineOptions,
  RestoreMachine,
  RestoreOptions,
} from '../machine/machine-api.ts';
import { inspectSnapshot } from '../snapshots/index.ts';
import { ControlServer } from './server.ts';

/** Told of the machine before anybody else can reach it. */
export type Made = (machine: MachineHandle) => void;

export async function launchMachine(
  create: CreateMachine,
  options: MachineOptions,
  folder?: string,
  made?: Made,
): Promise<MachineHandle> {
  const name = options.name ?? `kage-${randomBytes(3).toString('hex')}`;
  const another: Launch = (make, given) => launchMachine(make, given, folder);
  return await launch(name, () => create({ ...options, name }, another), folder, made);
}

/** The same with a machine that is made of a snapshot: by the name that it had, unless another is given. */
export async function launchRestored(
  restore: RestoreMachine,
  file: string,
  options: RestoreOptions,
  folder?: string,
  made?: Made,
): Promise<MachineHandle> {
  const name = options.name ?? inspectSnapshot(file).name;
  return await launch(name, () => restore(file, { ...options, name }), folder, made);
}

/** A machine that stands by, under a name of its own: what waits for its guest; it is served as any other once that runs. */
export async function launchReceiver(
  receive: ReceiveMachine,
  options: ReceiveOptions,
  folder?: string,
): Promise<{ readonly name: string; readonly receiver: Receiver; close(): Promise<void> }> {
  const name = options.machine.name ?? `kage-${randomBytes(3).toString('hex')}`;
  const server = await ControlServer.claim(name, folder);
  try {
    const receiver = await receive({ ...options, machine: { ...options.machine, name } });
    const startedAt = new Date().toISOString();
    const close = async (): Promise<void> => {
      await receiver.close();
      await server.close();
    };
    server.serveStandby({
      get info() {
        return { name, pid: process.pid, state: 'standby' as const, ...receiver.info, startedAt, publish: [] };
      },
      report: () => receiver.report(),
      promote: async (given) => await receiver.promote(given),
      kill: async () => {
        await receiver.close();
        return { reason: 'killed', code: 137 };
      },
    });
    receiver.machine.then(
      (machine) => server.serve(machine),
      () => void server.close(),
    );
    return { name, receiver, close };
  } catch (error) {
    await server.close();
    throw error;
  }
}

async function launch(
  name: string,
  make: () => Promise<MachineHandle>,
  folder: string | undefined,
  made: Made | undefined,
): Promise<MachineHandle> {
  const server = await ControlServer.claim(name, folder);
  try {
    const machine = await make();
    made?.(machine);
    server.serve(machine);
    return machine;
  } catch (error) {
    await server.close();
    throw error;
  }
}
