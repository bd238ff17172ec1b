/**
 * The verbs on partitions: over the store of declarations and the control sockets of machines. The same whether a daemon
 * runs, which supervises (supervisor.ts), or `kage` alone, which finds out at its next look what ended meanwhile.
 *
 * A machine is a process of its own, of a session of its own: it outlives whoever started it, and is found by its socket.
 */
import { randomBytes } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { OperatorError } from '../../base/errors.ts';
import {
  type DetachedStart,
  type ExitStatus,
  type MachineInfo,
  type RemoteMachine,
  readExitRecord,
} from '../../host/index.ts';
import type { CreateRequest, DeclareRequest, ExitRecord, Partition, RestartPolicy } from '../schemas/partition.ts';
import type { PartitionSpec } from '../schemas/spec.ts';
import { type Definition, partitionHome, removeHome, type Store } from '../store/index.ts';
import { consoleLog } from './console-log.ts';
import { exitOf } from './exit-of.ts';
import { type Begin, Launcher, type LauncherOptions } from './launcher.ts';
import { Machines, noSuchPartition, notRunning } from './machines.ts';
import { NameLocks } from './name-locks.ts';
import { checkDeclaration } from './spec-options.ts';
import { foundView, viewOf } from './view.ts';

export type PartitionsOptions = LauncherOptions;

/** Who sees to it that partitions are as they are wanted; without, nobody does. */
export interface Watcher {
  /** It was started, or found. */
  started(name: string): Promise<void>;
  /** It was ended on purpose, or is about to be started by hand: nothing is to be done about it. */
  forget(name: string): Promise<void>;
  /** It has ended by itself, as was found out. */
  ended(definition: Definition, exit: ExitRecord, ranMs: number): void;
  restartAt(name: string): string | undefined;
}

const GRACE_MS = 10_000;

export class Partitions {
  readonly store: Store;
  readonly machines: Machines;
  readonly #options: PartitionsOptions;
  readonly #locks = new NameLocks();
  readonly #launcher: Launcher;
  #watcher: Watcher | undefined;

  constructor(options: PartitionsOptions) {
    this.#options = options;
    this.store = options.store;
    this.machines = new Machines(options.runtimeFolder);
    this.#launcher = new Launcher(options, this.machines);
  }

  /** From now on somebody does. */
  superviseBy(watcher: Watcher): void {
    this.#watcher = watcher;
  }

