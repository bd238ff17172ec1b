/**
 * The nouns of a cluster: hosts, guests, what guests need, and who may run which. All of it is plain data, kept in the
 * store as JSON (store/records.ts).
 */
/**
 * cold: boots from the shared disk. warm: goes on from the last checkpoint. hot: a standby holds every checkpoint
 * whose output left. pair: a second guest runs, and its application takes over.
 */
export type Method = 'cold' | 'warm' | 'hot' | 'pair';
export const METHODS: readonly Method[] = ['cold', 'warm', 'hot', 'pair'];

/** What a master tells a slave; nothing else is ever sent to one. */
export type Order = 'restart-application' | 'take-over';

export interface Capacity {
  readonly cores: number;
  readonly memoryBytes: number;
  readonly diskBytes: number;
}

export interface Requirements {
  /** From a host's death to the guest's answer. */
  readonly recoveryTimeMs: number;
  /** How much of its work may be lost; 0: nothing that anybody was told; undefined: its memory, but not its disk. */
  readonly dataLossMs?: number;
  /** 0 to 1: the share of its cores that it must have on the target, during takeover and after. */
  readonly performanceFloor: number;
  /** Higher first. */
  readonly priority: number;
}

export interface GuestSpec extends Capacity {
  readonly name: string;
  readonly requirements: Requirements;
  /** Guests of one group are kept on different hosts. */
  readonly group?: string;
  /** Methods that it can be used with; a pair wants an application made for it. */
  readonly methods: readonly Method[];
  /** `--method fixed:NAME`: the planner's choice is not asked. */
  readonly fixed?: Method;
  readonly wanted: 'running' | 'stopped';
}

/** Who may run a guest. The generation rises each time that this changes, and is what its storage asks for. */
export interface Owner {
  readonly host: string;
  readonly incarnation: number;
  readonly generation: number;
  /** released: its host gave it up (its machine failed, it drains), and has ended its machine before. */
  readonly phase: 'held' | 'released';
  /** The host whose hot standby has all of what left; only that one may be promoted. */
  readonly sync?: string;
  /** How it is to start here, if its host has not started it yet: a standby waits for that. Without: it boots. */
  readonly by?: Method;
}

export type HostState = 'active' | 'draining' | 'quarantined' | 'fenced' | 'left';

export interface HostRecord {
  readonly name: string;
  /** Rises with each join; what an earlier one owned, this one does not. */
  readonly incarnation: number;
  readonly state: HostState;
  readonly address: string;
  readonly capacity: Capacity;
  readonly labels: Readonly<Record<string, string>>;
  /** How often it was fenced lately. */
  readonly fences: number;
}

export interface LeaseRecord {
  readonly incarnation: number;
  readonly state: 'held' | 'fenced' | 'left';
  /** Of the boot of the host: another one means that nothing of before still runs. */
  readonly boot: string;
  /** Rises with each renewal of this incarnation, by the time of its host: no two that were sent have the same. */
  readonly renewal: number;
  readonly durationMs: number;
}

export interface LeaderRecord {
  readonly host: string;
  readonly incarnation: number;
  readonly term: number;
}

/** One way to get a guest back. */
export interface Association {
  readonly host: string;
  readonly method: Method;
}

export interface Placement {
  /** The first is in force, the others are there for when it is not. */
  readonly associations: readonly Association[];
  /** One that shall be in force once it is ready: made before the other is broken. */
  readonly next?: Association;
  readonly reason: string;
  /** Requirements that nothing meets, in words; empty when all are met. */
  readonly missed: readonly string[];
  /** Between checkpoints of a warm standby. */
  readonly everyMs: number;
}

/** What a host has to do for a guest. */
export interface Duty {
  readonly guest: string;
  readonly role: 'active' | 'standby';
  readonly method: Method;
  /** The host on the other end. */
  readonly peer: string;
  readonly everyMs: number;
}

/**
 * One guest of a plan: `generation` is that of the owner that it is taken from (0: it never had one). It is meant for one
 * incarnation of the target: one that failed and came back does not claim it.
 */
export interface Assignment {
  readonly guest: string;
  readonly generation: number;
  readonly target: string;
  readonly incarnation: number;
  readonly method: Method;
  /** Whoever has more comes first on its target, whichever plan it is of. */
  readonly priority: number;
}

/** Who gets the guests of a host that failed, or gave them up; in the order in which they start. */
export interface TakeoverPlan {
  readonly source: string;
  readonly term: number;
  readonly assignments: readonly Assignment[];
  /** Guests for which there is no room, and why. */
  readonly unplaced: Readonly<Record<string, string>>;
}
