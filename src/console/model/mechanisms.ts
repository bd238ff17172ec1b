/**
 * The nine mechanisms as the console teaches them, as data: what each does, which figures tell that it works, and its switch.
 * What they show is drawn by pictures/. Long explanations stand in docs/mechanisms, which the console has beside itself.
 */
import type { PartitionSpec, SwitchChange, Switches } from '../../client/index.ts';
import type { HeartbeatReport } from './cluster/report.ts';
import { bytes, count, perSecond } from './format.ts';

/** Their counters and their switch are the cluster's. */
export const CLUSTER_MECHANISMS = ['failover-heartbeats', 'failover-methods'] as const;
export type ClusterMechanismId = (typeof CLUSTER_MECHANISMS)[number];
export type GuestMechanismId =
  | 'protection-tables'
  | 'nested-virtualization'
  | 'promotion'
  | 'interrupt-relay'
  | 'code-overlay'
  | 'shadow-tables'
  | 'network-paths';
export type MechanismId = GuestMechanismId | ClusterMechanismId;

export function isOfCluster(id: MechanismId): id is ClusterMechanismId {
  return CLUSTER_MECHANISMS.some((one) => one === id);
}

export interface Figure {
  readonly title: string;
  /** A path of a sample (figures.ts). */
  readonly path: string;
  /** Its growth for each second, or as it stands. */
  readonly as: 'rate' | 'level' | 'bytes';
}

export type MechanismSwitch =
  /** Thrown while the guest runs. */
  | {
      readonly kind: 'live';
      readonly positions: readonly string[];
      readonly of: (switches: Switches) => string | undefined;
      readonly change: (position: string) => SwitchChange;
    }
  /** Chosen when a partition starts: another choice starts it again. */
  | {
      readonly kind: 'at-start';
      readonly flag: string;
      readonly positions: readonly string[];
      readonly of: (spec: PartitionSpec) => string;
      readonly change: (position: string) => Partial<PartitionSpec>;
    }
  /** Declared, and taken up while it runs; undefined: the cluster does not keep the partition up. */
  | {
      readonly kind: 'declared';
      readonly flag: string;
      readonly positions: readonly string[];
      readonly of: (spec: PartitionSpec) => string | undefined;
      readonly change: (position: string, spec: PartitionSpec) => Partial<PartitionSpec>;
    }
  /** Of this host's heartbeats, while they go. */
  | { readonly kind: 'heartbeats'; readonly positions: readonly HeartbeatReport['mode'][] };

export interface Mechanism {
  readonly id: MechanismId;
  readonly number: number;
  readonly title: string;
  /** Short and plain, a paragraph each. */
  readonly text: readonly string[];
  readonly figures: readonly Figure[];
  readonly switch: MechanismSwitch;
}

const figure =
  (as: Figure['as']) =>
  (title: string, path: string): Figure => ({ title, path, as });
const [rate, level, size] = [figure('rate'), figure('level'), figure('bytes')];

type Flag = 'protection' | 'nested' | 'relay' | 'overlay';

function atStart(member: Flag, flag: string, byDefault: boolean): MechanismSwitch {
  const word = (on: boolean): string => (on ? 'on' : 'off');
  return {
    kind: 'at-start',
    flag,
    positions: ['on', 'off'],
    of: (spec) => word(spec[member] ?? byDefault),
    change: (position) => ({ [member]: position === 'on' }),
  };
}

const SHADOWS_BY_DEFAULT = 32;
const METHODS = ['auto', 'fixed:cold', 'fixed:warm', 'fixed:hot', 'fixed:pair'] as const;

