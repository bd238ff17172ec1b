/**
 * A run of the simulator from one seed: its size, its guests, its faults, and what must be true when they are over. Most are
 * small, so that there can be many; some have dozens of hosts, a few more than a hundred.
 */
import { type GuestSpec, METHODS, type Method } from '../model.ts';
import type { Costs } from '../ports.ts';
import { DEFAULT_SETTINGS, type Settings } from '../settings.ts';
import { decode, keyOf, OWNER, PLACEMENT } from '../store/records.ts';
import { FAULTS, type Fault, heal, strike } from './faults.ts';
import { Violation } from './invariants.ts';
import { Random } from './random.ts';
import { type Rule, ruleOf } from './rules.ts';
import { World } from './world.ts';

const GIB = 2 ** 30;
/** Faults come in this time, after the cluster has formed; then it has this time to be whole again. */
const FORM_MS = 6000;
const CALM_MS = 60_000;
/** Of the calm, the part in which placements settle. */
const SETTLING_MS = 35_000;

export interface ScenarioOptions {
  readonly broken?: Rule | undefined;
  readonly trace?: (line: string) => void;
  /** Only these faults; all by default. */
  readonly faults?: readonly Fault[];
  /** So many, whatever the seed says. */
  readonly hosts?: number | undefined;
  readonly guestsPerHost?: number | undefined;
}

export interface ScenarioResult {
  readonly seed: number;
  readonly hosts: number;
  readonly guests: number;
  readonly events: number;
  readonly takeovers: number;
  readonly lateBatches: number;
  /** Undefined: everything held. */
  readonly violation: string | undefined;
}

export function runScenario(seed: number, options: ScenarioOptions = {}): ScenarioResult {
  const { broken, trace, faults } = options;
  const strikes = faults ?? (broken === undefined ? undefined : ruleOf(broken).faults) ?? FAULTS;
  const random = new Random(seed * 7919 + 1);
  const [bySeed, chaosMs] = sizeOf(seed, random);
  const hostCount = options.hosts ?? bySeed;
  const settings = settingsFor(broken, random);
  const actMs = hostCount > 8 ? 1000 : 200;
  const world = new World({ seed, settings, broken, actMs, ...(trace === undefined ? {} : { trace }) });
  const guests = populate(world, random, hostCount, options.guestsPerHost);
  let violation: string | undefined;
  try {
    world.run(FORM_MS);
    chaos(world, random, chaosMs, strikes);
    heal(world);
    world.invariants.lastFaultMs = world.queue.nowMs;
    world.run(CALM_MS);
    finish(world);
  } catch (error) {
    if (!(error instanceof Violation)) throw error;
    violation = error.message;
  }
  const { takeovers, lateBatches } = world.invariants;
  return { seed, hosts: hostCount, guests, events: world.queue.events, takeovers, lateBatches, violation };
}

/** Hosts, and for how long faults come. */
function sizeOf(seed: number, random: Random): [number, number] {
  if (seed % 500 === 0) return [random.whole(100, 200), 10_000];
  if (seed % 50 === 0) return [random.whole(12, 40), 15_000];
  return [random.whole(2, 6), random.between(15_000, 40_000)];
}

function settingsFor(broken: Rule | undefined, random: Random): Settings {
  // Half of the runs have short quarantines, so that hosts come out of it within the run.
  const quarantineMs = random.chance(0.5) ? 60_000 : 8000;
  const settings = { ...DEFAULT_SETTINGS, quarantineMs, lastingMs: 5000, restMs: 20_000 };
  switch (broken) {
    case 'hysteresis':
      return { ...settings, lastingMs: 0, restMs: 0, cheaper: 1 };
    case 'margin':
      return { ...settings, marginMs: -1500 };
    case 'quarantine':
      return { ...settings, fencesToQuarantine: 1000 };
    case 'constant-heartbeats':
      return { ...settings, heartbeats: 'direct' };
    default:
      return settings;
  }
}

