/** The control socket: what a machine's process offers to the user's other processes, and how they reach it. */
export { connectMachine, listMachines, RemoteMachine } from './client.ts';
export { launchMachine, launchReceiver, launchRestored } from './launch.ts';
export { protocolVersion } from './protocol.ts';
export { checkMachineName, runtimeFolder } from './runtime-folder.ts';
export { ControlServer } from './server.ts';
