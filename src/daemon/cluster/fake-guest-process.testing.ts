/**
 * The entry of a process whose machine is a fake with a heart, for tests of the cluster's hands. It starts after as many milliseconds as
 * `append` says (`slow=500`), and hears keys on its console: `ill`, `well`, `still` (its heart stops).
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { OperatorError } from '../../base/errors.ts';
import { FakeMachine, noReceiver } from '../../host/control/fake-machine.testing.ts';
import { type ExecOptions, type ExecResult, type MachineInfo, type MachineOptions, ownDetachedMachine } from '../../host/index.ts';

const STARTED_MS = performance.now();

class FakeGuest extends FakeMachine {
  /** Its ancestor asks for info before these are there. */
  isIll = false;
  stillSinceMs: number | undefined;

  override get info(): MachineInfo {
    const intervalMs = this.options.heartbeatMs ?? 0;
    const heard = intervalMs === 0 ? 0 : Math.floor(((this.stillSinceMs ?? performance.now()) - STARTED_MS) / 50);
    return {
      ...super.info,
      agent: { kind: 'kagemusha', heartbeat: { state: 'alive', intervalMs, heard, missed: 0 } },
      health: { status: this.isIll ? 'unhealthy' : 'healthy', failingStreak: 0, log: [] },
    };
  }

  override writeConsole(bytes: Uint8Array): void {
    const keys = Buffer.from(bytes).toString();
    if (keys.includes('ill')) this.isIll = true;
    if (keys.includes('well')) this.isIll = false;
    if (keys.includes('still')) this.stillSinceMs = performance.now();
    super.writeConsole(bytes);
  }

  /** `told` prints what was asked of the machine, and what it was made with. */
  override async exec(argv: readonly string[], options?: ExecOptions): Promise<ExecResult> {
    if (argv[0] !== 'told') return await super.exec(argv, options);
    const { options: made, calls } = this;
    const ran = this.ran.slice();
    const said = Buffer.from(JSON.stringify({ made, calls, ran }));
    options?.onStdout?.(said);
    return { code: 0, stdout: new Uint8Array(), stderr: new Uint8Array() };
  }
}

async function make(options: MachineOptions): Promise<FakeMachine> {
  const [, slowMs] = /slow=(\d+)/.exec(options.append ?? '') ?? [];
  if (slowMs !== undefined) await sleep(Number(slowMs));
  if (options.kernel === '/no/kernel') throw new OperatorError('kernel-not-found', 'There is no kernel', 'Name one');
  return new FakeGuest(options);
}

ownDetachedMachine(
  make,
  async (file, options = {}) => {
    const machine = new FakeGuest(options);
    machine.calls.push(`restored ${file}`);
    return machine;
  },
  noReceiver,
);
