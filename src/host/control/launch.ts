/**
 * A machine that its user's other processes can reach: claims the name, starts the machine, serves its socket.
 * `createMachine` of the library is this, over the machine proper.
 */
import { randomBytes } from 'node:crypto';
import type { CreateMachine, MachineHandle, MachineOptions } from '../machine/machine-api.ts';
import { ControlServer } from './server.ts';

export async function launchMachine(
  create: CreateMachine,
  options: MachineOptions,
  folder?: string,
): Promise<MachineHandle> {
  const name = options.name ?? `kage-${randomBytes(3).toString('hex')}`;
  const server = await ControlServer.claim(name, folder);
  try {
    const machine = await create({ ...options, name }, (another, given) => launchMachine(another, given, folder));
    server.serve(machine);
    return machine;
  } catch (error) {
    await server.close();
    throw error;
  }
}
