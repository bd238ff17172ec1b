/**
 * The types and calls of the daemon's API, made of its OpenAPI document by tools/api-client.ts: not to be edited.
 * `npm test -- test/api-client.test.ts --accept` writes it.
 *
 * Long: one document, one file.
 */
import type { Caller, CallOptions, Socket } from './caller.ts';

/** An address: `0x80200000`. */
export type Address = string;

/** The guest's agent, and its heart. */
export interface Agent {
  readonly kind?: 'kagemusha' | 'qemu';
  readonly version?: string;
  readonly heartbeat: {
    readonly state: 'off' | 'never-seen' | 'alive' | 'late' | 'silent';
    readonly intervalMs: number;
    readonly sequence?: number;
    readonly uptimeSeconds?: number;
    readonly load?: number;
    readonly agoMs?: number;
    readonly heard: number;
    readonly missed: number;
  };
}

export interface BalloonChange {
  readonly memoryBytes: number;
}

/** Memory that the guest gave back. */
export interface BalloonReport {
  readonly memoryBytes: number;
  readonly targetBytes: number;
  readonly balloonBytes: number;
  readonly touchedBytes: number;
  readonly inflatedBytes: number;
  readonly reportedBytes: number;
  readonly hasDriver: boolean;
  readonly guest: { readonly [name: string]: number };
}

/** Bytes in base64; at most 1 MiB of characters. */
export type Bytes = string;

/** The cluster, as this host knows it. */
export interface Cluster {
  readonly self: {
    readonly name: Name;
    readonly address: string;
    readonly store: string;
    /**
     * `opening`: it does not hear its peers yet. `joining`: its lease is not held. `replaced`: another host has the
     * name.
     */
    readonly state: 'opening' | 'joining' | 'in' | 'leaving' | 'left' | 'replaced';
    readonly incarnation: number;
    readonly leaseLeftMs: number;
    /** Why it is not in, or why what is told may be old. */
    readonly problem?: string;
  };
  readonly leader?: string;
  readonly hosts: readonly ClusterHost[];
  readonly guests: readonly ClusterGuest[];
  /** While this host takes part. */
  readonly heartbeats?: ClusterHeartbeats;
}

/** What guests may have of a host. */
export interface ClusterCapacity {
  /** All by default. */
  readonly cores?: number;
  /** By default its memory less a fifth. */
  readonly memoryBytes?: number;
  /** By default what is free where the daemon's state is. */
  readonly diskBytes?: number;
}

