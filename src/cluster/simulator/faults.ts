/** What goes wrong in the simulated world: each fault has a name, begins, and ends by itself. */
import { change } from '../membership/membership.ts';
import type { GuestSpec, HostState } from '../model.ts';
import { decode, HOST, keyOf } from '../store/records.ts';
import type { SimHost } from './sim-host.ts';
import type { World } from './world.ts';

export const FAULTS = [
  'partition',
  'cut-from-store',
  'isolated',
  'host-stopped',
  'daemon-stopped',
  'machine-stopped',
  'stopped-before-write',
  'clock-jump',
  'store-outage',
  'store-leader-change',
  'host-crash',
  'daemon-crash',
  'flapping',
  'machine-crash',
  'application-failed',
  'guest-hung',
  'loss',
  'overload',
  'requirements',
  'drain',
  'leave',
  'guest-stopped',
] as const;
export type Fault = (typeof FAULTS)[number];

/** Begins it, and says which; it is over within 10 s, or when `heal` is called. */
export function strike(world: World, fault: Fault): void {
  const { random, queue } = world;
  const host = random.pick([...world.hosts.values()]);
  const ms = random.between(200, 8000);
  world.say(`fault: ${fault} ${host.name} ${Math.round(ms)}`);
  switch (fault) {
    case 'partition':
      split(world);
      queue.after(ms, () => world.sides.clear());
      return;
    case 'cut-from-store':
      host.isCutFromStore = true;
      queue.after(ms, () => {
        host.isCutFromStore = false;
      });
      return;
    case 'isolated':
      world.sides.set(host.name, 1);
      host.isCutFromStore = true;
      queue.after(ms, () => {
        world.sides.delete(host.name);
        host.isCutFromStore = false;
      });
      return;
    case 'host-stopped':
      host.freeze(ms);
      return;
    case 'daemon-stopped': {
      const { daemon } = host;
      daemon.stop();
      queue.after(ms, () => daemon.resume());
      return;
    }
    case 'machine-stopped': {
      const machine = anyMachine(world, host);
      machine?.process.stop();
      queue.after(ms, () => machine?.process.resume());
      return;
    }
    case 'stopped-before-write':
      // Long enough for a takeover meanwhile.
      host.freezeAtActMs = 3000 + ms;
      return;
    case 'clock-jump':
      host.jumpMs += random.pick([1, 20]) * random.between(-3000, 3000);
      return;
    case 'store-outage':
      down(world, ms);
      return;
    case 'store-leader-change':
      down(world, random.between(200, 1500));
      return;
    case 'host-crash':
      crash(world, host, ms);
      return;
    case 'daemon-crash':
      host.crashDaemon();
      queue.after(ms / 2, () => host.startDaemon());
      return;
    case 'flapping':
      flap(world, host, random.whole(3, 6));
      return;
    case 'machine-crash':
      crashMachine(world, host);
      return;
    case 'application-failed': {
      const machine = anyMachine(world, host);
      if (machine !== undefined) machine.isApplicationWell = false;
      return;
    }
    case 'guest-hung': {
      const machine = anyMachine(world, host);
      if (machine !== undefined) machine.isHung = true;
      return;
    }
    case 'loss':
      world.loss = random.between(0.05, 0.5);
      world.duplicates = random.between(0, 0.3);
      queue.after(ms, () => {
        world.loss = 0;
        world.duplicates = 0;
      });
      return;
    case 'overload':
      host.latenessMs = random.between(50, 500);
      queue.after(ms, () => {
        host.latenessMs = 2;
      });
      return;
    case 'drain':
      if (world.store.isDown) return;
      setState(world, host, 'active', 'draining');
      queue.after(ms, () => setState(world, host, 'draining', 'active'));
      return;
    case 'leave': {
      const { director } = host;
      director?.leave();
      // The operator starts it again, whether it was done or not.
      queue.after(ms, () => {
        if (host.director === director) host.crashDaemon();
        host.startDaemon();
      });
      return;
    }
    case 'guest-stopped': {
      if (world.store.isDown) return;
      const guest = random.pick([...world.guests.keys()]);
      want(world, guest, 'stopped');
      queue.after(ms, () => want(world, guest, 'running'));
      return;
    }
    case 'requirements': {
      const guest = random.pick([...world.guests.keys()]);
      const spec = world.specOf(guest);
      if (spec === undefined) return;
      const recoveryTimeMs = random.pick([4500, 8000, 60_000]);
      world.writeSpec({ ...spec, requirements: { ...spec.requirements, recoveryTimeMs } });
    }
  }
}

/** Everything is as it should be from now on; what stands still goes on by itself within 10 s. */
export function heal(world: World): void {
  world.isCalm = true;
  world.sides.clear();
  world.loss = 0;
  world.duplicates = 0;
  world.store.isDown = false;
  for (const host of world.hosts.values()) {
    host.isCutFromStore = false;
    host.freezeAtActMs = 0;
    host.latenessMs = 2;
    if (!host.isUp) host.boot();
    else host.startDaemon();
  }
}

/** As an operator's command does it: again, until the store answers. */
function setState(world: World, host: SimHost, from: HostState, to: HostState): void {
  const { state, isDown } = world.store;
  if (isDown) {
    world.queue.after(500, () => setState(world, host, from, to));
    return;
  }
  const entry = state.get(keyOf(HOST, host.name));
  const record = decode(HOST, entry?.value);
  if (entry === undefined || record?.state !== from) return;
  world.store.commit(change({ value: record, revision: entry.revision }, { state: to }));
}

function want(world: World, guest: string, wanted: GuestSpec['wanted']): void {
  const spec = world.specOf(guest);
  if (world.store.isDown) world.queue.after(500, () => want(world, guest, wanted));
  else if (spec !== undefined) world.writeSpec({ ...spec, wanted });
}

function split(world: World): void {
  for (const name of world.hosts.keys()) if (world.random.chance(0.4)) world.sides.set(name, 1);
}

function down(world: World, ms: number): void {
  world.store.isDown = true;
  world.queue.after(ms, () => {
    world.store.isDown = false;
  });
}

function crash(world: World, host: SimHost, ms: number): void {
  if (!host.isUp) return;
  host.crash();
  world.queue.after(ms, () => {
    if (!host.isUp) host.boot();
  });
}

function flap(world: World, host: SimHost, times: number): void {
  if (world.isCalm) return;
  crash(world, host, world.random.between(500, 5000));
  if (times > 1) world.queue.after(world.random.between(5500, 9000), () => flap(world, host, times - 1));
}

function anyMachine(world: World, host: SimHost) {
  const machines = [...host.machines.values()];
  return machines.length === 0 ? undefined : world.random.pick(machines);
}

function crashMachine(world: World, host: SimHost): void {
  const machine = anyMachine(world, host);
  if (machine === undefined) return;
  machine.process.kill();
  host.machines.delete(machine.guest.spec.name);
  host.after(host.daemon, 5, () => host.director?.machineEnded(machine.guest.spec.name, machine.generation));
}
