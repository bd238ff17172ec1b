/** gdb at a machine's door: what listens for it, and what it debugs. */
import { CSRS, F_NAMES, X_NAMES } from '../../isa/index.ts';
import { describeTarget, type GdbServer, listenForGdb } from '../gdb/index.ts';
import { type DebuggedMachine, MachineDebugger } from './debugger.ts';

export class MachineGdb {
  readonly #debugger: MachineDebugger;
  readonly #server: GdbServer;

  /** On that port of the loopback address. Rejects with OperatorError where it cannot listen. */
  static async listen(machine: DebuggedMachine, port: number): Promise<MachineGdb> {
    const own = new MachineDebugger(machine);
    return new MachineGdb(own, await listenForGdb(own, port, describeTarget({ x: X_NAMES, f: F_NAMES }, CSRS)));
  }

  private constructor(debug: MachineDebugger, server: GdbServer) {
    this.#debugger = debug;
    this.#server = server;
  }

  /** A hart's thread says that it stopped. */
  async stopped(): Promise<void> {
    await this.#debugger.stopped();
  }

  /** The machine has ended, with that code. */
  async close(code: number): Promise<void> {
    this.#debugger.ended(code);
    await this.#server[Symbol.asyncDispose]();
  }
}
