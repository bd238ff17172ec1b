/** `kage agent`: which agent a guest has, its heart, its health; putting ours on the guest's disk. */
import { type AgentEvent, connectMachine, installAgent, type MachineInfo, uninstallAgent } from '../host/index.ts';
import type { Io } from './io.ts';
import { type Format, print, table } from './output.ts';
import { readyWithin } from './run.ts';
import { parseDuration, parseWait } from './values.ts';

export interface AgentFlags {
  readonly format: Format;
}

export interface InstallFlags {
  readonly wait?: string;
}

export async function agentStatus(io: Io, name: string, { format }: AgentFlags): Promise<number> {
  await using machine = await connectMachine(name);
  const { agent, health } = await machine.info();
  const all = { ...agent, ...(health === undefined ? {} : { health }) };
  print(io, format, all, () => table(['what', 'state'], rows(agent, health)));
  return 0;
}

function nameOf(agent: MachineInfo['agent']): string {
  return agent?.kind === undefined ? 'none has answered' : `${agent.kind} ${agent.version ?? ''}`.trim();
}

function rows(agent: MachineInfo['agent'], health: MachineInfo['health']): string[][] {
  const heart = agent?.heartbeat;
  const last = health?.log.at(-1);
  return [
    ['agent', nameOf(agent)],
    ['heartbeat', heart === undefined || heart.state === 'off' ? 'off' : `${heart.state}, each ${heart.intervalMs} ms`],
    ...(heart?.sequence === undefined
      ? []
      : [['last beat', `number ${heart.sequence}, ${heart.agoMs ?? 0} ms ago, ${heart.missed} missed`]]),
    ...(heart?.uptimeSeconds === undefined ? [] : [['uptime', `${heart.uptimeSeconds} s`]]),
    ...(heart?.load === undefined ? [] : [['load', heart.load.toFixed(2)]]),
    [
      'health',
      health === undefined ? 'not checked' : `${health.status}, failed ${health.failingStreak} times in a row`,
    ],
    ...(last === undefined ? [] : [['last check', `exit code ${last.exitCode} at ${last.end}`]]),
  ];
}

export async function agentHeartbeat(name: string, interval: string): Promise<number> {
  const intervalMs = interval === 'off' ? 0 : parseDuration(interval, 'the interval');
  await using machine = await connectMachine(name);
  await machine.setHeartbeat(intervalMs);
  return 0;
}

/** How long a request waits for news; the connection is the same all along. */
const WAIT_MS = 30_000;

export async function agentEvents(io: Io, name: string, flags: AgentFlags & { follow?: boolean }): Promise<number> {
  await using machine = await connectMachine(name);
  const end = Promise.withResolvers<undefined>();
  const onAbort = (): void => end.resolve(undefined);
  io.signal.addEventListener('abort', onAbort, { once: true });
  const ended = machine.exited().then(
    () => undefined,
    () => undefined,
  );
  const say = (events: readonly AgentEvent[]): void => {
    for (const event of events) io.stdout.write(`${flags.format === 'json' ? JSON.stringify(event) : lineOf(event)}\n`);
  };
  let since = 0;
  for (let waitMs = 0; ; waitMs = WAIT_MS) {
    const asked = machine.agentEvents(since, waitMs);
    // Of a machine that ends, the conversation may end first.
    const events = await (flags.follow ? Promise.race([asked.catch(() => undefined), ended, end.promise]) : asked);
    if (events === undefined) break;
    say(events);
    since = events.at(-1)?.number ?? since;
    if (flags.follow !== true) break;
  }
  io.signal.removeEventListener('abort', onAbort);
  return 0;
}

function lineOf({ at, kind, from, to }: AgentEvent): string {
  return `${at}  ${kind.padEnd(9)}  ${from} -> ${to}`;
}

export async function agentInstall(io: Io, name: string, flags: InstallFlags, isOut: boolean): Promise<number> {
  const waitSeconds = parseWait(flags.wait);
  await using machine = await connectMachine(name);
  await readyWithin(waitSeconds, machine.ready(), io.signal);
  const state = await (isOut ? uninstallAgent(machine) : installAgent(machine));
  io.stdout.write(`${name}: ${state}\n`);
  return 0;
}

export const agentHelp = `
The agent on the guest's disk is a service of systemd (kagemusha-agent.service). "install" puts it there through whichever
agent answers now (ours from the initrd, or QEMU's), and renews one of another release.

Examples:
  kage run -d -n web --heartbeat 1s --health-cmd 'curl -fs localhost' server
  kage agent status web
  kage agent events web -f
  kage agent install web`;
