/** `kage receive`, `replicate`, `promote`, `migrate`: a guest in two processes, and which of them runs it. */
import { OperatorError } from '../base/errors.ts';
import {
  connectMachine,
  launchReceiver,
  type ReceiveOptions,
  type ReplicationReport,
  startDetached,
} from '../host/index.ts';
import type { Io, Platform } from './io.ts';
import { type Format, print, sizeText } from './output.ts';
import { exitCode } from './run.ts';
import { machineOptions } from './run-options.ts';
import { parseCount, parseSize } from './values.ts';

interface StreamFlags {
  readonly tls?: string;
  readonly compress?: string;
}

export interface ReceiveFlags extends StreamFlags {
  readonly name?: string;
  readonly detach?: boolean;
  readonly publish?: readonly string[];
  readonly netdev?: readonly string[];
  readonly onLoss?: string;
}

export interface ReplicateFlags extends StreamFlags {
  readonly epoch?: string;
  readonly onLoss?: string;
  readonly eager?: string;
  readonly mostHeld?: string;
}

export interface MigrateFlags extends StreamFlags {
  readonly downtime?: string;
  readonly throttle: boolean;
  readonly format: Format;
}

export async function receive(io: Io, platform: Platform, address: string, flags: ReceiveFlags): Promise<number> {
  const { name, publish, netdev, onLoss, tls, detach } = flags;
  const given = {
    ...(name === undefined ? {} : { name }),
    ...(publish === undefined ? {} : { publish }),
    ...(netdev === undefined ? {} : { netdev }),
  };
  const options: ReceiveOptions = {
    listen: address,
    ...(tls === undefined ? {} : { tls }),
    ...(onLoss === undefined ? {} : { onLoss: oneWord('--on-loss', onLoss, ['wait', 'promote']) }),
    machine: machineOptions({ ...given, agent: true }),
  };
  if (detach) {
    const standby = await startDetached(platform.program, { kind: 'receive', options }, io.signal);
    io.stdout.write(`${standby.name}\n`);
    return 0;
  }
  const { receiver, close, name: own } = await launchReceiver(platform.receiveMachine, options);
  io.stderr.write(`${own} stands by at ${receiver.address}\n`);
  receiver.onEvent = ({ what, why }) => io.stderr.write(`${what}: ${why}\n`);
  const onAbort = (): void => void close();
  io.signal.addEventListener('abort', onAbort, { once: true });
  const machine = await receiver.machine;
  io.signal.removeEventListener('abort', onAbort);
  io.signal.addEventListener('abort', () => void machine.kill(), { once: true });
  io.stdout.write(machine.consoleHistory());
  machine.onConsole((bytes) => io.stdout.write(bytes));
  return exitCode(await machine.exited);
}

export async function replicate(_io: Io, name: string, to: string, flags: ReplicateFlags): Promise<number> {
  await using machine = await connectMachine(name);
  const { epoch, eager, onLoss, mostHeld } = flags;
  await machine.replicate({
    ...streamOptions(to, flags),
    ...(epoch === undefined ? {} : { epochMs: parseCount(epoch, '--epoch', 1, 60_000) }),
    ...(eager === undefined ? {} : { eager: oneWord('--eager', eager, ['on', 'off']) === 'on' }),
    ...(onLoss === undefined ? {} : { onLoss: oneWord('--on-loss', onLoss, ['go-on', 'wait']) }),
    ...(mostHeld === undefined ? {} : { mostHeldBytes: parseSize(mostHeld, '--most-held') }),
  });
  return 0;
}

export async function unreplicate(name: string): Promise<number> {
  await using machine = await connectMachine(name);
  await machine.unreplicate();
  return 0;
}

export async function replication(io: Io, name: string, format: Format): Promise<number> {
  await using machine = await connectMachine(name);
  const report = await machine.replication();
  print(io, format, report, () => reportText(report));
  return 0;
}

export interface CheckpointFlags {
  readonly every?: string;
  readonly keep?: string;
  readonly stop?: boolean;
}

