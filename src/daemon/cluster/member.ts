/**
 * This host's part of the cluster, joined: store, heartbeats, peers, machines, and the director over them. It is there as long as the
 * daemon runs and the host is in the cluster, whatever the store does meanwhile.
 */
import { readFileSync } from 'node:fs';
import { HostError, OperatorError } from '../../base/errors.ts';
import {
  type ClusterEvent,
  DEFAULT_SETTINGS,
  decode,
  find,
  HOST,
  HostDirector,
  type HostIdentity,
  keyOf,
  type Load,
  type Machines,
  nameIn,
  OWNER,
  type Owner,
  type Settings,
} from '../../cluster/index.ts';
import { BootClock, type UdpCounters, UdpDatagrams } from '../../host/cluster/index.ts';
import type { Partitions } from '../partitions/index.ts';
import { CertificateRenewal } from './certificate-renewal.ts';
import { keyFor, readCertificates } from './certificates.ts';
import { type ClusterConfig, capacityOf, clusterFolder, parseHostAddress } from './cluster-config.ts';
import { serveHistory } from './cluster-history.ts';
import { ClusterMachines, type ClusterMachinesParts } from './cluster-machines.ts';
import { ClusterView } from './cluster-view.ts';
import { serveDrills } from './drill.ts';
import type { DrillDoubles } from './drill-double.ts';
import { PARTITION } from './guest-record.ts';
import { HostLoad } from './host-load.ts';
import { MEMBER } from './member-record.ts';
import { HttpsPeerChannel } from './peer-channel.ts';
import { type OpenStore, openStore, readStore } from './store-access.ts';
import type { Changed } from './store-mirror.ts';

/** What acts on this host for the director; tests have their own. */
export interface Hands extends AsyncDisposable {
  readonly machines: Machines;
  readonly load: Load;
}
export type OpenHands = (parts: ClusterMachinesParts) => Promise<Hands>;

export interface MemberOptions {
  readonly config: ClusterConfig;
  readonly stateFolder: string;
  readonly partitions: Partitions;
  readonly settings?: Settings;
  readonly openHands?: OpenHands;
  /** A bug of ours, or something that an operator has to know. */
  failed(error: unknown): void;
}

/** joining: its lease is not held yet, or not any more. replaced: another host has the name now. */
export type MemberState = 'joining' | 'in' | 'leaving' | 'left' | 'replaced';

const AGAIN_MS = 1000;

async function openHands(parts: ClusterMachinesParts): Promise<Hands> {
  const machines = await ClusterMachines.open(parts);
  return { machines, load: new HostLoad(machines), [Symbol.asyncDispose]: () => machines[Symbol.asyncDispose]() };
}

export class ClusterMember implements AsyncDisposable {
  readonly config: ClusterConfig;
  readonly store: OpenStore;
  readonly view: ClusterView;
  readonly clock = new BootClock();
  readonly #options: MemberOptions;
  readonly #opened: (() => PromiseLike<void> | undefined)[] = [];
  readonly #timers = new Set<NodeJS.Timeout>();
  #channel: HttpsPeerChannel | undefined;
  #datagrams: UdpDatagrams | undefined;
  #director: HostDirector | undefined;
  #doubles: DrillDoubles | undefined;
  #state: MemberState = 'joining';
  #problem: string | undefined;
  readonly #left = Promise.withResolvers<void>();
  /** Guests that came here from another host, by the method. */
  readonly takeovers = new Map<string, number>();
  #isClosed = false;

  /** Resolves when it hears its peers and tries to join. Errors: `bad-store`, HostError `cannot-listen`. */
  static async open(options: MemberOptions): Promise<ClusterMember> {
    const member = new ClusterMember(options);
    try {
      await member.#open();
      return member;
    } catch (error) {
      await member[Symbol.asyncDispose]();
      throw error;
    }
  }

