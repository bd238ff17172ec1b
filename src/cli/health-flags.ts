/** The flags by which a guest is looked after: its heart, and docker's of health checks. */
import type { Command } from 'commander';
import { OperatorError } from '../base/errors.ts';
import { type AgentChoice, checkHealthOptions, type MachineOptions } from '../host/index.ts';
import { parseCount, parseDuration } from './values.ts';

export interface CareFlags {
  readonly heartbeat?: string;
  readonly healthCmd?: string;
  readonly healthInterval?: string;
  readonly healthTimeout?: string;
  readonly healthRetries?: string;
  readonly healthStartPeriod?: string;
  readonly healthStartInterval?: string;
}

export function addAgentChoice(command: Command): Command {
  return command
    .option('--agent <auto|kagemusha|qemu|off>', "the guest's agent; auto: ours or QEMU's, by what answers")
    .option('--no-agent', 'the same as --agent off: put none into the initrd');
}

export function addCare(command: Command): Command {
  return command
    .option('--heartbeat <interval|off>', "the guest's heart beats: 500ms, 5s; off by default")
    .option('--health-cmd <command>', "run in the guest's shell; exit code 0: it is healthy")
    .option('--health-interval <time>', 'from the end of a check to the next; 30s by default')
    .option('--health-timeout <time>', 'a check that takes longer has failed; 30s by default')
    .option('--health-retries <count>', 'failures in a row that make it unhealthy; 3 by default')
    .option(
      '--health-start-period <time>',
      "failures so soon after the agent's first answer do not count; 0s by default",
    )
    .option('--health-start-interval <time>', 'from check to check in that time; 5s by default');
}

/** Throws OperatorError for what makes no sense. */
export function careOptions(flags: CareFlags): Pick<MachineOptions, 'heartbeatMs' | 'health'> {
  const { heartbeat, healthCmd: command } = flags;
  const time = (value: string | undefined, flag: string, name: string): object =>
    value === undefined ? {} : { [name]: parseDuration(value, flag) };
  const details = {
    ...time(flags.healthInterval, '--health-interval', 'intervalMs'),
    ...time(flags.healthTimeout, '--health-timeout', 'timeoutMs'),
    ...time(flags.healthStartPeriod, '--health-start-period', 'startPeriodMs'),
    ...time(flags.healthStartInterval, '--health-start-interval', 'startIntervalMs'),
    ...(flags.healthRetries === undefined
      ? {}
      : { retries: parseCount(flags.healthRetries, '--health-retries', 1, 1000) }),
  };
  if (command === undefined && Object.keys(details).length > 0)
    throw new OperatorError('bad-usage', 'there is no command to check health by', 'Add --health-cmd COMMAND');
  const health = command === undefined ? undefined : { command, ...details };
  if (health !== undefined) checkHealthOptions(health);
  return {
    ...(heartbeat === undefined
      ? {}
      : { heartbeatMs: heartbeat === 'off' ? 0 : parseDuration(heartbeat, '--heartbeat') }),
    ...(health === undefined ? {} : { health }),
  };
}

/** `--agent KIND`, or `--no-agent` (false). */
export function agentOption(value: string | boolean | undefined): Pick<MachineOptions, 'agent'> {
  if (value === undefined || value === true) return {};
  if (value === false) return { agent: false };
  const choices: readonly AgentChoice[] = ['auto', 'kagemusha', 'qemu', 'off'];
  const agent = choices.find((one) => one === value);
  if (agent === undefined)
    throw new OperatorError('bad-usage', `there is no agent ${value}`, 'Choose auto, kagemusha, qemu or off');
  return { agent };
}
