/** `kage agent` and its verbs, as data for commander. */
import type { Command } from 'commander';
import { type AgentFlags, agentEvents, agentHeartbeat, agentHelp, agentInstall, agentStatus } from './agent.ts';
import type { Io } from './io.ts';
import { formatOption, verb } from './verb.ts';

export function addAgent(program: Command, io: Io, end: (code: number) => void): void {
  const agent = verb(program, 'agent', "show and manage a guest's agent")
    .enablePositionalOptions()
    .addHelpText('after', agentHelp);
  const named = (name: string, summary: string): Command =>
    verb(agent, name, summary).argument('<name>', 'the machine');
  named('status', 'show which agent answers, its heart and its health')
    .addOption(formatOption())
    .action(async (name: string, flags: AgentFlags) => end(await agentStatus(io, name, flags)));
  named('events', 'show what happened to the guest, as its agent tells')
    .option('-f, --follow', 'go on until the machine ends')
    .addOption(formatOption())
    .action(async (name: string, flags: AgentFlags & { follow?: boolean }) => end(await agentEvents(io, name, flags)));
  named('heartbeat', "have the guest's heart beat")
    .argument('<interval|off>', 'from beat to beat: 500ms, 5s')
    .action(async (name: string, interval: string) => end(await agentHeartbeat(name, interval)));
  for (const [word, summary, isOut] of [
    ['install', "put the agent on the guest's disk, as a service, or renew it", false],
    ['uninstall', 'take it away again', true],
  ] as const)
    named(word, summary)
      .option('--wait <seconds>', "how long the guest's agent may take to answer; without end by default")
      .action(async (name: string, flags: { wait?: string }) => end(await agentInstall(io, name, flags, isOut)));
}
