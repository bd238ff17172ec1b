/** Runs the guest's own agent script on this machine, under a shell of the test's choice, with a session on top. */
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { HostError } from '../../base/errors.ts';
import { AgentSession } from './session.ts';

export const agentScript = fileURLToPath(new URL('../../../guest/agent/agent', import.meta.url));

export interface ShellAgent {
  session: AgentSession;
  /** The agent's process: raw bytes for its standard input, for tests of bad input. */
  process: ChildProcess;
  /** Ends the agent and removes its folder. */
  stop(): Promise<void>;
}

export const realClock = {
  after(delayMs: number, callback: () => void): () => void {
    const timer = setTimeout(callback, delayMs);
    return () => clearTimeout(timer);
  },
};

/** `mounts`: what stands for /proc/self/mountinfo. `shell` is the command that runs the script: ['dash'], or ['busybox', 'ash'] with `path` holding its applets. */
export function startShellAgent(shell: readonly string[], path?: string, mounts?: string): ShellAgent {
  const folder = mkdtempSync(join(tmpdir(), 'kagemusha-agent-'));
  const [program = 'sh', ...rest] = shell;
  const child = spawn(program, [...rest, agentScript, '-'], {
    env: {
      HOME: '/root',
      PATH: path ?? '/usr/bin:/bin',
      KAGEMUSHA_AGENT_FOLDER: join(folder, 'agent'),
      ...(mounts === undefined ? {} : { KAGEMUSHA_AGENT_MOUNTS: mounts }),
    },
    stdio: ['pipe', 'pipe', 'inherit'],
    detached: true, // a process group of its own, to end it whole
  });
  const session = new AgentSession(
    { write: (bytes) => child.stdin.write(bytes) },
    { clock: realClock, nonce: `n${process.pid}` },
  );
  child.stdout.on('data', (bytes: Buffer) => session.onData(bytes));
  child.stdin.on('error', () => {});
  const exited = new Promise<void>((resolve) => child.on('close', () => resolve()));
  const stop = async (): Promise<void> => {
    session.close(new HostError('agent-closed', 'the test is over'));
    if (child.pid !== undefined && child.exitCode === null) process.kill(-child.pid, 'SIGKILL');
    await exited;
    rmSync(folder, { recursive: true, force: true });
  };
  return { session, process: child, stop };
}
