/**
 * What the mechanisms are worth, measured in the simulated world: heartbeat traffic by the number of guests, a thousand guests that
 * fail over at once, methods compared. bench/cluster.ts prints them, tests hold them to their bounds.
 */
import type { DatagramKind } from '../heartbeat/datagrams.ts';
import type { GuestSpec, Method } from '../model.ts';
import { estimate } from '../planner/estimate.ts';
import type { Costs } from '../ports.ts';
import { DEFAULT_SETTINGS, type Settings } from '../settings.ts';
import { decode, keyOf, OWNER, PLACEMENT } from '../store/records.ts';
import { Random } from './random.ts';
import type { SimGuest } from './sim-guest.ts';
import { World } from './world.ts';

const GIB = 2 ** 30;
const MIB = 2 ** 20;

export interface TrafficRow {
  readonly guests: number;
  readonly packetsPerS: number;
  readonly bytesPerS: number;
  readonly packets: Readonly<Record<DatagramKind, number>>;
  /** Beats that stayed on their hosts. */
  readonly localBeatsPerS: number;
  /** Messages of any kind to slaves of standbys. */
  readonly toStandbys: number;
}

/** All traffic between three hosts with that many guests in pairs, while all are well; `seconds` of it. */
export function heartbeatTraffic(guests: number, heartbeats: Settings['heartbeats'], seconds = 20): TrafficRow {
  const settings = { ...DEFAULT_SETTINGS, heartbeats, startsAtOnce: 1000 };
  const world = new World({ seed: 1, settings, actMs: 10_000 });
  const capacity = { cores: 4000, memoryBytes: 4000 * GIB, diskBytes: 0 };
  for (const name of ['a', 'b', 'c']) world.addHost({ name, address: name, capacity, labels: {} });
  world.run(6000);
  for (let i = 0; i < guests; i += 1)
    world.addGuest(guestSpec(`guest${i}`, { methods: ['pair'], memoryBytes: MIB }), { ...COSTS, bootMs: 100 });
  world.run(60_000);
  const before = counters(world);
  world.run(seconds * 1000);
  const after = counters(world);
  const intervalsS = ((after.intervals - before.intervals) * settings.beatMs) / 1000 / world.hosts.size;
  const packets = { ...after.packets };
  for (const kind of Object.keys(packets) as DatagramKind[]) packets[kind] -= before.packets[kind];
  return {
    guests,
    packets,
    // By the intervals that passed: a second's edge may fall beside one.
    packetsPerS: (after.all - before.all) / intervalsS,
    bytesPerS: (after.bytes - before.bytes) / intervalsS,
    localBeatsPerS: (after.local - before.local) / seconds,
    toStandbys: after.toStandbys,
  };
}

/** A host with active guests of pairs dies: what its standbys' slaves hear before, and after. */
export function standbySilence(guests: number): {
  readonly before: number;
  readonly orders: number;
  readonly takeovers: number;
} {
  const world = new World({ seed: 2, settings: { ...DEFAULT_SETTINGS, startsAtOnce: 100 } });
  const capacity = { cores: 400, memoryBytes: 400 * GIB, diskBytes: 0 };
  for (const name of ['a', 'b', 'c']) world.addHost({ name, address: name, capacity, labels: {} });
  world.run(6000);
  for (let i = 0; i < guests; i += 1)
    world.addGuest(guestSpec(`guest${i}`, { methods: ['pair'], memoryBytes: MIB }), { ...COSTS, bootMs: 100 });
  world.run(40_000);
  const before = toStandbys(world);
  world.hosts.get('a')?.crash();
  world.run(15_000);
  return { before, orders: toStandbys(world) - before, takeovers: world.invariants.pairTakeovers };
}

export interface FailoverRow {
  readonly priority: number;
  readonly guests: number;
  readonly recoveryTimeMs: number;
  readonly medianMs: number;
  readonly p99Ms: number;
  readonly worstMs: number;
  readonly late: number;
}

export interface MassFailover {
  readonly failed: number;
  readonly rows: readonly FailoverRow[];
  readonly violation: string | undefined;
  readonly conflicts: number;
}