export async function checkpoint(name: string, folder: string | undefined, flags: CheckpointFlags): Promise<number> {
  const { every = '10', keep, stop } = flags;
  if ((folder === undefined) !== (stop === true))
    throw new OperatorError('bad-usage', 'a folder is named, or --stop', `Write "kage checkpoint ${name} FOLDER"`);
  await using machine = await connectMachine(name);
  if (folder === undefined) await machine.endCheckpoints();
  else
    await machine.checkpoint({
      ...{ folder, everyMs: parseCount(every.replace(/s$/, ''), '--every', 1, 86_400) * 1000 },
      ...(keep === undefined ? {} : { keep: parseCount(keep, '--keep', 1, 1000) }),
    });
  return 0;
}

export async function promote(io: Io, name: string, format: Format): Promise<number> {
  await using machine = await connectMachine(name);
  const result = await machine.promote();
  print(io, format, result, () => `${name} runs, as of checkpoint ${result.epoch}, after ${msText(result.tookMs)}\n`);
  return 0;
}

export async function migrate(io: Io, name: string, to: string, flags: MigrateFlags): Promise<number> {
  await using machine = await connectMachine(name);
  const { downtime, throttle, format } = flags;
  const result = await machine.migrate({
    ...streamOptions(to, flags),
    ...(downtime === undefined ? {} : { downtimeMs: parseCount(downtime, '--downtime', 1, 60_000) }),
    ...(throttle ? {} : { throttle: false }),
  });
  print(io, format, result, () => {
    const { downtimeMs, tookMs, rounds, bytes, throttles } = result;
    const slowed = throttles === 0 ? '' : `; it was slowed down ${throttles} times`;
    return `${name} runs at ${to}: it stood still for ${msText(downtimeMs)}; ${rounds} rounds, ${sizeText(bytes)}, ${msText(tookMs)} in all${slowed}\n`;
  });
  return 0;
}

function reportText({ role, state, peer, epoch, measures, warm, events }: ReplicationReport): string {
  const lines = [`${role}: ${state}${peer === undefined ? '' : `, ${peer}`}; checkpoint ${epoch}`];
  if (measures !== undefined) {
    const { pauseMs, ackMs, pagesEach, bytesEach, dirtyPagesPerSecond, heldPeakBytes, stalls, early } = measures;
    lines.push(
      `the guest stands still for ${msText(pauseMs.p50)} (99 %: ${msText(pauseMs.p99)}); acknowledged after ${msText(ackMs.p50)} (${msText(ackMs.p99)})`,
      `${pagesEach.p50} pages, ${sizeText(bytesEach.p50)} each (99 %: ${pagesEach.p99}, ${sizeText(bytesEach.p99)}); ${dirtyPagesPerSecond} pages a second`,
      `held at most: ${sizeText(heldPeakBytes)}; stalls: ${stalls}; ${early} checkpoints early, for output`,
    );
  }
  if (warm !== undefined) {
    const { folder, taken, failed, pausedMs = 0, sizeBytes = 0 } = warm;
    const lost = failed === 0 ? '' : `; ${failed} could not be taken`;
    lines.push(`${taken} snapshots into ${folder}, the latest ${sizeText(sizeBytes)}, ${msText(pausedMs)}${lost}`);
  }
  const latest = events.slice(0, 5).map(({ atMs, what, why }) => `${new Date(atMs).toISOString()} ${what}: ${why}`);
  return `${[...lines, ...latest].join('\n')}\n`;
}

function streamOptions(to: string, { tls, compress }: StreamFlags) {
  return {
    to,
    ...(tls === undefined ? {} : { tls }),
    ...(compress === undefined ? {} : { compress: oneWord('--compress', compress, ['on', 'off']) === 'on' }),
  };
}

function oneWord<const W extends string>(flag: string, given: string, words: readonly W[]): W {
  const word = words.find((one) => one === given);
  if (word !== undefined) return word;
  throw new OperatorError('bad-usage', `${flag} ${given} makes no sense`, `Write one of ${words.join(', ')}`);
}

function msText(ms: number): string {
  return ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`;
}

export const receiveHelp = `
The process has the guest's memory and state ready, and does not run it: until "kage promote" (of a hot standby), or until the
source hands it over ("kage migrate").

Examples:
  kage receive unix:/tmp/web.sock -n web-standby -d
  kage replicate web unix:/tmp/web.sock --epoch 50
  kage promote web-standby`;

export const migrateHelp = `
Disks that are only read, and those whose base is the same there, go along; a disk that is written to must be one that both
reach by the same path.

Example:
  kage receive tcp:127.0.0.1:4711 -n web2 -d && kage migrate web tcp:127.0.0.1:4711`;
