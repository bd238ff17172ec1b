/** What `GET /v1/cluster` answers, as far as pages show it. */
export type Method = 'cold' | 'warm' | 'hot' | 'pair';

export interface Association {
  readonly host: string;
  readonly method: Method;
}

export interface HostLine {
  readonly name: string;
  readonly incarnation: number;
  readonly state: 'active' | 'draining' | 'quarantined' | 'fenced' | 'left';
  readonly address: string;
  readonly capacity: { readonly cores: number; readonly memoryBytes: number; readonly diskBytes: number };
  readonly labels: Readonly<Record<string, string>>;
  readonly fences: number;
  readonly isLeader: boolean;
  readonly usedCores?: number;
  readonly guests: number;
  readonly memoryBytes: number;
  readonly peers: readonly string[];
}

export interface MethodLine {
  readonly method: Method;
  readonly recoveryMs: number;
  readonly lossMs?: number;
  readonly speed: number;
  readonly everyMs: number;
  readonly memoryBytes: number;
  readonly diskBytes: number;
  readonly cores: number;
  readonly bytesPerS: number;
  readonly price: number;
  readonly missed: readonly string[];
  readonly isAllowed: boolean;
}

export interface GuestLine {
  readonly name: string;
  readonly wanted: 'running' | 'stopped';
  readonly priority: number;
  readonly state: 'running' | 'moving' | 'waiting' | 'stopped';
  readonly host?: string;
  readonly generation: number;
  readonly associations: readonly Association[];
  readonly why: string;
  readonly missed: readonly string[];
  readonly next?: Association;
  readonly requirements: {
    readonly recoveryTimeMs: number;
    readonly dataLossMs?: number;
    readonly performanceFloor: number;
    readonly priority: number;
  };
  readonly group?: string;
  readonly fixed?: Method;
  readonly methods: readonly MethodLine[];
  readonly isMeasured: boolean;
}

export interface Traffic {
  readonly packets: number;
  readonly bytes: number;
}
type ByKind = Readonly<Record<'beat' | 'pull' | 'details' | 'direct', Traffic>>;

export interface HeartbeatReport {
  readonly mode: 'constant' | 'direct';
  readonly beatMs: number;
  readonly slaves: number;
  readonly counters: {
    readonly sent: ByKind;
    readonly received: ByKind;
    readonly intervals: number;
    readonly localBeats: number;
    readonly ordersToActive: number;
    readonly ordersToStandby: number;
    readonly beatsToStandby: number;
    readonly suspicions: number;
  };
  readonly peers: readonly PeerLine[];
}

export interface PeerLine {
  readonly host: string;
  readonly silentMs: number;
  readonly isSuspected: boolean;
  readonly last?: { readonly guests: number; readonly notWell: number; readonly leaseLeftMs: number };
}

export interface ClusterReport {
  /** The host whose daemon answers. */
  readonly self: {
    readonly name: string;
    readonly address: string;
    readonly store: string;
    readonly state: 'opening' | 'joining' | 'in' | 'leaving' | 'left' | 'replaced';
    readonly incarnation: number;
    readonly leaseLeftMs: number;
    /** Why it is not in, or why what is told may be old. */
    readonly problem?: string;
  };
  readonly leader?: string;
  readonly hosts: readonly HostLine[];
  readonly guests: readonly GuestLine[];
  /** Not while it is opened. */
  readonly heartbeats?: HeartbeatReport;
}
