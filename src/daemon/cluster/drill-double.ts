/**
 * Doubles for drills: on this host, of guests that run anywhere. A double has the guest's name with an ending, no network but one of its
 * own, and nothing that outlives it: its disks are layers. It ends with the drill, or by itself when nobody ends it.
 */

import { createWriteStream, mkdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { freemem } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import * as z from 'zod';
import { HostError, OperatorError } from '../../base/errors.ts';
import type { DetachedStart, RestoreOptions } from '../../host/index.ts';
import type { Partitions } from '../partitions/index.ts';
import { type PartitionSpec, partitionSpec } from '../schemas/spec.ts';
import { clusterFolder } from './cluster-config.ts';
import { GuestProcess } from './guest-process.ts';
import type { PeerAsk, PeerChannel } from './peer-channel.ts';

export interface DoubleParts {
  readonly partitions: Partitions;
  readonly stateFolder: string;
  /** Where one listens that stands by. */
  readonly listenHost: string;
  readonly tlsFolder: string;
}

const ENDING = '.drill-double';
/** A drill is over then, whatever became of who asked for it. */
const LIFE_MS = 10 * 60_000;
/** An answer that takes longer is asked for again. */
const TURN_MS = 20_000;
const ASK_MS = 15_000;

const step = z.discriminatedUnion('step', [
  z.object({ step: z.literal('boot'), spec: partitionSpec }),
  z.object({ step: z.literal('restore'), spec: partitionSpec }),
  z.object({ step: z.literal('stand-by'), spec: partitionSpec }),
  z.object({ step: z.literal('promote') }),
  z.object({ step: z.literal('wait') }),
  z.object({ step: z.literal('end') }),
]);

interface Double {
  readonly process: GuestProcess;
  readonly hasAgent: boolean;
  readonly timer: NodeJS.Timeout;
  /** Milliseconds from the order to its answer. */
  answered: Promise<number>;
}

export class DrillDoubles implements AsyncDisposable {
  readonly #parts: DoubleParts;
  readonly #doubles = new Map<string, Double>();

  constructor(parts: DoubleParts) {
    this.#parts = parts;
  }

  /** What other hosts may ask of it. */
  serve(channel: PeerChannel): void {
    channel.serve('drill', (ask) => this.answer(ask));
  }

  /** Of a daemon that was killed in a drill. */
  async clear(): Promise<void> {
    const { machines } = this.#parts.partitions;
    for (const name of await machines.names())
      if (name.endsWith(ENDING) && this.#parts.partitions.store.get(name) === undefined)
        await this.#parts.partitions.kill(name).catch(() => {}); // it has ended meanwhile
  }

  async answer({ name, body, files }: Pick<PeerAsk, 'name' | 'body' | 'files'>): Promise<object> {
    const read = step.safeParse(body);
    if (!read.success)
      throw new OperatorError('bad-body', 'that is no step of a drill', 'Run the same kage on all hosts');
    const asked = read.data;
    switch (asked.step) {
      case 'boot':
        await this.#begin(name, asked.spec, await this.#boot(name, asked.spec));
        return {};
      case 'restore':
        return await this.#restore(name, asked.spec, files);
      case 'stand-by':
        return { address: await this.#standBy(name, asked.spec) };
      case 'promote': {
        const double = this.#of(name);
        double.answered = this.#answerOf(double, () => double.process.ask((machine) => machine.promote(), ASK_MS));
        return {};
      }
      case 'wait':
        return await this.#wait(name);
      case 'end':
        await this.end(name);
        return {};
    }
  }

  /** On with a snapshot that lies here; resolves when it runs. */
  async restoreHere(name: string, spec: PartitionSpec, file: string): Promise<GuestProcess> {
    await this.#begin(name, spec, { kind: 'restore', file, options: isolated(doubleName(name), spec) });
    return this.#of(name).process;
  }

  async end(name: string): Promise<void> {
    const double = this.#doubles.get(name);
    this.#doubles.delete(name);
    clearTimeout(double?.timer);
    await double?.process.end({ kind: 'killed' });
    await rm(this.#file(name), { force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const name of [...this.#doubles.keys()]) await this.end(name);
  }

  async #boot(name: string, spec: PartitionSpec): Promise<DetachedStart> {
    const { partitions } = this.#parts;
    return await partitions.plan(doubleName(name), withoutWayOut(spec), AbortSignal.timeout(LIFE_MS));
  }

  async #restore(name: string, spec: PartitionSpec, files: PeerAsk['files']): Promise<object> {
    const file = this.#file(name);
    mkdirSync(join(clusterFolder(this.#parts.stateFolder), 'drills'), { recursive: true, mode: 0o700 });
    if (files !== undefined) {
      // It lies here before the order, as a warm standby's checkpoint does.
      await pipeline(files, createWriteStream(file, { mode: 0o600 }));
      return {};
    }
    await this.#begin(name, spec, { kind: 'restore', file, options: isolated(doubleName(name), spec) });
    return {};
  }

  async #standBy(name: string, spec: PartitionSpec): Promise<string> {
    const { listenHost, tlsFolder } = this.#parts;
    const listen = `tls:${listenHost.includes(':') ? `[${listenHost}]` : listenHost}:0`;
    const machine = isolated(doubleName(name), spec);
    await this.#begin(name, spec, { kind: 'receive', options: { listen, tls: tlsFolder, machine } });
    const { address } = await this.#of(name).process.ask((one) => one.replication(), ASK_MS);
    if (address === undefined) throw new HostError('no-standby', 'the double does not listen');
    return address;
  }

  async #begin(name: string, spec: PartitionSpec, start: DetachedStart): Promise<void> {
    if (this.#doubles.has(name))
      throw new OperatorError('drill-running', `there is a drill of ${name} already`, 'Wait for its end');
    const { memoryBytes = 512 << 20 } = spec;
    if (freemem() < memoryBytes)
      throw new OperatorError('no-room', 'there is no memory for a double', 'Name another host with --host');
    const { partitions } = this.#parts;
    const sinceMs = performance.now();
    const pid = await partitions.runApart(doubleName(name), start, AbortSignal.timeout(LIFE_MS));
    const process = GuestProcess.of(doubleName(name), pid, await partitions.machines.folder());
    const hasAgent = spec.agent !== false && spec.agent !== 'off';
    const timer = setTimeout(() => void this.end(name), LIFE_MS).unref();
    const double: Double = { process, hasAgent, timer, answered: Promise.resolve(0) };
    this.#doubles.set(name, double);
    if (start.kind !== 'receive') double.answered = this.#answerOf(double, async () => {}, sinceMs);
    double.answered.catch(() => {}); // who waits is told
  }

  /** Its agent runs a command, which every guest has; where it has none, its machine is there. */
  async #answerOf(
    { process, hasAgent }: Double,
    order: () => Promise<unknown>,
    sinceMs = performance.now(),
  ): Promise<number> {
    await order();
    if (hasAgent)
      await process.ask(async (machine) => {
        await machine.ready();
        await machine.exec(['echo']);
      }, LIFE_MS);
    return performance.now() - sinceMs;
  }

  async #wait(name: string): Promise<object> {
    const { answered } = this.#of(name);
    const turn = Promise.withResolvers<undefined>();
    const timer = setTimeout(() => turn.resolve(undefined), TURN_MS);
    const tookMs = await Promise.race([answered, turn.promise]).finally(() => clearTimeout(timer));
    return tookMs === undefined ? {} : { tookMs };
  }

  #of(name: string): Double {
    const double = this.#doubles.get(name);
    if (double !== undefined) return double;
    throw new OperatorError('no-drill', `there is no drill of ${name} here`, 'Begin one with "kage cluster drill"');
  }

  #file(name: string): string {
    return join(clusterFolder(this.#parts.stateFolder), 'drills', `${name}.kage`);
  }
}

function doubleName(name: string): string {
  return `${name.slice(0, 63 - ENDING.length)}${ENDING}`;
}

/** As it would boot: with layers over its disks, without a network, nothing published. */
function withoutWayOut(spec: PartitionSpec): PartitionSpec {
  const { drives, shares, failover: _, publish: __, netdevs: ___, vsock: ____, gdbPort: _____, ...rest } = spec;
  return {
    ...{ ...rest, network: false },
    ...(drives === undefined
      ? {}
      : { drives: drives.map((drive) => (drive.readOnly === true ? drive : { ...drive, overlay: true })) }),
    ...(shares === undefined ? {} : { shares: shares.map((share) => ({ ...share, readOnly: true })) }),
  };
}

/** What goes on from a snapshot has the network cards that it had: they lead to a network that nobody is on. */
function isolated(name: string, spec: PartitionSpec): RestoreOptions {
  return { name, publish: [], ...(spec.network === false ? {} : { netdevs: [{ kind: 'internal' }] }) };
}
