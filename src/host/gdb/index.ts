/** The gdb stub: `listenForGdb(target, port, describeTarget({x: X_NAMES, f: F_NAMES}, CSRS))`. */
export type { DebugRegister, DebugTarget, HartRegisters, Move, Privilege, Soon, StopReason } from './debug-target.ts';
export { type GdbServer, listenForGdb } from './server.ts';
export { GdbSession } from './session.ts';
export { describeTarget, type NamedCsr } from './target-description.ts';