/** A host with so many guests of three priorities dies; the others, half full of what they have to do, take them over. */
export function massFailover({ seed = 1, guests = 1000, targets = 19 } = {}): MassFailover {
  const settings = { ...DEFAULT_SETTINGS, startsAtOnce: 12 };
  const world = new World({ seed, settings, actMs: 1000 });
  const random = new Random(seed);
  const big = { cores: guests, memoryBytes: 2 * guests * GIB, diskBytes: 0 };
  world.addHost({ name: 'host0', address: '0', capacity: big, labels: {} });
  world.run(3000);
  for (let i = 0; i < guests; i += 1) world.addGuest(...massGuest(i, random));
  const fill = world.until(() => [...world.guests.values()].every(({ actedMs }) => actedMs > 0), 900_000);
  const share = Math.ceil(guests / targets);
  const capacity = { cores: 0.75 * share, memoryBytes: 1.3 * share * 1.6 * GIB, diskBytes: 8 * share * GIB };
  for (let i = 1; i <= targets; i += 1) world.addHost({ name: `host${i}`, address: `${i}`, capacity, labels: {} });
  world.run(60_000);
  const failed = [...world.guests.values()];
  const crashMs = world.queue.nowMs;
  let violation: string | undefined = fill ? undefined : 'not all guests ran before';
  const recovered = new Map<SimGuest, number>();
  try {
    world.hosts.get('host0')?.crash();
    const isOver = world.until(() => allBack(failed, crashMs, recovered), 300_000);
    if (!isOver) violation = `${failed.length - recovered.size} guests did not come back`;
  } catch (error) {
    violation = String(error);
  }
  const rows = [9, 5, 1].map((priority) => rowOf(priority, failed, recovered));
  return { failed: failed.length, rows, violation, conflicts: conflictsOf(world) };
}

function massGuest(index: number, random: Random): [GuestSpec, Costs] {
  const tenth = index % 10;
  const [priority, recoveryTimeMs, methods]: [number, number, Method[]] =
    tenth === 0 ? [9, 6000, ['warm', 'hot']] : tenth < 4 ? [5, 30_000, ['cold', 'warm']] : [1, 120_000, ['cold']];
  const requirements = { recoveryTimeMs, performanceFloor: 0.5, priority };
  const costs = { ...COSTS, bootMs: random.between(3000, 8000), restoreMs: random.between(300, 900) };
  return [guestSpec(`guest${index}`, { requirements, methods, memoryBytes: 1.6 * GIB, cores: 1 }), costs];
}

/** Notes who is back, and says whether all are. */
function allBack(failed: readonly SimGuest[], crashMs: number, recovered: Map<SimGuest, number>): boolean {
  for (const guest of failed)
    if (!recovered.has(guest) && guest.actedMs > crashMs + 500) recovered.set(guest, guest.actedMs - crashMs);
  return recovered.size === failed.length;
}

export interface MethodsRow {
  readonly choice: 'hot' | 'cold' | 'selected';
  /** Held for standbys in the whole cluster. */
  readonly memoryGib: number;
  readonly cores: number;
  readonly diskGib: number;
  readonly mbPerS: number;
  /** Guests whose needs the method does not meet, by its measured costs. */
  readonly missed: number;
  /** Guests of a host that was killed, those that were back too late, and the longest time. */
  readonly failed: number;
  readonly late: number;
  readonly guests: number;
}

/** The same guests with every method forced, and with the planner's choice. */
export function compareMethods(choice: MethodsRow['choice'], guests = 120, hosts = 8): MethodsRow {
  const settings = DEFAULT_SETTINGS;
  const world = new World({ seed: 5, settings, actMs: 300 });
  const capacity = { cores: 64, memoryBytes: 128 * GIB, diskBytes: 2000 * GIB };
  for (let i = 0; i < hosts; i += 1) world.addHost({ name: `host${i}`, address: `${i}`, capacity, labels: {} });
  world.run(6000);
  const random = new Random(5);
  for (let i = 0; i < guests; i += 1) {
    const requirements = {
      recoveryTimeMs: random.pick([4500, 8000, 30_000, 60_000, 60_000]),
      ...(random.chance(0.3) ? { dataLossMs: random.pick([0, 5000, 30_000]) } : {}),
      performanceFloor: 0.25,
      priority: random.whole(1, 9),
    };
    const memoryBytes = GIB * random.pick([1, 2, 4]);
    const costs = {
      ...COSTS,
      bootMs: random.between(5000, 15_000),
      checkpointBytes: memoryBytes / 50,
      dirtyBytesPerS: memoryBytes / 200,
    };
    const fixed = choice === 'selected' ? {} : { fixed: choice };
    world.addGuest({ ...guestSpec(`guest${i}`, { requirements, memoryBytes, cores: 2 }), ...fixed }, costs);
  }
  world.until(() => [...world.guests.values()].every(({ actedMs }) => actedMs > 0), 200_000);
  world.run(30_000);
  const sums = { memoryBytes: 0, cores: 0, diskBytes: 0, bytesPerS: 0, missed: 0 };
  for (const { spec, costs } of world.guests.values()) {
    const placement = decode(PLACEMENT, world.store.state.get(keyOf(PLACEMENT, spec.name))?.value);
    const method = placement?.associations[0]?.method;
    if (placement === undefined || method === undefined || placement.missed.length > 0) sums.missed += 1;
    if (method === undefined) continue;
    const one = estimate(method, spec, costs, settings);
    for (const kind of ['memoryBytes', 'cores', 'diskBytes', 'bytesPerS'] as const) sums[kind] += one[kind];
  }
  const crash = killOne(world, 'host1');
  return {
    ...{ choice, guests, missed: sums.missed, cores: sums.cores, mbPerS: sums.bytesPerS / 1e6 },
    ...{ memoryGib: sums.memoryBytes / GIB, diskGib: sums.diskBytes / GIB, ...crash },
  };
}

