/**
 * What is taken of each host, and what is kept free on it: guests that run there, standbys, and room for the guests that would come
 * if one other host were lost. As only one is lost at a time, what is kept is the most that any one host would send, not
 * their sum.
 *
 *     memory of a host:  | guests | hot standbys | kept: max over hosts f of what comes from f | free |
 */
import type { Capacity, GuestSpec, Method } from '../model.ts';

/** Of a hot standby's cores, to apply its checkpoints. */
const HOT_CORES = 0.05;

type Amount = { cores: number; memoryBytes: number; diskBytes: number };
const KINDS = ['cores', 'memoryBytes', 'diskBytes'] as const;
const WORDS = { cores: 'cores', memoryBytes: 'memory', diskBytes: 'disk' } as const;

interface Account {
  readonly usable: Amount;
  readonly used: Amount;
  /** Of it, what standbys have. */
  readonly standing: Amount;
  readonly incoming: Map<string, Amount>;
  /** The most of `incoming`, of each kind; undefined: to be found again. */
  most: Amount | undefined;
}

/** What a guest must have to run: all its memory, and the part of its cores that it was promised. */
export function activeNeeds({ cores, memoryBytes, diskBytes, requirements }: GuestSpec): Capacity {
  return { cores: cores * requirements.performanceFloor, memoryBytes, diskBytes };
}

/** What its standby takes while it waits. A warm one is a checkpoint in a file, as large as its memory. */
export function standbyNeeds(spec: GuestSpec, method: Method): Capacity {
  const { cores, memoryBytes, diskBytes } = spec;
  switch (method) {
    case 'cold':
      return { cores: 0, memoryBytes: 0, diskBytes: 0 };
    case 'warm':
      return { cores: 0, memoryBytes: 0, diskBytes: memoryBytes + diskBytes };
    case 'hot':
      return { cores: cores * HOT_CORES, memoryBytes, diskBytes };
    case 'pair':
      return activeNeeds(spec);
  }
}

/** What it takes more, when it takes over. */
export function incomingNeeds(spec: GuestSpec, method: Method): Capacity {
  const [all, has] = [activeNeeds(spec), standbyNeeds(spec, method)];
  const more = (kind: (typeof KINDS)[number]): number => Math.max(0, all[kind] - has[kind]);
  return { cores: more('cores'), memoryBytes: more('memoryBytes'), diskBytes: more('diskBytes') };
}

export class Ledger {
  readonly #accounts = new Map<string, Account>();

  constructor(hosts: Iterable<{ readonly name: string; readonly capacity: Capacity }>, usableShare: number) {
    for (const { name, capacity } of hosts) {
      const { cores, memoryBytes, diskBytes } = capacity;
      const usable = {
        cores: cores * usableShare,
        memoryBytes: memoryBytes * usableShare,
        diskBytes: diskBytes * usableShare,
      };
      this.#accounts.set(name, { usable, used: zero(), standing: zero(), incoming: new Map(), most: zero() });
    }
  }

  has(host: string): boolean {
    return this.#accounts.has(host);
  }

  /** `sign` -1 gives back. */
  take(host: string, needs: Capacity, sign: 1 | -1 = 1): void {
    const account = this.#accounts.get(host);
    if (account !== undefined) add(account.used, needs, sign);
  }

  /** The same for a standby. */
  takeStandby(host: string, needs: Capacity, sign: 1 | -1 = 1): void {
    const account = this.#accounts.get(host);
    if (account !== undefined) add(account.standing, needs, sign);
    this.take(host, needs, sign);
  }

  /** Room for a guest of `source`, should that be lost. */
  keep(host: string, source: string, needs: Capacity, sign: 1 | -1 = 1): void {
    const account = this.#accounts.get(host);
    if (account === undefined) return;
    let incoming = account.incoming.get(source);
    if (incoming === undefined) {
      incoming = zero();
      account.incoming.set(source, incoming);
    }
    add(incoming, needs, sign);
    const { most } = account;
    if (sign < 0) account.most = undefined;
    else if (most !== undefined) for (const kind of KINDS) most[kind] = Math.max(most[kind], incoming[kind]);
  }

  /**
   * What is short on that host for `needs` now, in words; undefined: it fits. Room that is kept counts as taken, is used, or is
   * used with that of standbys, which have to make way then.
   */
  lacks(host: string, needs: Capacity, kept: 'respect' | 'use' | 'evict'): string | undefined {
    const account = this.#accounts.get(host);
    if (account === undefined) return 'not there';
    const most = kept === 'respect' ? mostIncoming(account) : zero();
    for (const kind of KINDS) {
      const used = account.used[kind] - (kept === 'evict' ? account.standing[kind] : 0);
      if (needs[kind] > 0 && used + most[kind] + needs[kind] > account.usable[kind] * (1 + 1e-9)) return WORDS[kind];
    }
    return undefined;
  }

  /** Whether a guest of `source` with these needs could come, should that be lost, beside all others of it. */
  lacksIfLost(host: string, source: string, standby: Capacity, needs: Capacity): string | undefined {
    const account = this.#accounts.get(host);
    if (account === undefined) return 'not there';
    const from = account.incoming.get(source) ?? zero();
    const most = mostIncoming(account);
    for (const kind of KINDS) {
      const kept = Math.max(most[kind], from[kind] + needs[kind]);
      const more = standby[kind] + needs[kind];
      if (more > 0 && account.used[kind] + standby[kind] + kept > account.usable[kind] * (1 + 1e-9)) return WORDS[kind];
    }
    return undefined;
  }

  /** More is on it than it has: standbys have to make way. */
  isOver(host: string): boolean {
    const account = this.#accounts.get(host);
    return account !== undefined && KINDS.some((kind) => account.used[kind] > account.usable[kind] * (1 + 1e-9));
  }

  /** The part of a host's memory and cores that is taken or kept, the larger of both: where it is full. */
  fullness(host: string): number {
    const account = this.#accounts.get(host);
    if (account === undefined) return 1;
    const most = mostIncoming(account);
    return Math.max(
      (account.used.memoryBytes + most.memoryBytes) / account.usable.memoryBytes,
      (account.used.cores + most.cores) / account.usable.cores,
    );
  }

  /** The same without what is kept: where most runs. */
  busyness(host: string): number {
    const account = this.#accounts.get(host);
    if (account === undefined) return 1;
    const { used, usable } = account;
    return Math.max(used.memoryBytes / usable.memoryBytes, used.cores / usable.cores);
  }

  used(host: string): Capacity {
    return this.#accounts.get(host)?.used ?? zero();
  }
}

function mostIncoming(account: Account): Amount {
  if (account.most !== undefined) return account.most;
  const most = zero();
  for (const one of account.incoming.values()) for (const kind of KINDS) most[kind] = Math.max(most[kind], one[kind]);
  account.most = most;
  return most;
}

function add(to: Amount, needs: Capacity, sign: 1 | -1): void {
  for (const kind of KINDS) to[kind] += sign * needs[kind];
}

function zero(): Amount {
  return { cores: 0, memoryBytes: 0, diskBytes: 0 };
}
