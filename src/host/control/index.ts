/** The control socket: what a machine's process offers to the user's other processes, and how they reach it. */
export { connectMachine, listMachines, RemoteMachine } from './client.ts';
export {
  type DetachedMachine,
  type DetachedProgram,
  type DetachedStart,
  ownDetachedMachine,
  startDetached,
} from './detached-process.ts';
export { launchMachine, launchReceiver, launchRestored } from './launch.ts';
export { type ExitRecord, followLog, readExitRecord, readLogTail } from './machine-record.ts';
export { protocolVersion } from './protocol.ts';
export { checkMachineName, daemonSocketName, runtimeFolder } from './runtime-folder.ts';
export { ControlServer } from './server.ts';
export { liveNames } from './sockets.ts';
