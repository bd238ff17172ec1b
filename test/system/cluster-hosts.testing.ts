/**
 * A cluster on real hosts, as far as one machine has several: each host is a daemon in namespaces of its own, the store is three
 * members of Debian's etcd, disks are NBD exports behind a gate, guests are on the segment by macvtap devices.
 *
 *     host a .11   host b .12   host c .13         etcd .17 .18 .19     storage .9      client .200
 *       |e0 |web     |e0 |web     |e0 |web               |                 |               |
 *     --+---+--------+---+--------+---+------------------+-----------------+---------------+-- 10.9.0.0/24
 *            (guest web: .101, wherever it runs)
 *
 * It needs to be root. All of it ends with this process, however that ends.
 */
import type { SpawnOptions } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { must } from '../../src/base/assert.ts';
import { HostError } from '../../src/base/errors.ts';
import { decode, HOST, keyOf, type Method, OWNER, type Owner, STATUS } from '../../src/cluster/index.ts';
import { EtcdCluster } from '../etcd.testing.ts';
import { ClientHost } from './cluster-client.testing.ts';
import { ClusterHost, type Told } from './cluster-host.testing.ts';
import { NETWORK, type Seat, Segment } from './cluster-segment.testing.ts';
import { StorageHost } from './cluster-storage.testing.ts';
import { type RecordGuestImage, recordGuestImage } from './record-guest.testing.ts';

export type { Answer } from './cluster-client.testing.ts';
export type { Told } from './cluster-host.testing.ts';
export { type ClientHost, ClusterHost, type StorageHost };

const HOSTS = ['a', 'b', 'c'] as const;
/** Their clocks are apart, as those of hosts are that were booted at other times. */
const AHEAD_S = { a: 1000, b: 50_000, c: 2_000_000 };
const MEMORY = '192M';
/** What each has for guests; together they have more than there is. */
const CAPACITY = ['--cores', '2', '--memory', '4G', '--disk', '10G'];
const REQUIREMENTS = 'recovery-time=30s,data-loss=0,performance-floor=0.4';
/** How often members of the store are asked in turn before they count as silent. */
const STORE_TURNS = 5;

export interface WorldOptions {
  /** Names of guests that there may be. */
  readonly guests: readonly string[];
}

/** A guest that may be: its address and what belongs to it are the same on each host. */
export interface GuestPlace {
  readonly name: string;
  readonly address: string;
  readonly drive: string;
  /** Flags of `kage create` and `kage run`, without the drive. */
  readonly flags: readonly string[];
}

export class ClusterWorld implements AsyncDisposable {
  readonly folder = mkdtempSync(join(tmpdir(), 'kage-hosts-'));
  readonly segment = new Segment();
  readonly hosts: readonly ClusterHost[];
  readonly #stack = new AsyncDisposableStack();
  readonly #guests = new Map<string, GuestPlace>();
  readonly #members: readonly Seat[];
  #parts: { readonly store: EtcdCluster; readonly storage: StorageHost; readonly client: ClientHost } | undefined;

  static async start(options: WorldOptions): Promise<ClusterWorld> {
    const world = new ClusterWorld();
    try {
      await world.#start(options);
      return world;
    } catch (error) {
      await world[Symbol.asyncDispose]();
      throw error;
    }
  }

  private constructor() {
    const { segment } = this;
    this.#stack.defer(() => rmSync(this.folder, { recursive: true, force: true }));
    this.#stack.use(segment);
    try {
      this.#members = [17, 18, 19].map((number, i) => segment.seat(`m${i}`, number));
      this.hosts = HOSTS.map((name, i) => {
        const seat = segment.seat(name, 11 + i, { host: { aheadS: AHEAD_S[name] } });
        return this.#stack.use(new ClusterHost(seat, this.folder));
      });
    } catch (error) {
      segment[Symbol.dispose]();
      rmSync(this.folder, { recursive: true, force: true });
      throw error;
    }
  }