function populate(world: World, random: Random, hostCount: number, guestsPerHost?: number): number {
  const cores = random.pick([4, 8, 16]);
  const capacity = { cores, memoryBytes: cores * 4 * GIB, diskBytes: cores * 50 * GIB };
  for (let i = 0; i < hostCount; i += 1)
    world.addHost({ name: `host${i}`, address: `10.0.0.${i}:7070`, capacity, labels: {} });
  // Guests may be there before their hosts are.
  if (random.chance(0.7)) world.run(4000);
  // Filled so far that the loss of one host can be borne, and now and then beyond.
  const perHost = guestsPerHost ?? (hostCount > 8 ? 4 : random.whole(1, 4));
  const guests = Math.max(1, Math.round(perHost * (hostCount - 1)));
  for (let i = 0; i < guests; i += 1) world.addGuest(...guestFor(random, i, capacity, perHost));
  return guests;
}

function guestFor(
  random: Random,
  index: number,
  host: { cores: number; memoryBytes: number },
  perHost: number,
): [GuestSpec, Costs] {
  const methods: Method[] = random.chance(0.2) ? [...METHODS] : ['cold', 'warm', 'hot'];
  const requirements = {
    recoveryTimeMs: random.pick([4500, 8000, 15_000, 60_000]),
    ...(random.chance(0.5) ? { dataLossMs: random.pick([0, 2000, 10_000]) } : {}),
    performanceFloor: random.pick([0, 0.25, 0.5, 1]),
    priority: random.whole(0, 9),
  };
  const spec: GuestSpec = {
    name: `guest${index}`,
    cores: Math.max(1, Math.floor(host.cores / perHost / 2)),
    memoryBytes: Math.floor((host.memoryBytes / perHost) * random.between(0.2, 0.6)),
    diskBytes: 0,
    requirements,
    ...(random.chance(0.2) ? { group: `group${Math.floor(index / 2)}` } : {}),
    methods,
    wanted: 'running',
  };
  const memory = spec.memoryBytes;
  const costs: Costs = {
    bootMs: random.between(1500, 8000),
    restoreMs: random.between(300, 1500),
    checkpointMs: random.between(5, 60),
    checkpointBytes: memory * random.between(0.001, 0.02),
    dirtyBytesPerS: memory * random.between(0.0005, 0.01),
    applicationRestartMs: random.between(200, 1500),
  };
  return [spec, costs];
}

function chaos(world: World, random: Random, chaosMs: number, faults: readonly Fault[]): void {
  const endMs = world.queue.nowMs + chaosMs;
  const pace = random.between(500, 6000) / Math.max(1, Math.log2(world.hosts.size / 4));
  while (world.queue.nowMs < endMs) {
    world.run(Math.min(endMs - world.queue.nowMs, random.between(0, pace)));
    strike(world, random.pick(faults));
    world.invariants.lastFaultMs = world.queue.nowMs;
  }
}

/** After the calm: every guest runs, on one host, and does its work; choices have come to rest; slaves of standbys heard nothing. */
function finish(world: World): void {
  const { state } = world.store;
  const settledMs = world.queue.nowMs - (CALM_MS - SETTLING_MS);
  for (const guest of world.guests.values()) {
    const { name } = guest.spec;
    const owner = decode(OWNER, state.get(keyOf(OWNER, name))?.value);
    const machine = owner === undefined ? undefined : world.hosts.get(owner.host)?.machines.get(name);
    const isWell =
      machine?.generation === owner?.generation && machine !== undefined && machine.mayAct() && !machine.isBooting;
    if (!isWell && world.invariants.hasRoom(name))
      world.invariants.fail(`${name} does not run, and there is room for it: ${JSON.stringify(owner)}`);
    const late = guest.changesInForce.filter((ms) => ms > settledMs).length;
    if (late > 1) world.invariants.fail(`${name}: its method in force changed ${late} times while nothing happened`);
    const placement = decode(PLACEMENT, state.get(keyOf(PLACEMENT, name))?.value);
    if (isWell && placement?.associations[0]?.host === owner?.host)
      world.invariants.fail(`${name}: its standby is on its own host`);
  }
  const orders = [...world.hosts.values()].reduce((sum, { takeOverOrders }) => sum + takeOverOrders, 0);
  if (orders > world.invariants.pairTakeovers) world.invariants.fail("standbys' slaves got orders without a takeover");
  for (const { director, name } of world.hosts.values()) {
    if (director === undefined) continue;
    if (!director.isIn) world.invariants.fail(`${name} did not come back into the cluster`);
    if (director.master.counters.beatsToStandby > 0)
      world.invariants.fail(`${name}: a standby's slave was sent heartbeats`);
  }
}