/** PEM, for what speaks TLS with hosts of the cluster: a gate. */
export interface ClusterCredentials {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** Names and addresses by which it is called, the first its own. */
export interface ClusterCredentialsRequest {
  readonly names: readonly string[];
}

export interface ClusterDrainRequest {
  /** It takes guests again. */
  readonly undo?: boolean;
}

/** A partition that the cluster keeps up. */
export interface ClusterGuest {
  readonly name: string;
  readonly wanted: 'running' | 'stopped';
  /** `running`: a host has it. `moving`: it is given to one. `waiting`: there is no place, and `why` says why. */
  readonly state: 'running' | 'moving' | 'waiting' | 'stopped';
  readonly host?: string;
  readonly generation: number;
  readonly priority: number;
  /** Where it goes, and how, when its host fails; the first is in force. */
  readonly associations: readonly {
    readonly host: string;
    readonly method: 'cold' | 'warm' | 'hot' | 'pair';
  }[];
  /** Of the first association, or of the waiting. */
  readonly why: string;
  /** Requirements that nothing meets. */
  readonly missed: readonly string[];
  /** One that shall be in force once it is ready. */
  readonly next?: {
    readonly host: string;
    readonly method: 'cold' | 'warm' | 'hot' | 'pair';
  };
  readonly requirements: ClusterRequirements;
  readonly group?: string;
  /** Where the planner's choice is not asked. */
  readonly fixed?: 'cold' | 'warm' | 'hot' | 'pair';
  readonly methods: readonly ClusterMethod[];
  /** Methods are judged by figures of this guest; false: by careful ones. */
  readonly isMeasured: boolean;
}

/** What this host's master counted, and its peers. */
export interface ClusterHeartbeats {
  readonly mode: 'constant' | 'direct';
  /** Between beats to each peer. */
  readonly beatMs: number;
  /** On this host. */
  readonly slaves: number;
  readonly counters: {
    readonly sent: {
      readonly beat: {
        readonly packets: number;
        readonly bytes: number;
      };
      readonly pull: {
        readonly packets: number;
        readonly bytes: number;
      };
      readonly details: {
        readonly packets: number;
        readonly bytes: number;
      };
      readonly direct: {
        readonly packets: number;
        readonly bytes: number;
      };
    };
    readonly received: {
      readonly beat: {
        readonly packets: number;
        readonly bytes: number;
      };
      readonly pull: {
        readonly packets: number;
        readonly bytes: number;
      };
      readonly details: {
        readonly packets: number;
        readonly bytes: number;
      };
      readonly direct: {
        readonly packets: number;
        readonly bytes: number;
      };
    };
    readonly intervals: number;
    /** Datagrams that were none of the cluster. */
    readonly broken: number;
    /** That slaves gave their master; they stay on the host. */
    readonly localBeats: number;
    readonly ordersToActive: number;
    readonly ordersToStandby: number;
    /** That reached standbys' slaves: none but with `direct`. */
    readonly beatsToStandby: number;
    readonly suspicions: number;
  };
  readonly peers: readonly {
    readonly host: string;
    /** Since its last beat. */
    readonly silentMs: number;
    readonly isSuspected: boolean;
    /** What it said; not there: it was not heard yet. */
    readonly last?: {
      readonly guests: number;
      readonly notWell: number;
      readonly leaseLeftMs: number;
    };
  }[];
}

/** The switch of constant heartbeats, of this host's. */
export interface ClusterHeartbeatsRequest {
  readonly mode: 'constant' | 'direct';
}

/** Events of kind `cluster`, of all hosts. */
export interface ClusterHistory {
  /** By time, as this host's clock would have it. Ids are of each host's own. */
  readonly events: readonly {
    /** Grows; 0 for what is not kept (`path`, `image-progress`). */
    readonly id: number;
    readonly at: Moment;
    readonly kind:
      | 'created'
      | 'changed'
      | 'removed'
      | 'starting'
      | 'started'
      | 'start-failed'
      | 'adopted'
      | 'paused'
      | 'resumed'
      | 'stopping'
      | 'ended'
      | 'restart-scheduled'
      | 'given-up'
      | 'forked'
      | 'snapshot'
      | 'switched'
      | 'path'
      | 'cluster'
      | 'image-progress'
      | 'image-pulled'
      | 'image-removed'
      | 'daemon-started'
      | 'daemon-stopping';
    readonly partition?: string;
    /** What else there is to say, by kind. */
    readonly detail?: { readonly [name: string]: unknown };
    /** Whose daemon told it. */
    readonly host: string;
  }[];
  /** Hosts that did not answer: what they told is not among it. */
  readonly silent: readonly string[];
}

/** A host of the cluster. */
export interface ClusterHost {
  readonly name: string;
  readonly state: 'active' | 'draining' | 'quarantined' | 'fenced';
  readonly isLeader: boolean;
  readonly address: string;
  readonly incarnation: number;
  readonly capacity: {
    readonly cores: number;
    readonly memoryBytes: number;
    readonly diskBytes: number;
  };
  /** By all, guests included; where it is in. */
  readonly usedCores?: number;
  readonly guests: number;
  /** Its guests'. */
  readonly memoryBytes: number;
  readonly labels: { readonly [name: string]: string };
  /** How often it was fenced lately. */
  readonly fences: number;
  /** Hosts with which it exchanges heartbeats, its neighbour on the ring first. */
  readonly peers: readonly string[];
}

export interface ClusterInitRequest {
  /** 127.0.0.1 by default. */
  readonly address?: string;
  /** By default a file in the daemon's state: a cluster of one host. */
  readonly store?: ClusterStore;
  /** The system's name by default. */
  readonly name?: Name;
  /** A folder with ca.pem, cert.pem, key.pem, as a client of etcd. */
  readonly storeTls?: Path;
  readonly capacity?: ClusterCapacity;
  readonly labels?: { readonly [name: string]: string };
}

export interface ClusterJoinRequest {
  /** What "kage cluster token" prints. A secret. */
  readonly token: string;
  /** An IP address of this host, with a port if it is not 7444: 10.0.0.1, [fd00::1]:7444. */
  readonly address?: string;
  /** Take the name of a host that is gone for good. */
  readonly replace?: boolean;
  /** The system's name by default. */
  readonly name?: Name;
  /** A folder with ca.pem, cert.pem, key.pem, as a client of etcd. */
  readonly storeTls?: Path;
  readonly capacity?: ClusterCapacity;
  readonly labels?: { readonly [name: string]: string };
}

export interface ClusterLeaveRequest {
  /** Forget the cluster without a word to it; also where this is the last host, and has guests. */
  readonly force?: boolean;
}

/** What a method of failover would give a guest, and take, by figures of now. */
export interface ClusterMethod {
  readonly method: 'cold' | 'warm' | 'hot' | 'pair';
  /** It can be used with that method, and is not fixed to another. */
  readonly isAllowed: boolean;
  /** From a host's death to the guest's answer. */
  readonly recoveryMs: number;
  /** How much of its work is lost at most; without it: its memory. */
  readonly lossMs?: number;
  /** The part of its speed that is left while nothing fails. */
  readonly speed: number;
  /** Between checkpoints; 0: there are none. */
  readonly everyMs: number;
  /** Held on the other host; so are disk and cores. */
  readonly memoryBytes: number;
  readonly diskBytes: number;
  readonly cores: number;
  /** Between hosts. */
  readonly bytesPerS: number;
  /** Of all that, to compare: a core is 1, a GiB of memory too. */
  readonly price: number;
  /** Requirements that it would not meet. */
  readonly missed: readonly string[];
}

/** Of a partition with failover: where the cluster has it. */
export interface ClusterPart {
  /** That has it, or will have it. */
  readonly host?: string;
  readonly state: 'running' | 'moving' | 'waiting' | 'stopped';
  readonly generation: number;
  /** Of the association that is in force. */
  readonly method?: 'cold' | 'warm' | 'hot' | 'pair';
  readonly why: string;
  readonly missed: readonly string[];
}

/** What a guest needs, defaults included. */
export interface ClusterRequirements {
  readonly recoveryTimeMs: number;
  /** Without it its memory may be lost, but not its disk. */
  readonly dataLossMs?: number;
  readonly performanceFloor: number;
  readonly priority: number;
}

/** Where the cluster's store is: a file, for one host, or members of etcd. */
export type ClusterStore =
  | {
      readonly kind: 'sqlite';
      readonly file: Path;
    }
  | {
      readonly kind: 'etcd';
      readonly endpoints: readonly string[];
    };

/** What another host joins with: a secret. */
export interface ClusterToken {
  /** This host's in the cluster. */
  readonly name: Name;
  readonly token: string;
}

export interface CreateRequest {
  /** A made-up one by default. */
  readonly name?: Name;
  readonly spec: PartitionSpec;
  readonly restartPolicy?: RestartPolicy;
  readonly removeAtEnd?: boolean;
  /** Starts it, too. Default: false. */
  readonly start?: boolean;
}

export interface DaemonHealth {
  readonly status: 'ok';
}

export interface DeclareRequest {
  readonly spec: PartitionSpec;
  readonly restartPolicy?: RestartPolicy;
}

export interface DeclareResult {
  readonly change: 'created' | 'changed' | 'unchanged';
  readonly partition: Partition;
}

export interface DrillRequest {
  readonly guest: Name;
  /** That of the association in force by default. */
  readonly method?: 'cold' | 'warm' | 'hot' | 'pair';
  /** The host that takes over; that of the association by default. */
  readonly host?: Name;
}

/** A takeover by a double; the guest itself was left alone. */
export interface DrillResult {
  readonly guest: string;
  /** Where the double ran. */
  readonly host: string;
  readonly method: 'cold' | 'warm' | 'hot' | 'pair';
  readonly startedAt: Moment;
  readonly steps: readonly {
    readonly step: string;
    readonly tookMs: number;
  }[];
  /** From the order to the double's answer. */
  readonly takeoverMs: number;
  /** With the time until a host's death is certain. */
  readonly recoveryMs: number;
  /** What is required. */
  readonly recoveryTimeMs: number;
  readonly isMet: boolean;
}

/** A disk. */
export interface Drive {
  /** An absolute path, or what a server exports: `nbd://HOST/EXPORT`. */
  readonly file: string;
  readonly format?: 'raw' | 'qcow2';
  readonly readOnly?: boolean;
  /** Writes go to a layer that is forgotten with the partition, or to an overlay file. */
  readonly overlay?: boolean | Path;
  readonly backing?: boolean;
  readonly discard?: 'unmap' | 'ignore';
  readonly reconnectDelaySeconds?: number;
}

/** Something that happened. */
export interface Event {
  /** Grows; 0 for what is not kept (`path`, `image-progress`). */
  readonly id: number;
  readonly at: Moment;
  readonly kind:
    | 'created'
    | 'changed'
    | 'removed'
    | 'starting'
    | 'started'
    | 'start-failed'
    | 'adopted'
    | 'paused'
    | 'resumed'
    | 'stopping'
    | 'ended'
    | 'restart-scheduled'
    | 'given-up'
    | 'forked'
    | 'snapshot'
    | 'switched'
    | 'path'
    | 'cluster'
    | 'image-progress'
    | 'image-pulled'
    | 'image-removed'
    | 'daemon-started'
    | 'daemon-stopping';
  readonly partition?: string;
  /** What else there is to say, by kind. */
  readonly detail?: { readonly [name: string]: unknown };
}

export interface EventList {
  readonly events: readonly Event[];
}

/** A command for a guest. */
export interface ExecRequest {
  readonly argv: readonly string[];
  readonly environment?: { readonly [name: string]: string };
  readonly workingFolder?: string;
  /** Base64. */
  readonly stdin?: string;
  /** How long the guest's agent may take to answer. Without end by default. */
  readonly waitMs?: number;
}

export interface ExecResult {
  /** 128 + N after signal N. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  /** More than 1 MiB of either was written; the rest is not there. */
  readonly truncated: boolean;
}

/** How a partition ended. */
export interface Exit {
  /** `lost`: its process was gone without a word. */
  readonly reason: 'poweroff' | 'reboot' | 'failure' | 'killed' | 'migrated' | 'error' | 'lost';
  readonly code: number;
  readonly message?: string;
  readonly at: Moment;
}

export interface ExplainedRegion {
  readonly at: Address;
  readonly number: number;
  readonly instructions: number;
  readonly entered: number;
  readonly module: number;
}

/** What the translator makes of guest code at an address. */
export interface Explanation {
  readonly hart: number;
  readonly pc: Address;
  readonly mode: string;
  readonly level: 1 | 2;
  readonly physical?: Address;
  readonly status:
    | 'unmapped'
    | 'device'
    | 'untouched'
    | 'illegal'
    | 'unexecuted'
    | 'interpreted'
    | 'cold'
    | 'hot'
    | 'inside'
    | 'translated';
  readonly summary: string;
  readonly reached: number;
  readonly thresholds: readonly number[];
  readonly page?: {
    readonly at: Address;
    readonly decoded: number;
    readonly hasOverlay: boolean;
    readonly regions: readonly ExplainedRegion[];
    readonly touching: readonly number[];
  };
  readonly region?: ExplainedRegion;
  readonly blocks: readonly {
    readonly at: Address;
    readonly depth: number;
    readonly instructions: readonly {
      readonly at: Address;
      readonly bits: string;
      readonly text: string;
      readonly emulated?: boolean;
    }[];
    readonly ending: 'goto' | 'branch' | 'register';
    readonly edges: readonly {
      readonly to: Address;
      readonly leaves?: string;
    }[];
    readonly reached: number;
  }[];
  readonly wasm?: {
    readonly of: 'region' | 'proposal';
    readonly isCurrent: boolean;
    readonly bytes: number;
    readonly lines: readonly string[];
  };
}

/** The cluster keeps it up: what that has to come to. */
export interface Failover {
  /** From its host's death to its answer. A minute by default. */
  readonly recoveryTimeMs?: number;
  /** How much of its work may be lost; 0: nothing that anybody was told. By default its memory, not its disk. */
  readonly dataLossMs?: number;
  /** The share of its cores that it must have after a takeover. 0.5 by default. */
  readonly performanceFloor?: number;
  /** Higher first. 0 by default. */
  readonly priority?: number;
  /** Guests of one group are kept on different hosts. */
  readonly group?: Name;
  /** Those that it can be used with. */
  readonly methods?: readonly ('cold' | 'warm' | 'hot' | 'pair')[];
  /** `auto`: the cluster selects one, and changes it when that is better. By default. */
  readonly method?: 'auto' | 'fixed:cold' | 'fixed:warm' | 'fixed:hot' | 'fixed:pair';
  /** Where its storage's gate is told generations: `unix:PATH` or `tls:HOST:PORT`. */
  readonly gate?: string;
  /** Starts its application again, in the guest. */
  readonly restartCommand?: readonly string[];
  /** Has the application of a pair take over, in the guest that ran beside the other. */
  readonly takeOverCommand?: readonly string[];
}

export interface ForkRequest {
  readonly name?: Name;
  readonly publish?: readonly string[];
  readonly weight?: number;
  readonly cap?: number;
  readonly pin?: readonly number[];
  /** Its file systems are frozen meanwhile. */
  readonly quiesce?: boolean;
}

/** A twin. */
export interface ForkResult {
  readonly name: Name;
  readonly pausedMs: number;
}

/** What checks of its health came to. */
export interface Health {
  readonly status: 'starting' | 'healthy' | 'unhealthy';
  readonly failingStreak: number;
  readonly log: readonly {
    readonly start: string;
    readonly end: string;
    readonly exitCode: number;
    readonly output: string;
  }[];
}

/** Checks of the guest's health, as docker's HEALTHCHECK. */
export interface HealthCheck {
  readonly command: string | readonly string[];
  readonly intervalMs?: number;
  readonly timeoutMs?: number;
  readonly startPeriodMs?: number;
  readonly startIntervalMs?: number;
  readonly retries?: number;
}

/** Regions of translated code that were entered most. */
export interface HotRegions {
  readonly regions: readonly {
    readonly number: number;
    readonly instructions: number;
    readonly entered: number;
    readonly module: number;
    readonly at?: Address;
    readonly physical?: Address;
    readonly hart?: number;
    readonly level?: 1 | 2;
  }[];
}

/** A guest image in the cache folder. */
export interface Image {
  readonly name: string;
  readonly kernel: string;
  readonly initrd: string;
  readonly disk?: string;
  readonly commandLine: string;
  readonly release: string;
  readonly suite: string;
  readonly kernelVersion: string;
}

export interface ImageList {
  readonly images: readonly Image[];
}

/** The process that runs a partition. */
export interface Machine {
  readonly pid: number;
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly startedAt: Moment;
  readonly publish: readonly string[];
  /** Of a twin. */
  readonly fork?: {
    readonly of: string;
    readonly pausedMs: number;
  };
  readonly agent?: Agent;
  readonly health?: Health;
}

/** Out: from the guest; in: to it. */
export interface MappingCounters {
  readonly framesOut: number;
  readonly bytesOut: number;
  readonly framesIn: number;
  readonly bytesIn: number;
  readonly droppedOut: number;
  readonly droppedIn: number;
  readonly localIn: number;
  readonly localOut: number;
  readonly stormsOut: number;
  readonly noPath: number;
  readonly switches: number;
  readonly announcements: number;
}

/** A moment in UTC. */
export type Moment = string;

/** A partition's name: up to 63 letters, digits, `-`, `_` and `.`. */
export type Name = string;

/** A change of the table, as `kage net` makes it. */
export interface NetChange {
  readonly action: 'map' | 'unmap' | 'prefer' | 'add' | 'failover';
  readonly interface?: string;
  readonly uplinks?: readonly string[];
  readonly netdev?: Netdev;
  readonly on?: boolean;
}

/** Interfaces and uplinks: which is mapped to which, and how it is. */
export interface NetReport {
  readonly failover: boolean;
  readonly interfaces: readonly {
    readonly name: string;
    readonly network: string;
    readonly mac?: string;
    /** The preferred one first. */
    readonly uplinks: readonly string[];
    /** None: the guest has no carrier. */
    readonly inForce?: string;
    readonly sinceWallMs: number;
    readonly why: string;
    readonly failback: 'always' | 'better' | 'failure';
    readonly linkUp: boolean;
    readonly addresses: number;
    readonly counters: MappingCounters;
  }[];
  readonly uplinks: readonly {
    readonly name: string;
    readonly kind: string;
    readonly network: string;
    readonly condition: 'up' | 'recovering' | 'warming' | 'silent' | 'down';
    readonly probing: 'arp' | 'mutual' | 'none';
    readonly targets: readonly string[];
    readonly mtuBytes: number;
    /** Those that have it in force. */
    readonly interfaces: readonly string[];
    readonly counters: UplinkCounters;
  }[];
}

/** An uplink, as `--netdev` has it. */
export interface Netdev {
  readonly kind: 'user' | 'stream' | 'macvtap' | 'internal' | 'shared';
  readonly id?: string;
  readonly network?: string;
  readonly mtuBytes?: number;
  readonly speedMbps?: number;
  readonly probing?: 'arp' | 'mutual' | 'none';
  readonly targets?: readonly string[];
  readonly user?: string;
  readonly ifname?: string;
  readonly server?: boolean;
  readonly path?: Path;
  readonly host?: string;
  readonly port?: number;
  readonly reconnectMs?: number;
}

/** A partition: a guest, its declaration and its state. */
export interface Partition {
  readonly name: Name;
  /** `created`: never started. `restarting`: waits to be started again, at `restartAt`. */
  readonly state: 'created' | 'starting' | 'running' | 'paused' | 'restarting' | 'exited';
  /** Whether it was declared. What was started by other means is only found running, and gone at its end. */
  readonly managed: boolean;
  readonly spec?: PartitionSpec;
  readonly restartPolicy: RestartPolicy;
  /** It is forgotten when it has ended (`--rm`). */
  readonly removeAtEnd?: boolean;
  /** By its policy, since it was last started by hand. */
  readonly restarts: number;
  readonly restartAt?: Moment;
  readonly createdAt?: Moment;
  /** While it runs. */
  readonly machine?: Machine;
  /** Its latest end. */
  readonly exit?: Exit;
  readonly cluster?: ClusterPart;
}

export interface PartitionList {
  readonly partitions: readonly Partition[];
}

/** What a partition is made of. Image, kernel, firmware or snapshot: one of them must be named. */
export interface PartitionSpec {
  /** A guest image; `debian` is fetched at first use. It gives kernel, initrd, disk where the spec does not. */
  readonly image?: string;
  /** A snapshot: each start begins where it stood. What of the machine can be other than in it may be said. */
  readonly restoreFrom?: Path;
  /** In the machine of that partition, which has `room`: on its processors, in its process. */
  readonly beside?: Name;
  readonly failover?: Failover;
  /** Harts. 1 by default. */
  readonly cpus?: number;
  /** Guest memory. 512 MiB by default. */
  readonly memoryBytes?: number;
  /** Threads that run the harts. */
  readonly processors?: number;
  /** Its claim where harts wait for a processor; everybody's is 1024. */
  readonly weight?: number;
  /** Processors' worth of time that it may use at most. */
  readonly cap?: number;
  /** Processors that may run its harts. */
  readonly pin?: readonly number[];
  /** Extensions off, or emulated: `rv64,zba=off,zbb=emulate`. */
  readonly cpu?: string;
  /** A kernel of your own. */
  readonly kernel?: Path;
  /** Its initial file system. */
  readonly initrd?: Path;
  /** The kernel's command line; behind the image's own. */
  readonly append?: string;
  /** Firmware for machine mode. */
  readonly bios?: 'none' | Path;
  readonly drives?: readonly Drive[];
  readonly shares?: readonly Share[];
  readonly balloon?: boolean;
  readonly vsock?: Vsock;
  readonly network?: boolean;
  /** Uplinks of its interface, the preferred one first. */
  readonly netdevs?: readonly Netdev[];
  readonly mac?: string;
  readonly failback?: 'always' | 'better' | 'failure';
  readonly pathFailover?: boolean;
  /** Published ports: `[HOSTIP:]HOSTPORT:GUESTPORT[/tcp|udp]`. */
  readonly publish?: readonly string[];
  /** The guest's agent. `auto` by default. */
  readonly agent?: boolean | 'auto' | 'kagemusha' | 'qemu' | 'off';
  /** The guest's heart beats at this interval. 0: it does not. */
  readonly heartbeatMs?: number;
  readonly health?: HealthCheck;
  readonly interruptRate?: number;
  readonly clock?: 'real' | 'instructions';
  readonly seed?: number;
  readonly gdbPort?: number;
  readonly startPaused?: boolean;
  readonly codeMemoryBytes?: number;
  readonly translate?: boolean;
  readonly hotThreshold?: number;
  readonly promotion?: PromotionMode;
  readonly overlay?: boolean;
  readonly shadows?: number;
  readonly shadowModel?: 'fence' | 'tracked';
  readonly asidBits?: number;
  readonly nested?: boolean;
  readonly combinedShadows?: boolean;
  readonly relay?: boolean;
  readonly aia?: 'none' | 'aplic' | 'aplic-imsic';
  readonly aiaGuests?: number;
  readonly pci?: boolean | PciPlan;
  readonly traps?: readonly string[];
  readonly trapLog?: Path;
  readonly room?: {
    readonly partitions?: number;
    readonly memoryBytes?: number;
  };
  readonly protection?: boolean;
  readonly protectionLog?: Path;
  readonly bootSnapshot?: boolean;
}

/** An absolute path on the host. */
export type Path = string;

/** What happened to a path, and why. */
export interface PathEvent {
  readonly sequence: number;
  readonly wallMs: number;
  readonly kind:
    | 'uplink-added'
    | 'uplink-removed'
    | 'carrier-lost'
    | 'carrier-regained'
    | 'path-silent'
    | 'path-answers'
    | 'path-well'
    | 'mapped'
    | 'switched'
    | 'all-paths-lost'
    | 'paths-regained'
    | 'address-moved'
    | 'storm'
    | 'failover-on'
    | 'failover-off';
  readonly subject: string;
  readonly from?: string;
  readonly to?: string;
  readonly cause: string;
}

export interface PathEvents {
  readonly events: readonly PathEvent[];
}

export interface PciFunction {
  readonly id: string;
  readonly place: string;
  readonly kind: string;
  readonly interrupts: 'intx' | 'msi' | 'msix';
  readonly messages: number;
  readonly asserts: number;
}

/** Root ports, and the places of devices. */
export interface PciPlan {
  readonly ports: readonly {
    readonly id: string;
    readonly device: number;
    readonly func: number;
    readonly slot?: number;
    readonly isPlugged?: boolean;
  }[];
  readonly functions: readonly {
    readonly id: string;
    readonly kind?: 'rng';
    readonly port?: string;
    readonly device: number;
    readonly func: number;
    readonly queues?: number;
  }[];
}

/** Root ports and what is in their slots. */
export interface PciReport {
  readonly ports: readonly {
    readonly id: string;
    readonly place: string;
    readonly slot: number;
    readonly card: 'in' | 'leaving' | 'out';
    readonly power: 'on' | 'off';
    readonly indicators: {
      readonly power: 'on' | 'blink' | 'off';
      readonly attention: 'on' | 'blink' | 'off';
    };
    readonly functions: readonly PciFunction[];
  }[];
  readonly functions: readonly PciFunction[];
}

/** An error (RFC 9457). */
export interface Problem {
  /** `urn:kagemusha:error:CODE` */
  readonly type: string;
  /** The code in words. */
  readonly title: string;
  readonly status: number;
  /** What is wrong, a sentence. */
  readonly detail: string;
  /** Stable: `no-such-partition`, `name-in-use`, `bad-request`. */
  readonly code: string;
  /** What to do about it, a sentence. */
  readonly fix?: string;
  /** Of `bad-request`: each place that is wrong. */
  readonly errors?: readonly {
    readonly at: string;
    readonly message: string;
  }[];
}

/** Sensitive instructions that are promoted now, those that ran most first. */
export interface PromotedSites {
  readonly sites: readonly {
    readonly number: number;
    readonly executions: number;
    readonly physical: Address;
    readonly text: string;
    readonly at?: Address;
    readonly hart?: number;
    readonly level?: 1 | 2;
  }[];
}

export type PromotionMode = 'off' | 'auto' | 'always';

export interface ProtectionChange {
  readonly action: 'deny' | 'allow';
  readonly domains: readonly string[];
  /** Guest-physical: from the page of `start` to the page before `end`. */
  readonly start: number;
  readonly end: number;
  readonly rights: string;
}

/** Domains, what is denied to them, what they tried. */
export interface ProtectionReport {
  readonly domains: readonly {
    readonly name: string;
    readonly violations: { readonly [name: string]: number };
  }[];
  readonly rules: readonly {
    readonly domain: string;
    readonly start: Address;
    readonly end: Address;
    readonly denied: string;
  }[];
  readonly changes: number;
  readonly tables: {
    readonly tables: number;
    readonly chunks: number;
    readonly bytes: number;
  };
}

export interface PullRequest {
  readonly name: string;
  readonly refresh?: boolean;
}

/**
 * Docker's: `no`; `on-failure` restarts what ended with a code other than 0, `most` times in a row; `always` does
 * whatever the code, and when the daemon starts; `unless-stopped` too, but for what was stopped.
 */
export interface RestartPolicy {
  readonly name: 'no' | 'on-failure' | 'always' | 'unless-stopped';
  /** Of `on-failure`: how many restarts in a row. */
  readonly most?: number;
}

/** A folder of the host that the guest has, too. */
export interface Share {
  readonly host: Path;
  readonly guest: Path;
  readonly readOnly?: boolean;
}

export interface SlotChange {
  readonly action: 'plug' | 'unplug' | 'pull';
}

export interface SnapshotRequest {
  readonly file: Path;
  /** An earlier snapshot: only memory that differs from it is written. */
  readonly base?: Path;
  /** The partition ends with its snapshot. */
  readonly stop?: boolean;
  readonly compress?: boolean;
  /** Its file systems are frozen meanwhile. */
  readonly quiesce?: boolean;
}

export interface SnapshotResult {
  readonly id: string;
  readonly file: Path;
  readonly sizeBytes: number;
  readonly pages: number;
  readonly pausedMs: number;
  /** File systems that were frozen, and were not. */
  readonly quiesced?: {
    readonly count: number;
    readonly left: number;
  };
}

/** Counters by component; those named here are the ones that charts want. */
export interface Stats {
  /** Why harts left the engine. */
  readonly exits?: { readonly [name: string]: number };
  /** Sites promoted and demoted so far, bytes of promotion code, executions of sites promoted now. */
  readonly promotion?: {
    readonly mode?: PromotionMode;
    readonly promoted: number;
    readonly demoted: number;
    readonly bytes: number;
    readonly peakBytes: number;
    readonly executions: number;
    readonly accesses: number;
    readonly calls: number;
    readonly [name: string]: unknown;
  };
  readonly memory?: {
    readonly guestBytes: number;
    readonly touchedBytes: number;
    readonly codeBytes: number;
    readonly codeLimitBytes: number;
    readonly [name: string]: unknown;
  };
  readonly translation?: {
    readonly regions: number;
    readonly inUse: number;
    readonly instructions: number;
    readonly hostBytes: number;
    readonly [name: string]: unknown;
  };
  readonly vcpus?: readonly {
    readonly id: number;
    readonly instructions: number;
    readonly translated: number;
    readonly [name: string]: unknown;
  }[];
  readonly [name: string]: unknown;
}

export interface StopRequest {
  /** How long the guest may take. 10 s by default. */
  readonly graceMs?: number;
}

/** Those to throw. */
export interface SwitchChange {
  readonly promotion?: PromotionMode;
  readonly pathFailover?: boolean;
}

/** Switches of mechanisms that can be thrown while it runs, as they stand. */
export interface Switches {
  /** Mechanism 3. */
  readonly promotion?: PromotionMode;
  /** Mechanism 9. */
  readonly pathFailover?: boolean;
}

export interface UpdateRequest {
  readonly restartPolicy: RestartPolicy;
}

/** Out: to the segment; in: from it. */
export interface UplinkCounters {
  readonly framesOut: number;
  readonly bytesOut: number;
  readonly framesIn: number;
  readonly bytesIn: number;
  readonly droppedOut: number;
  readonly droppedIn: number;
  readonly stormsIn: number;
  readonly reflected: number;
  readonly duplicates: number;
  readonly notInForce: number;
  readonly failures: number;
}

/** The daemon. */
export interface Version {
  readonly version: string;
  readonly api: 'v1';
  readonly pid: number;
  readonly startedAt: Moment;
  readonly stateFolder: string;
}

export interface Violations {
  readonly violations: readonly {
    readonly domain: string;
    readonly by: 'user' | 'supervisor' | 'machine' | 'device' | 'sbi';
    readonly hart?: number;
    readonly pc?: Address;
    readonly access: 'fetch' | 'load' | 'store' | 'walk' | 'update';
    readonly missing: 'r' | 'w' | 'x';
    readonly address?: Address;
    readonly physical: Address;
    readonly frame: number;
  }[];
}

/** Sockets between guest and host. */
export interface Vsock {
  readonly socket?: Path;
  readonly cid?: number;
}

/** Each operation of the document is a method. They reject with ApiError, which holds the daemon's problem. */
export class Client {
  readonly #caller: Caller;