  private constructor(options: MemberOptions) {
    this.#options = options;
    this.config = options.config;
    this.#left.promise.catch(() => {}); // who leaves is told
    this.store = openStore(options.config.store, options.config.storeTls);
    this.view = new ClusterView(this.store, (...change) => this.#changed(...change));
  }

  get name(): string {
    return this.config.name;
  }

  get state(): MemberState {
    if (this.#state === 'joining' && this.#director?.isIn === true) return 'in';
    return this.#state;
  }

  /** Why it is not in, where that is known. */
  get problem(): string | undefined {
    if (this.#state === 'replaced') return replaced(this.name).message;
    return this.#problem;
  }

  get director(): HostDirector | undefined {
    return this.#director;
  }

  get channel(): HttpsPeerChannel {
    return must(this.#channel);
  }

  get doubles(): DrillDoubles {
    return must(this.#doubles);
  }

  get datagramCounters(): UdpCounters | undefined {
    return this.#datagrams?.counters;
  }

  get leaseLeftMs(): number {
    return this.#director?.leaseLeftMs ?? 0;
  }

  /** Where machines of this host are, and what they show to others. */
  get place() {
    const { partitions, stateFolder } = this.#options;
    const { host: listenHost } = parseHostAddress(this.config.address);
    return { partitions, stateFolder, listenHost, tlsFolder: clusterFolder(stateFolder) };
  }

  /** Gives up all guests, then the lease. Resolves when the store says so. */
  async leave(): Promise<void> {
    if (this.#director === undefined) throw notIn(this);
    this.#state = 'leaving';
    this.#director.leave();
    await this.#left.promise;
  }

  /** The daemon ends. Machines go on until their deadlines; nothing is told. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#left.reject(new HostError('cluster-closed', 'this host stopped to take part in the cluster'));
    for (const timer of this.#timers) clearTimeout(timer);
    this.#director?.halt();
    this.view[Symbol.dispose]();
    for (const close of this.#opened.reverse()) await close();
    this.store.close();
  }

  async #open(): Promise<void> {
    const { config, stateFolder, partitions } = this.#options;
    const address = parseHostAddress(config.address);
    const certificates = readCertificates(stateFolder);
    if (certificates === undefined) throw lost(stateFolder);
    const channel = await HttpsPeerChannel.open({
      ...{ listen: address, certificates, addressOf: (host) => this.view.addressOf(host) },
      failed: (error) => this.#options.failed(error),
    });
    this.#channel = channel;
    this.#opened.push(() => channel[Symbol.asyncDispose]());
    serveHistory(channel, partitions.store);
    const datagrams = await UdpDatagrams.open({
      ...{ self: config.name, secret: keyFor('datagrams', config.secret), listen: address },
      received: (from, bytes) => this.#director?.receive(from, bytes),
    });
    this.#datagrams = datagrams;
    this.#opened.push(() => {
      datagrams.close();
      return undefined;
    });
    const hands = await (this.#options.openHands ?? openHands)({
      ...{ host: config.name, listenHost: address.host, tlsFolder: clusterFolder(stateFolder), clock: this.clock },
      ...{ partitions, stateFolder, channel },
      guest: async (name) => (await this.view.record(name))?.spec,
      wanted: (name) => this.view.spec(name)?.wanted,
      events: {
        ended: (guest, generation) => this.#director?.machineEnded(guest, generation),
        beat: (beat) => this.#director?.slaveBeat(beat),
        synced: (guest, generation, host, isSynced) => this.#director?.synced(guest, generation, host, isSynced),
        note: (kind, guest, detail) => this.#note(guest, { event: kind, detail }),
      },
    });
    this.#opened.push(() => hands[Symbol.asyncDispose]());
    const doubles = serveDrills(this);
    this.#doubles = doubles;
    this.#opened.push(() => doubles[Symbol.asyncDispose]());
    await doubles.clear();
    this.#meet();
    const renewal = await CertificateRenewal.begin(certificates, {
      ...{ config, stateFolder, store: this.store },
      renewed: (made) => channel.renew(made),
      failed: (error) => this.#options.failed(error),
    });
    this.#opened.push(() => {
      renewal[Symbol.dispose]();
      return undefined;
    });
    void this.#enter(hands);
  }

  /** The name must be this host's still; and then the director does the rest. */
  async #enter(hands: Hands): Promise<void> {
    const { config, settings = DEFAULT_SETTINGS, stateFolder, failed } = this.#options;
    try {
      const entries = await readStore(this.store, { keys: [keyOf(MEMBER, config.name)] });
      if (this.#isClosed) return;
      if (find(entries, MEMBER, config.name).value?.id !== config.id) {
        this.#state = 'replaced';
        failed(replaced(config.name));
        return;
      }
    } catch (error) {
      if (this.#isClosed) return;
      this.#problem = error instanceof Error ? error.message : String(error);
      this.#after(AGAIN_MS, () => void this.#enter(hands));
      return;
    }
    this.#problem = undefined;
    const self: HostIdentity = {
      ...{ name: config.name, boot: bootId(), address: config.address, labels: config.labels },
      capacity: capacityOf(config.capacity, stateFolder),
    };
    const director = new HostDirector(
      self,
      settings,
      {
        ...{ clock: this.clock, chance: Math.random, store: this.store, datagrams: must(this.#datagrams) },
        ...{ machines: hands.machines, load: hands.load },
        timers: {
          after: (delayMs, run) => {
            const timer = this.#after(delayMs, run);
            return { cancel: () => this.#cancel(timer) };
          },
        },
      },
      (event) => this.#told(event),
    );
    this.#director = director;
    director.start();
  }

  #after(delayMs: number, run: () => void): NodeJS.Timeout {
    const timer = setTimeout(
      () => {
        this.#timers.delete(timer);
        run();
      },
      Math.max(0, delayMs),
    );
    this.#timers.add(timer);
    return timer;
  }

  #cancel(timer: NodeJS.Timeout): void {
    clearTimeout(timer);
    this.#timers.delete(timer);
  }

  #changed(...[key, value, before]: Parameters<Changed>): void {
    if (nameIn(HOST, key) !== undefined) this.#meet();
    if (nameIn(OWNER, key) !== undefined) this.#count(decode(OWNER, value), decode(OWNER, before));
    const guest = nameIn(PARTITION, key);
    if (guest !== undefined && value === undefined) this.#forget(guest);
  }

  #count(owner: Owner | undefined, before: Owner | undefined): void {
    if (owner?.host !== this.name || before === undefined || before.host === this.name) return;
    const method = owner.by ?? 'cold';
    this.takeovers.set(method, (this.takeovers.get(method) ?? 0) + 1);
  }

  /** It was removed; wherever it ran, its logs go with it. */
  #forget(guest: string): void {
    const { partitions, failed } = this.#options;
    const own = partitions.store.get(guest);
    if (own !== undefined && own.spec.failover === undefined) return;
    void partitions.vacate(guest, { withLogs: true }).catch(failed);
  }

  #meet(): void {
    const addresses = this.view.addresses();
    addresses.delete(this.name);
    this.#datagrams?.setPeers(addresses);
  }

  #told(event: ClusterEvent): void {
    const { kind, guest, ...detail } = { guest: undefined, ...event };
    this.#note(guest, { event: kind, ...detail });
    // What had to be given up is: somebody took the lease away meanwhile.
    const isOver = kind === 'left' || (kind === 'fenced-self' && this.#state === 'leaving');
    if (!isOver) return;
    this.#state = 'left';
    this.#left.resolve();
  }

  #note(guest: string | undefined, detail: Readonly<Record<string, unknown>>): void {
    if (!this.#isClosed) this.#options.partitions.store.add('cluster', guest, { host: this.name, ...detail });
  }
}

/** Of what is there from the moment that it is open. */
function must<T>(part: T | undefined): T {
  if (part === undefined) throw new HostError('not-open', 'the host does not hear its peers yet');
  return part;
}

/** Of this boot of the host; the same for all its processes. */
function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
}

function notIn({ state }: ClusterMember): OperatorError {
  if (state === 'replaced') throw new OperatorError('replaced', 'another host has this name now', 'Leave with --force');
  return new OperatorError('not-joined', 'this host has not joined yet: the store does not answer', 'Try again');
}

function replaced(name: string): OperatorError {
  return new OperatorError(
    'replaced',
    `another host is ${name} in the cluster now`,
    'Have this one forget it with "kage cluster leave --force", and join it under another name',
  );
}

function lost(stateFolder: string): OperatorError {
  return new OperatorError(
    'bad-cluster-config',
    `certificates are missing in ${clusterFolder(stateFolder)}`,
    'Restore them from a copy, or forget the cluster with "kage cluster leave --force", and join again',
  );
}
