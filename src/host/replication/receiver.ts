/**
 * A process that stands by: it listens for a source, makes the machine that the source speaks of, held, and keeps it as the
 * source's is, until it is promoted or the guest is handed over to it. It listens as long as it lives: a source that lost the
 * connection in the middle of a handover asks here what became of its guest.
 */
import type { Duplex } from 'node:stream';
import { OperatorError } from '../../base/errors.ts';
import { jsonOf, type Message, Peer, SILENCE_MS, Target, type TargetMachine } from '../../replication/index.ts';
import type { MachineHandle, RestoreOptions } from '../machine/machine-api.ts';
import { addressText, listenForStreams, parseAddress, type StreamListener } from '../streams/index.ts';
import { checkedValue, helloShape } from './hello.ts';
import type { ReplicationEvent, ReplicationReport } from './machine-replication.ts';
import { nodePorts, streamCodecs } from './node-ports.ts';
import { type PromoteOptions, Replica, type Understudy } from './replica.ts';
import { wireOf } from './wire.ts';

export interface ReceiveOptions {
  /** Where to listen: `unix:PATH`, `tcp:127.0.0.1:PORT`, `tls:HOST:PORT`, `plain:HOST:PORT`. */
  readonly listen: string;
  readonly tls?: string;
  /** The standby's own name, and what else is to be other than at the source. */
  readonly machine: RestoreOptions;
  /** When the source is lost and all of the guest is here: wait for `promote` (default), or go on at once. */
  readonly onLoss?: 'wait' | 'promote';
  readonly silenceMs?: number;
}

/** Makes the machine, held; the handle is good once it stands in. */
export type MakeUnderstudy = (replica: Replica) => Promise<Understudy & MachineHandle>;

const MOST_EVENTS = 100;
const MOST_CONNECTIONS = 8;

export interface Promotion {
  /** The round that it goes on from. */
  readonly epoch: number;
  readonly tookMs: number;
}

interface Standby {
  readonly target: Target;
  readonly guest: string;
  readonly peer: Peer;
  replica?: Replica;
  machine?: Understudy & MachineHandle;
  mode: 'standby' | 'migration';
}

export class Receiver {
  readonly #options: ReceiveOptions;
  readonly #make: MakeUnderstudy;
  readonly #running = Promise.withResolvers<MachineHandle>();
  readonly #events: ReplicationEvent[] = [];
  readonly #connections = new Set<Duplex>();
  #listener: StreamListener | undefined;
  #standby: Standby | undefined;
  #isClosed = false;
  /** Told of what happens, for who watches. */
  onEvent: ((event: ReplicationEvent) => void) | undefined;