  async #start({ guests }: WorldOptions): Promise<void> {
    const { segment } = this;
    const client = this.#stack.use(await ClientHost.start(segment.seat('client', 200), this.folder));
    const places = this.#members.map(({ address, namespace }) => ({
      address,
      // They are hosts of their own: what guests take is not theirs.
      spawn: (program: string, args: readonly string[], options: SpawnOptions) =>
        namespace.spawn('nice', ['-n', '-10', program, ...args], options),
    }));
    const [store, storage, image] = await Promise.all([
      EtcdCluster.startAt({ places, ask: (url, body) => client.http(url, body) }),
      StorageHost.start(segment.seat('disks', 9), this.folder),
      recordGuestImage(this.folder),
    ]);
    this.#stack.use(store);
    this.#stack.use(storage);
    this.#parts = { store, storage, client };
    for (const [i, name] of guests.entries()) this.#guests.set(name, this.#place(name, i + 1, image));
  }

  get store(): EtcdCluster {
    return must(this.#parts).store;
  }

  get storage(): StorageHost {
    return must(this.#parts).storage;
  }

  get client(): ClientHost {
    return must(this.#parts).client;
  }

  /** The daemons serve, are a cluster, and the gate hears them. */
  async form(): Promise<void> {
    await Promise.all(this.hosts.map((host) => host.startDaemon()));
    const [first, ...others] = this.hosts;
    const self = ({ name, seat }: ClusterHost): string[] => ['--name', name, '--address', seat.address, ...CAPACITY];
    const token = await must(first).kage('cluster', 'init', ...self(must(first)), '--store', this.storeAddress);
    const tls = join(this.folder, 'gate-tls');
    await Promise.all([
      ...others.map((host) => host.kage('cluster', 'join', token, ...self(host))),
      must(first)
        .kage('cluster', 'credentials', tls, '--for', this.storage.seat.address)
        .then(() => this.storage.serve(tls)),
    ]);
  }

  /** A guest of the cluster is declared and started, from any host. */
  async create(name: string, method: Method, requirements = REQUIREMENTS): Promise<void> {
    const { flags, drive } = this.guest(name);
    // A checkpoint is of a guest without a disk that would go on without it.
    const disk = method === 'warm' ? [] : ['--drive', `file=${drive}`];
    const failover = ['--failover', requirements, '--method', `fixed:${method}`];
    const host = must(this.hosts.find(({ isServing }) => isServing));
    await host.kage('create', '--name', name, ...flags, ...disk, ...failover);
    await host.client.startPartition(name);
  }

  /** Who has the guest, as the store says by a read of now; it has to answer. */
  async owner(name: string): Promise<Owner | undefined> {
    return decode(OWNER, await this.#stored(keyOf(OWNER, name)));
  }

  /** The host that has the guest. */
  async hostOf(name: string): Promise<ClusterHost> {
    return this.host(must(await this.owner(name)).host);
  }

  /** Of all guests that have one. */
  async owners(): Promise<Map<string, Owner>> {
    const all = await Promise.all(
      [...this.#guests.keys()].map(async (name) => [name, await this.owner(name)] as const),
    );
    return new Map(all.flatMap(([name, owner]) => (owner === undefined ? [] : [[name, owner] as const])));
  }

  /** Whether the host has a lease, as it knows. */
  async isIn(host: ClusterHost): Promise<boolean> {
    return (await host.client.getCluster().catch(() => undefined))?.self.state === 'in';
  }

  async until(condition: () => boolean | Promise<boolean>, what: string, withinMs = 30_000): Promise<void> {
    const untilMs = performance.now() + withinMs;
    while (!(await condition())) {
      if (performance.now() > untilMs) throw new HostError('not-so', `within ${withinMs} ms: ${what}\n${this.story()}`);
      await sleep(50);
    }
  }

  /** Until `end`, which tells when the last frame came from the guest's device on that host (Date.now()), within 50 ms or so. */
  watchFrames(host: string, guest: string): { end(): number } {
    let frames = this.segment.framesFrom(host, guest);
    let lastMs = 0;
    const look = (): void => {
      const now = this.segment.framesFrom(host, guest);
      if (now > frames) lastMs = Date.now();
      frames = now;
    };
    const timer = setInterval(look, 50);
    return {
      end: () => {
        clearInterval(timer);
        return lastMs;
      },
    };
  }

  /** What a host failed before counts no more: another failure puts it not in quarantine. */
  async forgive({ name }: ClusterHost): Promise<void> {
    const key = keyOf(HOST, name);
    const record = decode(HOST, await this.#stored(key));
    await this.#ask('put', { key, value: JSON.stringify({ ...must(record), fences: 0 }) });
  }

  /** Resolves with the guest's owner when that is as it should be. */
  async ownedAs(name: string, isSo: (owner: Owner) => boolean, withinMs = 30_000): Promise<Owner> {
    const untilMs = performance.now() + withinMs;
    for (;;) {
      const owner = await this.owner(name);
      if (owner !== undefined && isSo(owner)) return owner;
      if (performance.now() > untilMs)
        throw new HostError(
          'not-so',
          `${name} has ${JSON.stringify(owner)} after ${withinMs} ms, not ${isSo}\n${this.story()}`,
        );
      await sleep(50);
    }
  }

  /** Its hot standby has all of it, and is on record. */
  async synced(name: string): Promise<Owner> {
    return await this.ownedAs(name, ({ sync, phase }) => sync !== undefined && phase === 'held', 60_000);
  }

  /** When daemons first told that of a guest, or of a host, since a moment (Date.now()). */
  toldAt(event: string, of: string, sinceMs: number): number | undefined {
    const found = this.toldOf(event, sinceMs).find(
      ({ partition, detail }) => partition === of || detail?.['host'] === of,
    );
    return found === undefined ? undefined : Date.parse(found.at);
  }

  toldOf(event: string, sinceMs: number): Told[] {
    return this.told.filter(({ at, detail }) => Date.parse(at) >= sinceMs && detail?.['event'] === event);
  }

  /** A standby could take it over, as its host has written down for all. */
  async standsReady(name: string): Promise<void> {
    const isReady = async (): Promise<boolean> => {
      const owner = await this.owner(name);
      const others = this.hosts.filter((host) => host.name !== owner?.host);
      const all = await Promise.all(others.map((host) => this.#stored(keyOf(STATUS, host.name))));
      return all.some((text) => decode(STATUS, text)?.ready.includes(name) === true);
    };
    await this.until(isReady, `a standby of ${name} is ready`, 60_000);
  }

  /** What the daemons told since a moment, a line each. */
  story(sinceMs = 0): string {
    const lines = this.told.filter(({ at }) => Date.parse(at) >= sinceMs);
    const line = ({ at, host, kind, partition = '', detail }: Told): string =>
      `${at.slice(11, 23)} ${host} ${kind} ${partition} ${JSON.stringify(detail)}`;
    return lines.map(line).join('\n');
  }

  host(name: string): ClusterHost {
    return must(this.hosts.find((one) => one.name === name));
  }

  guest(name: string): GuestPlace {
    return must(this.#guests.get(name));
  }

  /** How the store is named. */
  get storeAddress(): string {
    return `etcd:${this.store.urls.join(',')}`;
  }

  /** Heard by neither, and nobody is told. */
  cut(host: ClusterHost, from: 'store' | readonly ClusterHost[]): void {
    this.segment.cut(host.seat, this.#seats(from));
  }

  heal(host: ClusterHost, from: 'store' | readonly ClusterHost[]): void {
    this.segment.heal(host.seat, this.#seats(from));
  }

  /** What all daemons told, by time. */
  get told(): Told[] {
    return this.hosts.flatMap(({ told }) => told).sort((one, two) => Date.parse(one.at) - Date.parse(two.at));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }

  async #stored(key: string): Promise<string | undefined> {
    const { kvs = [] } = (await this.#ask('range', { key })) as { kvs?: { value: string }[] };
    return kvs[0] === undefined ? undefined : Buffer.from(kvs[0].value, 'base64').toString();
  }

  /** Of one member after the other. */
  async #ask(what: 'range' | 'put', words: Readonly<Record<string, string>>): Promise<unknown> {
    const coded = Object.entries(words).map(([name, text]) => [name, Buffer.from(text).toString('base64')]);
    const body = JSON.stringify(Object.fromEntries(coded));
    for (let turn = 0; turn < STORE_TURNS; turn += 1)
      for (const url of this.store.urls) {
        const answer = await this.client.http(`${url}/v3/kv/${what}`, body);
        if (answer !== undefined) return JSON.parse(answer);
      }
    throw new HostError('store-silent', 'no member of the store answers');
  }

  #seats(of: 'store' | readonly ClusterHost[]): readonly Seat[] {
    return of === 'store' ? this.#members : of.map(({ seat }) => seat);
  }

  #place(name: string, number: number, image: RecordGuestImage): GuestPlace {
    const address = `${NETWORK}.${100 + number}`;
    const tap = this.hosts.map(({ seat }) => this.segment.tap(seat, name))[0];
    const flags = [
      ...['-m', MEMORY, '--kernel', image.kernel, '--initrd', image.initrd],
      ...['--append', image.commandLine(`${address}/24`)],
      ...['--mac', `52:54:00:99:00:${number.toString(16).padStart(2, '0')}`],
      // The machine itself says nothing on the wire: what is seen there is the guest's.
      ...['--netdev', `macvtap,ifname=${tap},probe=none`],
    ];
    return { name, address, drive: this.storage.disk(name), flags };
  }
}
