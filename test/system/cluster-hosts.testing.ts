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
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { must } from '../../src/base/assert.ts';
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
      spawn: namespace.spawn.bind(namespace),
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