  home(name: string): string {
    return partitionHome(this.#options.stateFolder, name);
  }

  async list(): Promise<Partition[]> {
    // One that starts answers when it has started: it is not waited for.
    const asked = await this.machines.infos((name) => !this.isStarting(name));
    const infos = new Map(asked.map((info) => [info.name, info]));
    for (const { name } of this.store.list()) if (!infos.has(name)) await this.#settled(name);
    const declared = this.store.list().map((one) => this.#view(one, infos.get(one.name)));
    const names = new Set(declared.map(({ name }) => name));
    const found = [...infos.values()].filter(({ name }) => !names.has(name)).map(foundView);
    return [...declared, ...found].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Errors: `no-such-partition`. */
  async inspect(name: string): Promise<Partition> {
    const info = await this.machines.info(name);
    if (info === undefined) await this.#settled(name);
    const definition = this.store.get(name);
    if (definition !== undefined) return this.#view(definition, info);
    if (info !== undefined) return foundView(info);
    throw noSuchPartition(name);
  }

  /** Errors: `bad-name`, `bad-spec`, `name-in-use`, and with `start` what a start may throw; then nothing is there. */
  async create({
    name: given,
    spec,
    restartPolicy = { name: 'no' },
    removeAtEnd = false,
    start = false,
  }: CreateRequest): Promise<Partition> {
    const name = given ?? `kage-${randomBytes(3).toString('hex')}`;
    checkDeclaration(name, spec, restartPolicy, removeAtEnd);
    await this.#locks.withName(name, async () => {
      await this.#reconcile(name);
      if (await this.machines.isLive(name))
        throw new OperatorError(
          'name-in-use',
          `A machine named ${name} is running`,
          `Choose another name, or end the other with "kage stop ${name}"`,
        );
      this.store.together(() => {
        this.store.create({ name, spec, policy: restartPolicy, removeAtEnd });
        this.store.add('created', name);
      });
    });
    if (!start) return await this.inspect(name);
    try {
      return await this.start(name);
    } catch (error) {
      // Nothing stays of one that was to run and never began.
      await this.remove(name, { force: true }).catch(() => {});
      throw error;
    }
  }

  /** Makes it what is declared, and has it run. */
  async declare(
    name: string,
    { spec, restartPolicy = { name: 'no' } }: DeclareRequest,
  ): Promise<{ change: 'created' | 'changed' | 'unchanged'; partition: Partition }> {
    checkDeclaration(name, spec, restartPolicy, false);
    const before = this.store.get(name);
    if (before === undefined)
      return { change: 'created', partition: await this.create({ name, spec, restartPolicy, start: true }) };
    const isSame = isDeepStrictEqual(before.spec, spec);
    const change = isSame && isDeepStrictEqual(before.policy, restartPolicy) ? 'unchanged' : 'changed';
    if (!isSame) await this.stop(name);
    if (change === 'changed')
      this.store.together(() => {
        this.store.update(name, { spec, policy: restartPolicy });
        this.store.add('changed', name);
      });
    return { change, partition: await this.start(name) };
  }

  async update(name: string, policy: RestartPolicy): Promise<Partition> {
    const { removeAtEnd, spec } = this.#declared(name);
    checkDeclaration(name, spec, policy, removeAtEnd);
    this.store.together(() => {
      this.store.update(name, { policy });
      this.store.add('changed', name, { restartPolicy: policy });
    });
    return await this.inspect(name);
  }

  /** One that runs already is left as it is. */
  async start(name: string): Promise<Partition> {
    await this.#locks.withName(name, async () => {
      this.#declared(name);
      if (await this.machines.isLive(name)) return;
      await this.#watcher?.forget(name);
      await this.#reconcile(name);
      this.#declared(name);
      this.store.update(name, { wanted: 'running', restarts: 0, failures: 0 });
      try {
        await this.#launch(name);
      } catch (error) {
        this.store.update(name, { wanted: 'stopped' });
        throw error;
      }
    });
    return await this.inspect(name);
  }

  /**
   * For who decides by himself what runs here (the cluster): the partition is there with that spec, by the policy `no`, and `begin` has its
   * machine run. Errors: `name-in-use` where another's partition or machine has the name; what `begin` throws.
   */
  async occupy(name: string, spec: PartitionSpec, begin: Begin): Promise<void> {
    await this.#locks.withName(name, async () => {
      const before = this.store.get(name);
      if (before !== undefined && before.spec.failover === undefined)
        throw new OperatorError(
          'name-in-use',
          `A partition ${name} of this host alone is in the way`,
          `Remove it with "kage rm ${name}"`,
        );
      await this.#watcher?.forget(name);
      if (before !== undefined) await this.#reconcile(name);
      this.store.together(() => {
        if (before === undefined) this.store.create({ name, spec, policy: { name: 'no' }, removeAtEnd: false });
        this.store.update(name, { spec, wanted: 'running', restarts: 0, failures: 0 });
      });
      try {
        await this.#launcher.launch(this.#declared(name), begin);
      } catch (error) {
        this.store.remove(name);
        throw error;
      }
      await this.#watcher?.started(name);
    });
  }

  /** The reverse: its machine is gone, and it is no partition of this host any more. Its logs stay, unless told otherwise. */
  async vacate(name: string, { withLogs = false }: { withLogs?: boolean } = {}): Promise<void> {
    await this.#locks.withName(name, async () => {
      await this.#watcher?.forget(name);
      if (this.store.get(name)?.spec.failover !== undefined) {
        this.recordEnd(name, undefined);
        this.store.remove(name);
      }
      if (withLogs) removeHome(this.#options.stateFolder, name);
    });
  }

  /** What the machine of such a partition would be told; its image is here then. */
  async plan(name: string, spec: PartitionSpec, signal: AbortSignal): Promise<DetachedStart> {
    return await this.#launcher.plan(name, spec, signal);
  }

  /** A machine's process that is no partition's yet: it stands by for one. Its pid. */
  async runApart(name: string, start: DetachedStart, signal: AbortSignal): Promise<number> {
    return await this.#launcher.runApart(name, start, signal);
  }

  /** By its policy, unless something else was decided meanwhile. Throws what a start may throw. */
  async startAgain(name: string, failures: number): Promise<void> {
    await this.#locks.withName(name, async () => {
      const definition = this.store.get(name);
      if (definition === undefined || (await this.machines.isLive(name))) return;
      this.store.update(name, { wanted: 'running', restarts: definition.restarts + 1, failures });
      await this.#launch(name);
    });
  }

  /** Asks the guest; ends what does not in time. One that does not run is left as it is. */
  async stop(name: string, { graceMs = GRACE_MS }: { graceMs?: number } = {}): Promise<Partition> {
    return await this.#end(name, (machine) => machine.stop({ graceMs }), { graceMs });
  }

  async kill(name: string): Promise<Partition> {
    return await this.#end(name, (machine) => machine.kill(), {});
  }

  async restart(name: string, options: { graceMs?: number } = {}): Promise<Partition> {
    this.#declared(name);
    await this.stop(name, options);
    return await this.start(name);
  }

  /** All that were declared and run, at once; what is wanted of them stays as it was. */
  async stopAll({ graceMs }: { graceMs: number }): Promise<void> {
    const declared = this.store.list().filter(({ pid }) => pid !== undefined);
    await Promise.allSettled(
      declared.map(async ({ name, wanted }) => {
        await this.stop(name, { graceMs });
        if (this.store.get(name) !== undefined) this.store.update(name, { wanted });
      }),
    );
  }

  async pause(name: string): Promise<Partition> {
    return await this.#with(name, 'paused', (machine) => machine.pause());
  }

  async resume(name: string): Promise<Partition> {
    return await this.#with(name, 'resumed', (machine) => machine.resume());
  }

  /** With its logs. Errors: `partition-running`. */
  async remove(name: string, { force = false }: { force?: boolean } = {}): Promise<void> {
    await this.#existing(name);
    if (await this.machines.isLive(name)) {
      if (!force)
        throw new OperatorError(
          'partition-running',
          `The partition ${name} runs`,
          `Stop it first, or remove it with "kage rm --force ${name}"`,
        );
      await this.kill(name);
    }
    await this.#locks.withName(name, async () => {
      await this.#watcher?.forget(name);
      await this.machines.gone(name);
      this.#forget(name);
    });
  }

  /** How it ended; waits for that. Errors: `not-running` where it never ran. */
  async wait(name: string): Promise<ExitRecord> {
    await this.#existing(name);
    const machine = await this.machines.reach(name).catch(() => undefined);
    if (machine !== undefined) {
      await using open = machine;
      const status = await open.exited().catch(() => undefined);
      if (status !== undefined) return { ...status, at: new Date().toISOString() };
      await this.machines.gone(name);
    }
    await this.#settled(name);
    const exit = this.store.get(name)?.exit;
    if (exit === undefined) throw notRunning(name);
    return exit;
  }

  /** What its console said: bytes, as they come. Errors: `no-such-partition`. */
  async logs(
    name: string,
    options: { tail?: number; follow?: boolean },
    signal: AbortSignal,
  ): Promise<AsyncIterable<Uint8Array>> {
    const { state } = await this.inspect(name);
    const goesOn = async (): Promise<boolean> =>
      this.isStarting(name) || this.#watcher?.restartAt(name) !== undefined || (await this.machines.isLive(name));
    const isLive = state === 'running' || state === 'paused';
    return await consoleLog(this.home(name), options, {
      goesOn,
      signal,
      ...(isLive ? { reach: () => this.machines.reach(name) } : {}),
    });
  }

  /** Errors: `no-such-partition`, `not-running`. To be disposed of. */
  async reach(name: string): Promise<RemoteMachine> {
    await this.#existing(name);
    return await this.machines.reach(name);
  }

  /** What is known of a machine that has ended; undefined where it has not. The lock is held. */
  async #reconcile(name: string): Promise<void> {
    const definition = this.store.get(name);
    if (definition?.pid === undefined || (await this.machines.isLive(name))) return;
    this.recordEnd(name, undefined);
  }

  /** As #reconcile; while something is being done to it, that one sees to it. */
  async #settled(name: string): Promise<void> {
    if (this.#locks.isHeld(name)) return;
    await this.#locks.withName(name, () => this.#reconcile(name));
  }

  /**
   * Writes down that it ended, once. `status`: what its process said, if it did. The supervisor is told, unless it
   * ended on purpose.
   */
  recordEnd(name: string, status: ExitStatus | undefined): void {
    const definition = this.store.get(name);
    if (definition?.pid === undefined) return;
    const kept = readExitRecord(this.home(name));
    const said = status === undefined && kept?.pid === definition.pid ? kept : undefined;
    const exit: ExitRecord = exitOf(status ?? said, said?.at);
    this.store.together(() => {
      this.store.update(name, { exit, pid: undefined });
      this.store.add('ended', name, { ...exit });
    });
    if (definition.removeAtEnd) this.#forget(name);
    else this.#watcher?.ended(definition, exit, Date.parse(exit.at) - Date.parse(definition.startedAt ?? exit.at));
  }

  /**
   * Writes down which process runs it, as who started it may have died before that was done. Whether it was declared. The lock
   * is held.
   */
  async adopt(name: string): Promise<boolean> {
    const definition = this.store.get(name);
    if (definition === undefined) return false;
    const info = await this.machines.info(name);
    if (info !== undefined && info.pid !== definition.pid)
      this.store.update(name, { pid: info.pid, startedAt: info.startedAt, exit: undefined });
    return true;
  }

  isStarting(name: string): boolean {
    return this.#launcher.isStarting(name);
  }

  async withLock<T>(name: string, body: () => Promise<T>): Promise<T> {
    return await this.#locks.withName(name, body);
  }

  async #end(
    name: string,
    end: (machine: RemoteMachine) => Promise<ExitStatus>,
    detail: { graceMs?: number },
  ): Promise<Partition> {
    await this.#existing(name);
    await this.#locks.withName(name, async () => {
      const definition = this.store.get(name);
      if (definition !== undefined) this.store.update(name, { wanted: 'stopped' });
      await this.#watcher?.forget(name);
      const machine = await this.machines.reach(name).catch(() => undefined);
      if (machine === undefined) return await this.#reconcile(name);
      await using open = machine;
      this.store.add('stopping', name, detail);
      const status = await end(open).catch(() => undefined);
      await this.machines.gone(name);
      if (definition === undefined) this.store.add('ended', name, { ...exitOf(status) });
      else this.recordEnd(name, status);
    });
    return await this.#lastView(name);
  }

  /** Of one that may have gone with its end. */
  async #lastView(name: string): Promise<Partition> {
    try {
      return await this.inspect(name);
    } catch {
      return { name, state: 'exited', managed: false, restartPolicy: { name: 'no' }, restarts: 0 };
    }
  }

  async #with(
    name: string,
    kind: 'paused' | 'resumed',
    act: (machine: RemoteMachine) => Promise<void>,
  ): Promise<Partition> {
    await using machine = await this.reach(name);
    await act(machine);
    this.store.add(kind, name);
    return await this.inspect(name);
  }

  /** The lock is held. */
  async #launch(name: string): Promise<void> {
    await this.#launcher.launch(this.#declared(name));
    await this.#watcher?.started(name);
  }

  #declared(name: string): Definition {
    const definition = this.store.get(name);
    if (definition === undefined) throw noSuchPartition(name);
    return definition;
  }

  async #existing(name: string): Promise<void> {
    if (this.store.get(name) === undefined && !(await this.machines.isLive(name))) throw noSuchPartition(name);
  }

  #view(definition: Definition, info: MachineInfo | undefined): Partition {
    const { name } = definition;
    return viewOf(definition, info, {
      isStarting: this.isStarting(name),
      restartAt: this.#watcher?.restartAt(name),
    });
  }

  #forget(name: string): void {
    this.store.together(() => {
      if (this.store.remove(name)) this.store.add('removed', name);
    });
    removeHome(this.#options.stateFolder, name);
  }
}