  /** Rejects with OperatorError `bad-usage`, `address-in-use`. */
  static async listen(options: ReceiveOptions, make: MakeUnderstudy): Promise<Receiver> {
    const receiver = new Receiver(options, make);
    receiver.#listener = await listenForStreams(parseAddress(options.listen), options.tls, (stream) =>
      receiver.#arrived(stream),
    );
    receiver.#running.promise.catch(() => {}); // who waits for it is told
    return receiver;
  }

  private constructor(options: ReceiveOptions, make: MakeUnderstudy) {
    this.#options = options;
    this.#make = make;
  }

  /** Where it listens, with the port that it was given. */
  get address(): string {
    return this.#listener === undefined ? this.#options.listen : addressText(this.#listener.address);
  }

  /** The machine, when it runs here. Rejects when it is given up before. */
  get machine(): Promise<MachineHandle> {
    return this.#running.promise;
  }

  get isReady(): boolean {
    const state = this.#standby?.target.state;
    return state === 'ready' || state === 'orphaned';
  }

  report(): ReplicationReport {
    const target = this.#standby?.target;
    return {
      role: this.#standby?.mode === 'migration' ? 'target' : 'standby',
      state: target?.state ?? 'waiting',
      address: this.address,
      epoch: target?.epoch ?? 0,
      events: this.#events,
    };
  }

  /** What stands by, for lists of machines. */
  get info(): { readonly cpus: number; readonly memoryBytes: number } {
    const options = this.#standby?.replica?.options;
    return { cpus: options?.cpus ?? 1, memoryBytes: options?.memoryBytes ?? 0 };
  }

  /**
   * The guest runs here from now on, as of the last whole round. Rejects with OperatorError `standby-not-ready`, `bad-usage`,
   * `bad-lease`; and where a disk cannot be had.
   */
  async promote(given: PromoteOptions = {}): Promise<Promotion> {
    const standby = this.#standby;
    if (standby === undefined)
      throw new OperatorError('standby-not-ready', 'no guest has come yet', 'Replicate one to here (kage replicate).');
    standby.replica?.give(given);
    const since = performance.now();
    const { epoch } = standby.target;
    await standby.target.promote();
    return { epoch, tookMs: performance.now() - since };
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    void this.#listener?.close();
    for (const stream of this.#connections) stream.destroy();
    this.#running.reject(new OperatorError('standby-ended', 'the standby was ended', 'Start another.'));
    if (this.#standby?.target.state !== 'running') await this.#standby?.machine?.kill();
  }

  #arrived(stream: Duplex): void {
    if (this.#connections.size >= MOST_CONNECTIONS || this.#isClosed) {
      stream.destroy();
      return;
    }
    this.#connections.add(stream);
    let standby: Standby | undefined;
    const peer = new Peer(
      wireOf(stream),
      streamCodecs,
      nodePorts,
      {
        packs: false,
        silenceMs: this.#options.silenceMs ?? SILENCE_MS,
      },
      {
        message: (message) => {
          if (message.kind === 'outcome') void this.#tellOutcome(peer, message);
          else if (standby !== undefined) standby.target.message(message);
          else standby = this.#begin(peer, message);
        },
        lost: (error) => this.#lost(standby, error),
      },
    );
    stream.on('data', (bytes: Buffer) => peer.push(bytes));
    stream.on('error', (error) => peer.disconnected(error));
    stream.on('close', () => {
      this.#connections.delete(stream);
      peer.disconnected();
    });
  }

  #begin(peer: Peer, message: Message): Standby | undefined {
    const before = this.#standby;
    const hello = message.kind === 'hello' ? checkedValue(jsonOf(message), helloShape) : undefined;
    const state = before?.target.state;
    // Whoever is there stays, unless it is the very guest, which is alive after all.
    const isTaken =
      before !== undefined && state !== 'discarded' && !(state === 'orphaned' && before.guest === hello?.guest);
    if (hello === undefined || isTaken) {
      peer.refuse(new OperatorError('standby-in-use', 'a guest is here already', 'Start another standby.'));
      return undefined;
    }
    void before?.target.outcome();
    const standby: Standby = {
      guest: hello.guest,
      peer,
      mode: hello.mode,
      target: new Target({
        make: async () => await this.#understudy(standby, new Replica(hello, this.#options.machine)),
        changed: (to, why) => this.#changed(standby, to, why),
      }),
    };
    this.#standby = standby;
    standby.target.attach(peer);
    standby.target.message(message);
    return standby;
  }

  async #understudy(standby: Standby, replica: Replica): Promise<TargetMachine> {
    await replica.open();
    const machine = await this.#make(replica).catch(async (error: unknown) => {
      await replica.close();
      throw error;
    });
    try {
      replica.attach(machine);
    } catch (error) {
      await machine.kill();
      throw error;
    }
    standby.replica = replica;
    standby.machine = machine;
    replica.onDiscard = () => void machine.kill();
    replica.onBroken = (error) => standby.target.failed(error);
    return replica;
  }

  #changed(standby: Standby, state: string, why: string): void {
    const event = { atMs: Date.now(), what: state, why };
    this.#events.unshift(event);
    this.#events.length = Math.min(this.#events.length, MOST_EVENTS);
    this.onEvent?.(event);
    if (state === 'running' && standby.machine !== undefined) this.#running.resolve(standby.machine);
    if (state === 'orphaned' && this.#options.onLoss === 'promote') void this.promote().catch(() => {});
  }

  #lost(standby: Standby | undefined, error: Error): void {
    standby?.target.lost(error);
  }

  async #tellOutcome(peer: Peer, message: Message): Promise<void> {
    const standby = this.#standby;
    const isKnown = new TextDecoder().decode(message.data) === JSON.stringify({ guest: standby?.guest });
    const isRunning = isKnown && (await standby?.target.outcome()) === 'running';
    if (isRunning) peer.say('running');
    else
      peer.refuse(
        new OperatorError('never-ran', 'the guest does not run here, and will not', 'It goes on where it was.'),
      );
  }
}