  constructor(caller: Caller) {
    this.#caller = caller;
  }

  /** List partitions. Those that were declared, in whatever state, and what else of this user runs. */
  listPartitions(options?: CallOptions): Promise<PartitionList> {
    return this.#caller.json<PartitionList>({ method: 'GET', path: '/v1/partitions' }, options);
  }

  /** Create a partition. */
  createPartition(body: CreateRequest, options?: CallOptions): Promise<Partition> {
    return this.#caller.json<Partition>({ method: 'POST', path: '/v1/partitions', body }, options);
  }

  /** Inspect a partition. */
  getPartition(name: Name, options?: CallOptions): Promise<Partition> {
    return this.#caller.json<Partition>({ method: 'GET', path: `/v1/partitions/${encodeURIComponent(name)}` }, options);
  }

  /**
   * Declare a partition. Makes it what is declared, and has it run: one that runs with another spec is stopped and
   * begun anew.
   */
  declarePartition(name: Name, body: DeclareRequest, options?: CallOptions): Promise<DeclareResult> {
    return this.#caller.json<DeclareResult>(
      { method: 'PUT', path: `/v1/partitions/${encodeURIComponent(name)}`, body },
      options,
    );
  }

  /** Change the restart policy of a partition. */
  updatePartition(name: Name, body: UpdateRequest, options?: CallOptions): Promise<Partition> {
    return this.#caller.json<Partition>(
      { method: 'PATCH', path: `/v1/partitions/${encodeURIComponent(name)}`, body },
      options,
    );
  }

  /** Remove a partition. With its logs. One that runs is refused, or with `force=true` ended first. */
  removePartition(name: Name, query: { readonly force?: boolean } = {}, options?: CallOptions): Promise<void> {
    return this.#caller.nothing(
      { method: 'DELETE', path: `/v1/partitions/${encodeURIComponent(name)}`, query },
      options,
    );
  }

  /** Start. */
  startPartition(name: Name, options?: CallOptions): Promise<Partition> {
    return this.#caller.json<Partition>(
      { method: 'POST', path: `/v1/partitions/${encodeURIComponent(name)}/start` },
      options,
    );
  }

  /** Ask the guest to shut down, and end what does not. */
  stopPartition(name: Name, body?: StopRequest, options?: CallOptions): Promise<Partition> {
    return this.#caller.json<Partition>(
      { method: 'POST', path: `/v1/partitions/${encodeURIComponent(name)}/stop`, body },
      options,
    );
  }

  /** Stop and start. */
  restartPartition(name: Name, body?: StopRequest, options?: CallOptions): Promise<Partition> {
    return this.#caller.json<Partition>(
      { method: 'POST', path: `/v1/partitions/${encodeURIComponent(name)}/restart`, body },
      options,
    );
  }

  /** End at once. */
  killPartition(name: Name, options?: CallOptions): Promise<Partition> {
    return this.#caller.json<Partition>(
      { method: 'POST', path: `/v1/partitions/${encodeURIComponent(name)}/kill` },
      options,
    );
  }

  /** Halt its harts. */
  pausePartition(name: Name, options?: CallOptions): Promise<Partition> {
    return this.#caller.json<Partition>(
      { method: 'POST', path: `/v1/partitions/${encodeURIComponent(name)}/pause` },
      options,
    );
  }

  /** Let it go on. */
  resumePartition(name: Name, options?: CallOptions): Promise<Partition> {
    return this.#caller.json<Partition>(
      { method: 'POST', path: `/v1/partitions/${encodeURIComponent(name)}/resume` },
      options,
    );
  }

  /** Wait for its end. Answers when it has ended; at once where it does not run. Its policy may start it again. */
  waitPartition(name: Name, options?: CallOptions): Promise<Exit> {
    return this.#caller.json<Exit>({ method: 'GET', path: `/v1/partitions/${encodeURIComponent(name)}/wait` }, options);
  }

  /** Write it to a file. */
  snapshotPartition(name: Name, body: SnapshotRequest, options?: CallOptions): Promise<SnapshotResult> {
    return this.#caller.json<SnapshotResult>(
      { method: 'POST', path: `/v1/partitions/${encodeURIComponent(name)}/snapshot`, body },
      options,
    );
  }

  /** Make a twin. */
  forkPartition(name: Name, body?: ForkRequest, options?: CallOptions): Promise<ForkResult> {
    return this.#caller.json<ForkResult>(
      { method: 'POST', path: `/v1/partitions/${encodeURIComponent(name)}/fork`, body },
      options,
    );
  }

  /** Follow its events, those of its paths too. */
  partitionEvents(name: Name, options?: CallOptions): AsyncIterable<Event> {
    return this.#caller.events<Event>(
      { method: 'GET', path: `/v1/partitions/${encodeURIComponent(name)}/events` },
      options,
    );
  }

  /** What its console said. */
  partitionLogs(
    name: Name,
    query: { readonly follow?: boolean; readonly tail?: number } = {},
    options?: CallOptions,
  ): AsyncIterable<Uint8Array> {
    return this.#caller.bytes(
      { method: 'GET', path: `/v1/partitions/${encodeURIComponent(name)}/logs`, query },
      options,
    );
  }

  /**
   * Attach to its console. A WebSocket. Binary messages are bytes: of the console, what it said lately first, and keys
   * for it. The socket is closed with 1000 when the partition ends.
   */
  attachConsole(name: Name, options?: CallOptions): Promise<Socket> {
    return this.#caller.socket({ method: 'GET', path: `/v1/partitions/${encodeURIComponent(name)}/console` }, options);
  }

  /** Run a command in the guest. */
  exec(name: Name, body: ExecRequest, options?: CallOptions): Promise<ExecResult> {
    return this.#caller.json<ExecResult>(
      { method: 'POST', path: `/v1/partitions/${encodeURIComponent(name)}/exec`, body },
      options,
    );
  }

  /**
   * Run a command in the guest, its streams attached. A WebSocket. The client speaks first, a text message: an
   * ExecRequest without `stdin`. Then binary messages whose first byte is a channel: 0 stdin (no bytes: end of file),
   * 1 stdout, 2 stderr. At last the daemon says `{"kind":"exit","code":0}` or `{"kind":"problem","problem":{...}}` and
   * closes with 1000.
   */
  attachExec(name: Name, options?: CallOptions): Promise<Socket> {
    return this.#caller.socket({ method: 'GET', path: `/v1/partitions/${encodeURIComponent(name)}/exec` }, options);
  }

  /** Wait for the guest's agent. */
  waitReady(name: Name, options?: CallOptions): Promise<void> {
    return this.#caller.nothing({ method: 'GET', path: `/v1/partitions/${encodeURIComponent(name)}/ready` }, options);
  }

  /** Counters. */
  getStats(name: Name, options?: CallOptions): Promise<Stats> {
    return this.#caller.json<Stats>(
      { method: 'GET', path: `/v1/partitions/${encodeURIComponent(name)}/stats` },
      options,
    );
  }

  /** Switches that can be thrown while it runs. */
  getSwitches(name: Name, options?: CallOptions): Promise<Switches> {
    return this.#caller.json<Switches>(
      { method: 'GET', path: `/v1/partitions/${encodeURIComponent(name)}/switches` },
      options,
    );
  }

  /** Throw switches. */
  setSwitches(name: Name, body: SwitchChange, options?: CallOptions): Promise<Switches> {
    return this.#caller.json<Switches>(
      { method: 'PATCH', path: `/v1/partitions/${encodeURIComponent(name)}/switches`, body },
      options,
    );
  }

  /** Interfaces and uplinks. */
  getNet(name: Name, options?: CallOptions): Promise<NetReport> {
    return this.#caller.json<NetReport>(
      { method: 'GET', path: `/v1/partitions/${encodeURIComponent(name)}/net` },
      options,
    );
  }

  /** Change which is mapped to which. */
  changeNet(name: Name, body: NetChange, options?: CallOptions): Promise<NetReport> {
    return this.#caller.json<NetReport>(
      { method: 'POST', path: `/v1/partitions/${encodeURIComponent(name)}/net`, body },
      options,
    );
  }

  /** What happened to paths. */
  netEvents(name: Name, query: { readonly since?: number } = {}, options?: CallOptions): Promise<PathEvents> {
    return this.#caller.json<PathEvents>(
      { method: 'GET', path: `/v1/partitions/${encodeURIComponent(name)}/net/events`, query },
      options,
    );
  }

  /** Frames as pcapng. */
  captureNet(
    name: Name,
    query: { readonly port?: string; readonly snapBytes?: number } = {},
    options?: CallOptions,
  ): AsyncIterable<Uint8Array> {
    return this.#caller.bytes(
      { method: 'GET', path: `/v1/partitions/${encodeURIComponent(name)}/net/capture`, query },
      options,
    );
  }

  /** Protection tables. */
  getProtection(name: Name, options?: CallOptions): Promise<ProtectionReport> {
    return this.#caller.json<ProtectionReport>(
      { method: 'GET', path: `/v1/partitions/${encodeURIComponent(name)}/protection` },
      options,
    );
  }

  /** Take rights away, or give them back. */
  protect(name: Name, body: ProtectionChange, options?: CallOptions): Promise<ProtectionReport> {
    return this.#caller.json<ProtectionReport>(
      { method: 'POST', path: `/v1/partitions/${encodeURIComponent(name)}/protection`, body },
      options,
    );
  }

  /** Accesses that were forbidden. */
  getViolations(name: Name, query: { readonly most?: number } = {}, options?: CallOptions): Promise<Violations> {
    return this.#caller.json<Violations>(
      { method: 'GET', path: `/v1/partitions/${encodeURIComponent(name)}/protection/violations`, query },
      options,
    );
  }

  /** Memory given back. */
  getBalloon(name: Name, options?: CallOptions): Promise<BalloonReport> {
    return this.#caller.json<BalloonReport>(
      { method: 'GET', path: `/v1/partitions/${encodeURIComponent(name)}/balloon` },
      options,
    );
  }

  /** What the guest is to make do with. */
  setBalloon(name: Name, body: BalloonChange, options?: CallOptions): Promise<BalloonReport> {
    return this.#caller.json<BalloonReport>(
      { method: 'PUT', path: `/v1/partitions/${encodeURIComponent(name)}/balloon`, body },
      options,
    );
  }

  /** Root ports and slots. */
  getPci(name: Name, options?: CallOptions): Promise<PciReport> {
    return this.#caller.json<PciReport>(
      { method: 'GET', path: `/v1/partitions/${encodeURIComponent(name)}/pci` },
      options,
    );
  }

  /** Put a card in, or take it out. */
  changeSlot(name: Name, port: string, body: SlotChange, options?: CallOptions): Promise<PciReport> {
    return this.#caller.json<PciReport>(
      { method: 'POST', path: `/v1/partitions/${encodeURIComponent(name)}/pci/${encodeURIComponent(port)}`, body },
      options,
    );
  }

  /** Regions entered most. */
  getHotRegions(name: Name, query: { readonly most?: number } = {}, options?: CallOptions): Promise<HotRegions> {
    return this.#caller.json<HotRegions>(
      { method: 'GET', path: `/v1/partitions/${encodeURIComponent(name)}/hot`, query },
      options,
    );
  }

  /** Instructions that are promoted. */
  getPromotedSites(name: Name, query: { readonly most?: number } = {}, options?: CallOptions): Promise<PromotedSites> {
    return this.#caller.json<PromotedSites>(
      { method: 'GET', path: `/v1/partitions/${encodeURIComponent(name)}/promotion/sites`, query },
      options,
    );
  }

  /** What the translator makes of guest code. */
  explain(
    name: Name,
    query: { readonly pc?: Address; readonly hart?: number; readonly level?: 1 | 2 } = {},
    options?: CallOptions,
  ): Promise<Explanation> {
    return this.#caller.json<Explanation>(
      { method: 'GET', path: `/v1/partitions/${encodeURIComponent(name)}/explain`, query },
      options,
    );
  }

  /** List images. */
  listImages(options?: CallOptions): Promise<ImageList> {
    return this.#caller.json<ImageList>({ method: 'GET', path: '/v1/images' }, options);
  }

  /**
   * Make an image from its archive. Answers when it is there; meanwhile events of kind `image-progress` tell how far
   * it is.
   */
  pullImage(body: PullRequest, options?: CallOptions): Promise<Image> {
    return this.#caller.json<Image>({ method: 'POST', path: '/v1/images', body }, options);
  }

  /** Remove an image. */
  removeImage(image: string, options?: CallOptions): Promise<void> {
    return this.#caller.nothing({ method: 'DELETE', path: `/v1/images/${encodeURIComponent(image)}` }, options);
  }

  /** Hosts and guests of the cluster. As this host knows it. `no-cluster` where it is in none. */
  getCluster(options?: CallOptions): Promise<Cluster> {
    return this.#caller.json<Cluster>({ method: 'GET', path: '/v1/cluster' }, options);
  }

  /** Begin a cluster with this host. */
  initCluster(body?: ClusterInitRequest, options?: CallOptions): Promise<ClusterToken> {
    return this.#caller.json<ClusterToken>({ method: 'POST', path: '/v1/cluster/init', body }, options);
  }

  /** Join the cluster of a token. */
  joinCluster(body: ClusterJoinRequest, options?: CallOptions): Promise<ClusterToken> {
    return this.#caller.json<ClusterToken>({ method: 'POST', path: '/v1/cluster/join', body }, options);
  }

  /** Leave the cluster. Answers when this host has given its guests up and nobody waits for it. */
  leaveCluster(body?: ClusterLeaveRequest, options?: CallOptions): Promise<void> {
    return this.#caller.nothing({ method: 'POST', path: '/v1/cluster/leave', body }, options);
  }

  /** The token that another host joins with. */
  getClusterToken(options?: CallOptions): Promise<ClusterToken> {
    return this.#caller.json<ClusterToken>({ method: 'POST', path: '/v1/cluster/token' }, options);
  }

  /** A certificate for what is no host. */
  makeCredentials(body: ClusterCredentialsRequest, options?: CallOptions): Promise<ClusterCredentials> {
    return this.#caller.json<ClusterCredentials>({ method: 'POST', path: '/v1/cluster/credentials', body }, options);
  }

  /** Have a host give its guests up. It takes none until that is undone. Answers at once; guests move a few at a time. */
  drainHost(name: Name, body?: ClusterDrainRequest, options?: CallOptions): Promise<Cluster> {
    return this.#caller.json<Cluster>(
      { method: 'POST', path: `/v1/cluster/hosts/${encodeURIComponent(name)}/drain`, body },
      options,
    );
  }

  /**
   * Throw the switch of heartbeats. Of this host's, until its daemon ends: `direct` has each guest's slave tell its
   * standby's, for comparison.
   */
  setHeartbeats(body: ClusterHeartbeatsRequest, options?: CallOptions): Promise<Cluster> {
    return this.#caller.json<Cluster>({ method: 'PUT', path: '/v1/cluster/heartbeats', body }, options);
  }

  /** Past events of all hosts of the cluster. */
  clusterHistory(options?: CallOptions): Promise<ClusterHistory> {
    return this.#caller.json<ClusterHistory>({ method: 'GET', path: '/v1/cluster/events' }, options);
  }

  /**
   * Fail a guest over, by a double of it. The guest itself is left alone. Answers when the double has answered, and
   * has ended.
   */
  drill(body: DrillRequest, options?: CallOptions): Promise<DrillResult> {
    return this.#caller.json<DrillResult>({ method: 'POST', path: '/v1/cluster/drills', body }, options);
  }

  /** Follow events. From now on; with `since`, or the header `Last-Event-ID`, what happened behind that event first. */
  events(
    query: { readonly since?: number; readonly partition?: Name } = {},
    options?: CallOptions,
  ): AsyncIterable<Event> {
    return this.#caller.events<Event>({ method: 'GET', path: '/v1/events', query }, options);
  }

  /** Events that were kept, the latest last. */
  eventHistory(
    query: { readonly since?: number; readonly partition?: Name; readonly most?: number } = {},
    options?: CallOptions,
  ): Promise<EventList> {
    return this.#caller.json<EventList>({ method: 'GET', path: '/v1/events/history', query }, options);
  }

  /** The daemon. */
  getVersion(options?: CallOptions): Promise<Version> {
    return this.#caller.json<Version>({ method: 'GET', path: '/v1/version' }, options);
  }

  /** This document. */
  getOpenApi(options?: CallOptions): Promise<{ readonly [name: string]: unknown }> {
    return this.#caller.json<{ readonly [name: string]: unknown }>(
      { method: 'GET', path: '/v1/openapi.json' },
      options,
    );
  }

  /** Whether the daemon is alive. */
  getHealth(options?: CallOptions): Promise<DaemonHealth> {
    return this.#caller.json<DaemonHealth>({ method: 'GET', path: '/healthz' }, options);
  }

  /** Whether it has adopted what runs. */
  getReadiness(options?: CallOptions): Promise<DaemonHealth> {
    return this.#caller.json<DaemonHealth>({ method: 'GET', path: '/readyz' }, options);
  }

  /** Metrics in Prometheus's text format. */
  getMetrics(options?: CallOptions): AsyncIterable<Uint8Array> {
    return this.#caller.bytes({ method: 'GET', path: '/metrics' }, options);
  }
}