export const mechanisms: readonly Mechanism[] = [
  {
    ...{ id: 'protection-tables', number: 1, title: 'Memory protection tables' },
    text: [
      'Kernel, user programs, firmware and each device share one memory. Each is a domain, and each domain has a table that says which frames it may read, write and execute. Whoever runs, its table is asked at every fetch, load, store, page-table walk and DMA.',
      'A right that is taken away here is gone at the very next access; what is forbidden faults as the architecture has it, changes nothing, and is counted below.',
    ],
    figures: [
      level('Changes of rights', 'protection.changes'),
      level('Ranges with something denied', 'protection.rules'),
      size('Bytes of tables', 'protection.tables.bytes'),
      rate('Instructions', 'instructions.translated'),
    ],
    switch: atStart('protection', '--protection', false),
  },
  {
    ...{ id: 'nested-virtualization', number: 2, title: 'Nested virtualization' },
    text: [
      "A guest may be a hypervisor and run guests of its own. Each hart keeps two status areas: the hypervisor's (host) and its guest's (guest). One of them is active.",
      'Each entry and exit has a cause, and the cause selects the area that is active next: by a pointer, nothing is copied. The counters tell which cause selected which area, and how often.',
    ],
    figures: [
      rate('Entries by sret', 'nested.entries.sret'),
      rate('Entries by mret', 'nested.entries.mret'),
      rate('Returns inside the guest', 'nested.within.returns'),
    ],
    switch: atStart('nested', '--nested', false),
  },
  {
    ...{ id: 'promotion', number: 3, title: 'Promotion' },
    text: [
      'Some instructions are sensitive: they read the time, call the SBI, touch a device. They are emulated first, and each time the hart has to leave its translated code for that. Where it happens often, the site is promoted: code that does the work stands where the instruction was, and the hart stays.',
      'A site that became rare is demoted, and its bytes are given back. Switch it off and watch the exits rise.',
    ],
    figures: [
      rate('Exits', 'exits'),
      rate('Exits for devices', 'exits.mmio'),
      rate('Exits for calls', 'exits.call'),
      rate('Device accesses without an exit', 'promotion.accesses'),
      rate('SBI calls without an exit', 'promotion.calls'),
      rate('Instructions by translated code', 'instructions.translated'),
      size('Bytes of promotion code', 'promotion.bytes'),
    ],
    switch: {
      kind: 'live',
      positions: ['auto', 'off', 'always'],
      of: ({ promotion }) => promotion,
      change: (position) => ({ promotion: position === 'off' || position === 'always' ? position : 'auto' }),
    },
  },
  {
    ...{ id: 'interrupt-relay', number: 4, title: 'Interrupt relay' },
    text: [
      'Between the functions of a PCI Express port and their bridge stands a relay. It forwards each interrupt as it is, and notes the requester. So it is known who interrupted, also where functions share a line, and no device is asked.',
      'Polls avoided are questions to devices that would have been asked without it.',
    ],
    figures: [
      rate('Interrupts', 'relay.interrupts'),
      rate('Polls of functions', 'relay.polls'),
      rate('Polls avoided', 'relay.pollsAvoided'),
      level('Polls avoided so far', 'relay.pollsAvoided'),
    ],
    switch: atStart('relay', '--relay', true),
  },
  {
    ...{ id: 'code-overlay', number: 5, title: 'Code overlay' },
    text: [
      'An instruction that the hart cannot execute as it stands is replaced in a copy of its frame, from which it is fetched. The guest never sees the copy: when it reads its own code, the original is there.',
      'Overlays serve extensions that are emulated, breakpoints of the debugger, and instructions that a policy traps (for one: traps: ["wfi"] in the specification).',
    ],
    figures: [
      level('Overlaid frames', 'overlay.frames'),
      rate('Executions by substitutes', 'overlay.executions'),
      rate('Emulations by trap', 'overlay.emulations'),
      rate('Exits by illegal instructions', 'exits.illegal'),
    ],
    switch: atStart('overlay', '--overlay', true),
  },
  {
    ...{ id: 'shadow-tables', number: 6, title: 'Shadow page tables' },
    text: [
      "A hart keeps several shadows of the guest's page tables. When the guest turns to another program, it changes its root. If that root has a shadow, the shadow is registered and nothing is built: a hit. If not, one is allocated: a miss.",
      'Each box below is a shadow, filled as far as its table is. With one shadow alone every change is a miss.',
    ],
    figures: [
      rate('Hits', 'shadows.hits'),
      rate('Misses', 'shadows.misses'),
      rate('Begun anew', 'shadows.builds'),
      rate('Walks of page tables', 'shadows.refillsByWalk'),
      rate('Refills from a shadow', 'shadows.refillsByShadow'),
    ],
    switch: {
      kind: 'at-start',
      flag: '--shadows',
      positions: [String(SHADOWS_BY_DEFAULT), '1'],
      of: ({ shadows = SHADOWS_BY_DEFAULT }) => String(shadows),
      change: (position) => ({ shadows: Number(position) }),
    },
  },
  {
    ...{ id: 'failover-heartbeats', number: 7, title: 'Failover with constant heartbeats' },
    text: [
      "In each guest a slave tells its host's master that it is well; that stays on the host. Masters tell each other how all their guests are, in one packet of fixed size for each neighbour on a ring and interval. So what goes between hosts does not grow with guests, and a standby's slave hears nothing while all is well.",
      "Switched to direct, each guest's slave tells its standby by itself, for comparison: with many guests there are many packets. The switch is this host's.",
    ],
    figures: [
      { title: 'Packets to other hosts', path: 'heartbeats.sent', as: 'rate' },
      { title: 'Bytes to other hosts', path: 'heartbeats.sentBytes', as: 'rate' },
      { title: 'Of them from slave to slave', path: 'heartbeats.sent.direct.packets', as: 'rate' },
      { title: "Slaves' beats, within this host", path: 'heartbeats.localBeats', as: 'rate' },
      { title: 'Slaves on this host', path: 'slaves', as: 'level' },
      { title: "Heartbeats that standbys' slaves got here", path: 'heartbeats.beatsToStandby', as: 'level' },
      { title: 'Orders to standbys', path: 'heartbeats.ordersToStandby', as: 'level' },
    ],
    switch: { kind: 'heartbeats', positions: ['constant', 'direct'] },
  },
  {
    ...{ id: 'failover-methods', number: 8, title: 'Failover method per guest' },
    text: [
      'A guest says what it needs: how soon it must be back, how much may be lost, how many of its cores it must have. By what its boot, its checkpoints and its memory were measured to cost, the cheapest method that meets that is put in force, with a place for it; and it is chosen anew when hosts, load or needs change.',
      'Fix a method and see what it costs, or what it misses.',
    ],
    figures: [
      { title: 'Price of the method in force', path: 'guest.price', as: 'level' },
      { title: 'Seconds until it is back, by its figures', path: 'guest.recoveryS', as: 'level' },
      { title: 'Memory held on the other host', path: 'guest.memoryBytes', as: 'bytes' },
      { title: 'Disk held on the other host', path: 'guest.diskBytes', as: 'bytes' },
      { title: 'Bytes between hosts, each second', path: 'guest.bytesPerS', as: 'bytes' },
      { title: 'Needs that are missed', path: 'guest.missed', as: 'level' },
    ],
    switch: {
      kind: 'declared',
      flag: '--method',
      positions: METHODS,
      of: ({ failover }) => (failover === undefined ? undefined : (failover.method ?? 'auto')),
      change: (position, { failover }) => ({
        failover: { ...failover, method: METHODS.find((one) => one === position) ?? 'auto' },
      }),
    },
  },
  {
    ...{ id: 'network-paths', number: 9, title: 'Network paths' },
    text: [
      'Guests do not own network cards: a table maps each virtual interface to uplinks, of which one is in force. When that path fails, because its carrier is lost or in silence, the mapping changes and the network is told. The guest notices nothing.',
      'With failover off the mapping stays on the path that failed.',
    ],
    figures: [],
    switch: {
      kind: 'live',
      positions: ['on', 'off'],
      of: ({ pathFailover }) => (pathFailover === undefined ? undefined : pathFailover ? 'on' : 'off'),
      change: (position) => ({ pathFailover: position === 'on' }),
    },
  },
];

export function formatOf({ as }: Figure): (value: number) => string {
  return { rate: perSecond, level: count, bytes }[as];
}

/** `+35 %`, `3.2 times`; empty where there is nothing to compare. */
export function difference(before: number | undefined, after: number | undefined): string {
  if (before === undefined || after === undefined) return '';
  if (before === after) return 'the same';
  if (before === 0) return 'from nothing';
  const ratio = after / before;
  if (ratio >= 2) return `${ratio.toFixed(ratio >= 10 ? 0 : 1)} times as much`;
  return `${ratio >= 1 ? '+' : '−'}${Math.abs((ratio - 1) * 100).toFixed(0)} %`;
}