/** A host dies, and boots again after a while; which of its guests were late. */
function killOne(world: World, name: string): { readonly failed: number; readonly late: number } {
  const failed = [...world.guests.values()].filter(
    ({ spec }) => decode(OWNER, world.store.state.get(keyOf(OWNER, spec.name))?.value)?.host === name,
  );
  const crashMs = world.queue.nowMs;
  world.hosts.get(name)?.crash();
  const recovered = new Map<SimGuest, number>();
  world.until(() => allBack(failed, crashMs, recovered), 120_000);
  const late = failed.filter(
    (guest) => (recovered.get(guest) ?? Number.POSITIVE_INFINITY) > guest.spec.requirements.recoveryTimeMs,
  );
  return { failed: failed.length, late: late.length };
}

function rowOf(priority: number, failed: readonly SimGuest[], recovered: ReadonlyMap<SimGuest, number>): FailoverRow {
  const mine = failed.filter(({ spec }) => spec.requirements.priority === priority);
  const times = mine.map((guest) => recovered.get(guest) ?? Number.POSITIVE_INFINITY).sort((a, b) => a - b);
  const recoveryTimeMs = mine[0]?.spec.requirements.recoveryTimeMs ?? 0;
  const at = (part: number): number => times[Math.min(times.length - 1, Math.floor(times.length * part))] ?? 0;
  const late = times.filter((ms) => ms > recoveryTimeMs).length;
  return { priority, guests: mine.length, recoveryTimeMs, medianMs: at(0.5), p99Ms: at(0.99), worstMs: at(1), late };
}

function conflictsOf(world: World): number {
  return [...world.hosts.values()].reduce((sum, { director }) => sum + (director?.claims.counters.conflicts ?? 0), 0);
}

function counters(world: World) {
  const packets: Record<DatagramKind, number> = { beat: 0, pull: 0, details: 0, direct: 0 };
  let [all, bytes, local, intervals] = [0, 0, 0, 0];
  for (const { director } of world.hosts.values()) {
    if (director === undefined) continue;
    const { sent, localBeats } = director.master.counters;
    local += localBeats;
    intervals += director.master.counters.intervals;
    for (const kind of Object.keys(packets) as DatagramKind[]) {
      packets[kind] += sent[kind].packets;
      all += sent[kind].packets;
      bytes += sent[kind].bytes;
    }
  }
  return { packets, all, bytes, local, intervals, toStandbys: toStandbys(world) };
}

/** Heartbeats and orders together. */
function toStandbys(world: World): number {
  let sum = 0;
  for (const { director, takeOverOrders } of world.hosts.values())
    sum += takeOverOrders + (director?.master.counters.beatsToStandby ?? 0);
  return sum;
}

const COSTS: Costs = {
  bootMs: 5000,
  restoreMs: 500,
  checkpointMs: 20,
  checkpointBytes: 20 * MIB,
  dirtyBytesPerS: 10 * MIB,
  applicationRestartMs: 500,
};

function guestSpec(name: string, more: Partial<GuestSpec>): GuestSpec {
  const requirements = { recoveryTimeMs: 10_000, performanceFloor: 0.5, priority: 1 };
  const size = { cores: 1, memoryBytes: GIB, diskBytes: 0 };
  return { name, ...size, requirements, methods: ['cold', 'warm', 'hot'], wanted: 'running', ...more };
}
