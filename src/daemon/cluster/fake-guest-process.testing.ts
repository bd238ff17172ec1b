/**
 * The entry of a process whose machine is a fake with a heart, for tests of the cluster's hands. It starts after as many milliseconds as
 * `append` says (`slow=500`), and hears keys on its console: `ill`, `well`, `still` (its heart stops), `stuck` (its
 * checkpoints are acknowledged no more). It sends none in truth, and has a connection to its standby as one that does: what becomes of that is what becomes of replication.
 */
import { writeFileSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { OperatorError } from '../../base/errors.ts';
import { FakeMachine } from '../../host/control/fake-machine.testing.ts';
import {
  type ExecOptions,
  type ExecResult,
  type ExitStatus,
  type MachineHandle,
  type MachineInfo,
  type MachineOptions,
  ownDetachedMachine,
  type ReceiveOptions,
  type Receiver,
  type ReplicateOptions,
  type ReplicationReport,
  type SnapshotOptions,
  type SnapshotResult,
} from '../../host/index.ts';

const STARTED_MS = performance.now();
const HEART_MS = 50;
const EPOCH_MS = 50;

class FakeGuest extends FakeMachine {
  /** Its ancestor asks for info before these are there. */
  isIll = false;
  stillSinceMs: number | undefined;
  warmReport: ReplicationReport['warm'];
  warmTimer: NodeJS.Timeout | undefined;
  peer: { readonly address: string; readonly socket: Socket } | undefined;
  safety: 'unprotected' | 'protected' | 'waiting' = 'unprotected';
  stuckSinceMs: number | undefined;

  override get info(): MachineInfo {
    const intervalMs = this.options.heartbeatMs ?? 0;
    const beatenMs = (this.stillSinceMs ?? performance.now()) - STARTED_MS;
    const heard = intervalMs === 0 ? 0 : Math.floor(beatenMs / HEART_MS);
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
    if (keys.includes('stuck')) this.stuckSinceMs = performance.now();
    super.writeConsole(bytes);
  }

  override async replicate({ to }: ReplicateOptions): Promise<void> {
    if (this.safety !== 'unprotected') throw new OperatorError('replicated-already', 'it has a standby', 'Wait');
    const socket = connect(Number(/(\d+)$/.exec(to)?.[1]), '127.0.0.1');
    const first = Promise.withResolvers<void>();
    socket.once('data', () => first.resolve());
    socket.on('error', () => {});
    socket.on('close', () => {
      first.reject(new OperatorError('standby-in-use', 'it was refused', 'Start another'));
      if (this.peer?.socket === socket && this.safety === 'protected') this.safety = 'waiting';
    });
    await first.promise;
    this.calls.push(`replicate ${to}`);
    this.peer = { address: to, socket };
    this.safety = 'protected';
  }

  override async unreplicate(): Promise<void> {
    this.calls.push('unreplicate');
    const { peer } = this;
    this.peer = undefined;
    this.safety = 'unprotected';
    peer?.socket.destroy();
  }

  override async snapshot(file: string, options?: SnapshotOptions): Promise<SnapshotResult> {
    writeFileSync(file, 'all of it');
    return await super.snapshot(file, options);
  }

  /** Each third is whole. They are large enough to be cut off on their way. */
  override async checkpoint({ folder, everyMs }: Parameters<MachineHandle['checkpoint']>[0]): Promise<void> {
    let taken = 0;
    let base: string | undefined;
    const take = (): void => {
      taken += 1;
      const file = join(folder, `web-${String(taken).padStart(6, '0')}.kage`);
      if (taken % 3 === 1) base = undefined;
      writeFileSync(file, `${taken} `.repeat(200_000));
      const of = base === undefined ? {} : { base };
      this.warmReport = { folder, taken, failed: 0, file, ...of, pausedMs: 7, sizeBytes: 400_000 };
      base ??= file;
    };
    take();
    this.warmTimer = setInterval(take, everyMs);
  }

  override async endCheckpoints(): Promise<void> {
    clearInterval(this.warmTimer);
    this.warmReport = undefined;
  }

  override end(status: ExitStatus): void {
    clearInterval(this.warmTimer);
    super.end(status);
  }

  override async replication(): Promise<ReplicationReport> {
    const { peer, safety: state, warmReport: warm } = this;
    const known = peer === undefined ? {} : { peer: peer.address };
    const epoch = Math.floor((this.stuckSinceMs ?? performance.now()) / EPOCH_MS);
    return { role: 'active', state, epoch, events: [], ...known, ...(warm === undefined ? {} : { warm }) };
  }

  /** `told` prints what was asked of the machine, and what it was made with. */
  override async exec(argv: readonly string[], options?: ExecOptions): Promise<ExecResult> {
    if (argv[0] !== 'told') return await super.exec(argv, options);
    const { options: made, calls, ran } = this;
    options?.onStdout?.(Buffer.from(JSON.stringify({ made, calls, ran })));
    return { code: 0, stdout: new Uint8Array(), stderr: new Uint8Array() };
  }
}

/** One guest comes, once; whoever comes then is refused. */
class FakeReceiver {
  readonly #server: Server;
  readonly #machine = Promise.withResolvers<MachineHandle>();
  readonly #options: ReceiveOptions;
  #state = 'waiting';
  #socket: Socket | undefined;

  static async listen(options: ReceiveOptions): Promise<Receiver> {
    const receiver = new FakeReceiver(options);
    await new Promise<void>((resolve) => receiver.#server.listen(0, '127.0.0.1', resolve));
    return receiver as unknown as Receiver;
  }

  private constructor(options: ReceiveOptions) {
    this.#options = options;
    this.#machine.promise.catch(() => {});
    this.#server = createServer((socket) => {
      socket.on('error', () => {});
      if (this.#state !== 'waiting') {
        socket.destroy();
        return;
      }
      this.#socket = socket;
      this.#state = 'ready';
      socket.write('all of it');
      socket.on('close', () => {
        if (this.#state === 'ready') this.#state = 'orphaned';
      });
    });
  }

  get machine(): Promise<MachineHandle> {
    return this.#machine.promise;
  }

  readonly info = { cpus: 1, memoryBytes: 0 };

  report(): ReplicationReport {
    const address = this.#server.address();
    const port = typeof address === 'object' ? address?.port : undefined;
    return { role: 'standby', state: this.#state, address: `tls:127.0.0.1:${port}`, epoch: 1, events: [] };
  }

  async promote(given: { readonly lease?: MachineOptions['lease']; readonly files?: readonly unknown[] } = {}) {
    if (this.#state === 'waiting') throw new OperatorError('standby-not-ready', 'no guest has come yet', 'Send one');
    const { lease, files = [] } = given;
    const machine = new FakeGuest({ ...this.#options.machine, ...(lease === undefined ? {} : { lease }) });
    machine.calls.push(`promoted ${JSON.stringify(files)}`);
    this.#state = 'running';
    this.#machine.resolve(machine);
    return { epoch: 1, tookMs: 1 };
  }

  async close(): Promise<void> {
    this.#server.close();
    this.#socket?.destroy();
    this.#machine.reject(new Error('it was ended'));
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
  FakeReceiver.listen,
);
