/** The machines of this user that run, whoever started them: what their control sockets say. */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { OperatorError } from '../../base/errors.ts';
import {
  connectMachine,
  isAlive,
  liveNames,
  type MachineInfo,
  type RemoteMachine,
  runtimeFolder,
} from '../../host/index.ts';

/** What a look waits for a machine: one that hangs must not hide the others. */
const INFO_MS = 5_000;
/** How long the socket of a machine that has ended may still be there. */
const GONE_MS = 5_000;

export class Machines {
  readonly #folder: string | undefined;

  /** `folder`: of the sockets; the user's by default. */
  constructor(folder?: string) {
    this.#folder = folder;
  }

  async folder(): Promise<string> {
    return this.#folder ?? (await runtimeFolder());
  }

  async names(): Promise<string[]> {
    return await liveNames(await this.folder());
  }

  /** Of those that are to be asked, and answer. */
  async infos(isAsked: (name: string) => boolean): Promise<MachineInfo[]> {
    const names = (await this.names()).filter(isAsked);
    return (await Promise.all(names.map((name) => this.info(name)))).filter((info) => info !== undefined);
  }

  /** Undefined where it does not run, or does not answer. */
  async info(name: string): Promise<MachineInfo | undefined> {
    try {
      await using machine = await connectMachine(name, await this.folder());
      const timer = setTimeout(() => void machine[Symbol.asyncDispose](), INFO_MS);
      return await machine.info().finally(() => clearTimeout(timer));
    } catch {
      return undefined;
    }
  }

  async isLive(name: string): Promise<boolean> {
    return await isAlive(join(await this.folder(), `${name}.sock`));
  }

  /** Resolves when the name is free for the next. */
  async gone(name: string): Promise<void> {
    const until = performance.now() + GONE_MS;
    while ((await this.isLive(name)) && performance.now() < until) await sleep(20);
  }

  /** Errors: `not-running`. */
  async reach(name: string): Promise<RemoteMachine> {
    try {
      return await connectMachine(name, await this.folder());
    } catch (error) {
      if (error instanceof OperatorError && error.code === 'no-such-machine') throw notRunning(name, error);
      throw error;
    }
  }
}

export function notRunning(name: string, cause?: unknown): OperatorError {
  return new OperatorError('not-running', `The partition ${name} does not run`, `Start it with "kage start ${name}"`, {
    cause,
  });
}

export function noSuchPartition(name: string): OperatorError {
  const fix = 'See "kage ps -a" for those that there are';
  return new OperatorError('no-such-partition', `There is no partition ${name}`, fix);
}
