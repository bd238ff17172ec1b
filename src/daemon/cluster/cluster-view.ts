/** What this host knows of the cluster: hosts, guests and their declarations, as of the last that was heard of the store. */
import {
  type ClusterStatus,
  type ClusterStore,
  clusterStatus,
  decode,
  type GuestLine,
  type GuestSpec,
  HOST,
  isIn,
  keyOf,
  nameIn,
  type RecordKind,
  SPEC,
  STATUS_QUERY,
} from '../../cluster/index.ts';
import { type HostAddress, parseHostAddress } from './cluster-config.ts';
import { PARTITION, type PartitionRecord } from './guest-record.ts';
import { readStore } from './store-access.ts';
import { type Changed, StoreMirror } from './store-mirror.ts';

export interface ClusterGuest {
  readonly name: string;
  readonly record: PartitionRecord;
  readonly line: GuestLine;
}

const PREFIXES = [...(STATUS_QUERY.prefixes ?? []), ...(STATUS_QUERY.keys ?? []), PARTITION.prefix];

export class ClusterView implements Disposable {
  readonly mirror: StoreMirror;
  readonly #store: ClusterStore;

  constructor(store: ClusterStore, changed: Changed) {
    this.#store = store;
    this.mirror = new StoreMirror(store, PREFIXES, changed);
  }

  [Symbol.dispose](): void {
    this.mirror[Symbol.dispose]();
  }

  /** Errors: `store-unreachable` where nothing was ever heard of the store. */
  async status(): Promise<ClusterStatus> {
    if (this.mirror.isComplete) return clusterStatus(this.mirror.entries);
    return clusterStatus(await readStore(this.#store, STATUS_QUERY));
  }

  lines(): readonly GuestLine[] {
    return clusterStatus(this.mirror.entries).guests;
  }

  guests(): ClusterGuest[] {
    return this.lines().flatMap((line) => {
      const record = this.#of(PARTITION, line.name);
      return record === undefined ? [] : [{ name: line.name, record, line }];
    });
  }

  guest(name: string): ClusterGuest | undefined {
    return this.guests().find((one) => one.name === name);
  }

  spec(guest: string): GuestSpec | undefined {
    return this.#of(SPEC, guest);
  }

  /** Those that are in. */
  hosts(): readonly string[] {
    return clusterStatus(this.mirror.entries)
      .hosts.filter((host) => isIn(host, host.incarnation))
      .map(({ name }) => name);
  }

  /** As it stands in the store now: what is started must not be an older declaration. Where that does not answer, as was heard. */
  async record(guest: string): Promise<PartitionRecord | undefined> {
    try {
      const [entry] = await readStore(this.#store, { keys: [keyOf(PARTITION, guest)] });
      return decode(PARTITION, entry?.value);
    } catch (error) {
      if (!this.mirror.isComplete) throw error;
      return this.#of(PARTITION, guest);
    }
  }

  /** Where peers are that did not leave. */
  addresses(): Map<string, HostAddress> {
    const addresses = new Map<string, HostAddress>();
    for (const { key, value } of this.mirror.entries) {
      const host = nameIn(HOST, key);
      const address = host === undefined ? undefined : addressIn(value);
      if (host !== undefined && address !== undefined) addresses.set(host, address);
    }
    return addresses;
  }

  /** One that has just joined was not heard of yet: the store is asked. Undefined: it is no host of the cluster. */
  async addressOf(host: string): Promise<HostAddress | undefined> {
    const heard = this.mirror.get(keyOf(HOST, host));
    if (heard !== undefined && this.mirror.problem === undefined) return addressIn(heard.value);
    const found = await readStore(this.#store, { keys: [keyOf(HOST, host)] }).catch(() => [heard]);
    return addressIn(found[0]?.value);
  }

  #of<T>(kind: RecordKind<T>, name: string): T | undefined {
    return decode(kind, this.mirror.get(keyOf(kind, name))?.value);
  }
}

function addressIn(value: string | undefined): HostAddress | undefined {
  const host = decode(HOST, value);
  if (host === undefined || host.state === 'left') return undefined;
  try {
    return parseHostAddress(host.address);
  } catch {
    return undefined; // another version wrote it
  }
}
