import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { change } from '../membership/membership.ts';
import type { GuestSpec, HostState, Method } from '../model.ts';
import { DEFAULT_SETTINGS } from '../settings.ts';
import { clusterStatus, STATUS_QUERY } from '../store/cluster-status.ts';
import { decode, HOST, keyOf, LEASE, OWNER, PLACEMENT } from '../store/records.ts';
import type { SimGuest } from './sim-guest.ts';
import type { SimHost } from './sim-host.ts';
import type { SimMachine } from './sim-machine.ts';
import { World } from './world.ts';

const GIB = 2 ** 30;
const BOOT_MS = 6000;

/** Three hosts, and a guest for each method, that run. */
class Lab {
  readonly world: World;
  readonly lines: string[] = [];

  constructor(seed: number, hosts = ['a', 'b', 'c'], settings = {}) {
    this.world = new World({
      ...{ seed, settings: { ...DEFAULT_SETTINGS, ...settings }, actMs: 100 },
      trace: (line) => this.lines.push(line),
    });
    const capacity = { cores: 16, memoryBytes: 64 * GIB, diskBytes: 500 * GIB };
    for (const name of hosts) this.world.addHost({ name, address: name, capacity, labels: {} });
    this.run(6000);
    for (const method of ['cold', 'warm', 'hot', 'pair'] as const) this.add(method, method);
    this.run(30_000);
    for (const guest of this.world.guests.values()) assert.ok(guest.actedMs > 0);
  }

  add(name: string, method: Method, bootMs = BOOT_MS): SimGuest {
    const requirements = { recoveryTimeMs: 60_000, performanceFloor: 0.5, priority: 1 };
    const size = { cores: 2, memoryBytes: 2 * GIB, diskBytes: 0 };
    const spec: GuestSpec = { name, ...size, requirements, methods: [method], fixed: method, wanted: 'running' };
    const costs = { bootMs, restoreMs: 800, checkpointMs: 20, checkpointBytes: 32e6 };
    return this.world.addGuest(spec, { ...costs, dirtyBytesPerS: 8e6, applicationRestartMs: 500 });
  }

  run(ms: number): void {
    this.world.run(ms);
  }

  get nowMs(): number {
    return this.world.queue.nowMs;
  }

  owner(guest: string) {
    const owner = decode(OWNER, this.world.store.state.get(keyOf(OWNER, guest))?.value);
    assert.ok(owner, guest);
    return owner;
  }

  host(name: string): SimHost {
    const host = this.world.hosts.get(name);
    assert.ok(host);
    return host;
  }

  hostOf(guest: string): SimHost {
    return this.host(this.owner(guest).host);
  }

  machine(guest: string): SimMachine {
    const machine = this.hostOf(guest).machines.get(guest);
    assert.ok(machine);
    return machine;
  }

  stateOf(host: string): HostState | undefined {
    return decode(HOST, this.world.store.state.get(keyOf(HOST, host))?.value)?.state;
  }

  said(what: RegExp, sinceMs = 0): string[] {
    return this.lines.filter((line) => Number(line.split(' ')[0]) * 1000 >= sinceMs && what.test(line));
  }

  /** How long after now the guest acts as another generation. */
  backAfterMs(guest: string, limitMs = 60_000): number {
    const sim = this.world.guest(guest);
    const [before, fromMs] = [sim.sent, this.nowMs];
    assert.ok(
      this.world.until(() => sim.sent > before, limitMs),
      `${guest} did not come back`,
    );
    return this.nowMs - fromMs;
  }
}

const SEEDS = Array.from({ length: 30 }, (_, i) => i + 1);

/** Of a takeover, as they are told. That a host was fenced is told when the store's answer comes, which may be later. */
const STEPS = ['planned', 'claimed', 'gate-raised', 'starting', 'started', 'first-beat'];

describe('a host is killed', () => {
  const bounds: [Method, number][] = [
    ['pair', 4000],
    ['hot', 4000],
    ['warm', 7000],
    ['cold', 5000 + BOOT_MS],
  ];
  for (const [method, boundMs] of bounds)
    test(`its ${method} guest is back within ${boundMs} ms, and not before the lease has expired`, () => {
      for (const seed of SEEDS) {
        const lab = new Lab(seed);
        const host = lab.hostOf(method);
        const suspected = new RegExp(`suspected ${host.name}`);
        const killedMs = lab.nowMs;
        host.crash();
        const ms = lab.backAfterMs(method);
        assert.ok(ms <= boundMs, `${ms}`);
        assert.ok(ms >= DEFAULT_SETTINGS.leaseMs - DEFAULT_SETTINGS.renewMs, `${ms}`);
        const [first] = lab.said(suspected, killedMs);
        const suspectedMs = Number(first?.split(' ')[0]) * 1000 - killedMs;
        // It counts from its last beat that arrived: up to two intervals before it died.
        assert.ok(suspectedMs > 700 && suspectedMs <= 1500, `${suspectedMs}`);
        assert.match(lab.said(/started /, killedMs).join(), new RegExp(`${method} \\d+ ${method}`));
        const steps = lab.said(/ (planned|claimed|gate-raised|starting|started|first-beat) /, killedMs);
        const mine = steps.filter((line) => line.split(' ')[3] === (/ planned /.test(line) ? host.name : method));
        assert.deepEqual([...new Set(mine.map((line) => line.split(' ')[2]))], STEPS);
      }
    });

  test('and boots again before anybody noticed: its guests need not wait', () => {
    const lab = new Lab(1);
    const host = lab.hostOf('hot');
    host.crash();
    lab.run(300);
    host.boot();
    assert.ok(lab.backAfterMs('hot') < 1000);
  });
});

describe('a host is stopped, and goes on after the takeover', () => {
  test('also between its check and its write: the write is refused, one batch leaves late at most', () => {
    let late = 0;
    for (const seed of SEEDS) {
      const lab = new Lab(seed);
      const host = lab.hostOf('warm');
      const guests = [...lab.world.guests.values()];
      const refused = (): number => guests.reduce((sum, guest) => sum + guest.refused, 0);
      const before = refused();
      host.freezeAtActMs = 8000;
      assert.ok(lab.backAfterMs('warm') < 7000);
      lab.run(20_000);
      assert.ok(refused() - before <= 1 && lab.world.invariants.lateBatches <= 1);
      late += refused() - before;
      assert.ok(host.director?.isIn, 'it comes back as another incarnation');
      assert.ok(lab.hostOf('warm') === host || !host.machines.has('warm'));
    }
    assert.ok(late > 0, 'it was tried');
  });
});

describe('cut', () => {
  test('hosts from each other, but not from the store: suspected, and nothing moves', () => {
    const lab = new Lab(1);
    const before = JSON.stringify([...lab.world.guests.keys()].map((guest) => lab.owner(guest)));
    lab.world.sides.set('a', 1).set('b', 2);
    lab.run(60_000);
    assert.ok(lab.said(/suspected/).length >= 6);
    assert.deepEqual(lab.said(/fenced/), []);
    const owners = [...lab.world.guests.keys()].map((guest) => ({ ...lab.owner(guest) }));
    // Hot standbys that cannot be reached are off the record; owners stay.
    assert.deepEqual(
      owners.map(({ host, generation }) => ({ host, generation })),
      (JSON.parse(before) as typeof owners).map(({ host, generation }) => ({ host, generation })),
    );
  });

  test('a host from the store: it pauses its guests by itself, and then they are taken over', () => {
    for (const seed of SEEDS) {
      const lab = new Lab(seed);
      const machine = lab.machine('warm');
      const fromMs = lab.nowMs;
      machine.host.isCutFromStore = true;
      const ms = lab.backAfterMs('warm');
      assert.ok(ms < 7000);
      assert.ok(!machine.mayAct());
      assert.match(lab.said(/fenced/, fromMs).join(), new RegExp(`fenced ${machine.host.name}`));
      machine.host.isCutFromStore = false;
      lab.run(5000);
      assert.ok(machine.process.isDead, 'and ended when it hears of it');
    }
  });

  test('the store without a quorum: everybody pauses, nobody is taken over, and all goes on when it is back', () => {
    for (const [i, ms] of [1000, 1400, 2000, 3000, 4000, 5000, 5500, 5800, 6000, 8000, 60_000].entries()) {
      const lab = new Lab(i + 1);
      const machines = [...lab.world.guests.keys()].map((guest) => lab.machine(guest));
      lab.world.store.isDown = true;
      lab.run(ms);
      if (ms > 2600) assert.ok(machines.every((machine) => !machine.mayAct()));
      lab.world.store.isDown = false;
      lab.run(3000);
      assert.deepEqual(lab.said(/fenced/), []);
      assert.ok(machines.every((machine) => machine.mayAct() && !machine.process.isDead && !machine.isBooting));
    }
  });
});

describe('nothing happens', () => {
  test('when the time of day jumps', () => {
    const lab = new Lab(1);
    for (let i = 0; i < 50; i += 1) {
      for (const host of lab.world.hosts.values()) host.jumpMs += (i % 2 === 0 ? 1 : -1) * 3_600_000;
      lab.run(700);
    }
    assert.deepEqual(lab.said(/fenced|suspected|reacted/), []);
  });

  test('in a long time of overload, with timers that come half a second late, and a store that loses its leader', () => {
    const lab = new Lab(3);
    for (const host of lab.world.hosts.values()) host.latenessMs = 500;
    for (let i = 0; i < 100; i += 1) {
      lab.world.store.isDown = true;
      lab.run(400);
      lab.world.store.isDown = false;
      lab.run(5000);
    }
    assert.deepEqual(lab.said(/fenced|claimed .* [2-9]$/), []);
  });

  test('when a daemon is killed and is back in time: its guests go on', () => {
    const lab = new Lab(1);
    const machine = lab.machine('cold');
    machine.host.crashDaemon();
    lab.run(1200);
    assert.ok(machine.mayAct());
    machine.host.startDaemon();
    lab.run(20_000);
    assert.ok(machine.mayAct() && lab.machine('cold') === machine);
    assert.ok(lab.world.guest('cold').longestGapMs < 500);
    assert.deepEqual(lab.said(/fenced/), []);
    assert.equal(lab.said(/adopted/).length, 1);
    for (const { director } of lab.world.hosts.values())
      assert.ok(director?.master.isSuspected(machine.host.name) === false, 'and is heard by its peers');
  });
});

describe('smaller failures', () => {
  test('an application is restarted, and nothing else', () => {
    const lab = new Lab(1);
    const machine = lab.machine('warm');
    machine.isApplicationWell = false;
    lab.run(10_000);
    assert.ok(machine.isApplicationWell && lab.machine('warm') === machine);
    assert.deepEqual(
      lab.said(/reacted/).map((line) => line.split(' ').slice(2).join(' ')),
      ['reacted warm 1 application: restart-application'],
    );
  });

  test('a guest that hangs is restarted in its machine, a machine that ends is replaced here, under a new generation', () => {
    const lab = new Lab(1);
    const machine = lab.machine('cold');
    machine.isHung = true;
    lab.run(20_000);
    assert.ok(!machine.isHung && lab.machine('cold') === machine);
    machine.process.kill();
    machine.host.machines.delete('cold');
    machine.host.director?.machineEnded('cold', machine.generation);
    const ms = lab.backAfterMs('cold');
    assert.ok(ms < BOOT_MS + 1000, `${ms}`);
    assert.deepEqual(
      [lab.owner('cold').host, lab.owner('cold').generation],
      [machine.host.name, machine.generation + 1],
    );
  });
});

describe('a daemon comes back, and its machines are gone', () => {
  test('it starts them again, a few at a time, however many they are', () => {
    const lab = new Lab(1, ['a']);
    for (let i = 0; i < 8; i += 1) lab.add(`more${i}`, 'cold');
    lab.run(40_000);
    const host = lab.host('a');
    host.crashDaemon();
    for (const machine of host.machines.values()) machine.process.kill();
    host.machines.clear();
    lab.run(500);
    host.startDaemon();
    lab.run(5 * BOOT_MS);
    assert.equal(host.machines.size, 12);
    for (const guest of lab.world.guests.values()) assert.ok(lab.nowMs - guest.actedMs < 1000, guest.spec.name);
    assert.deepEqual(lab.said(/fenced/), []);
  });
});

describe('a claim whose answer is lost', () => {
  test('and whose host was fenced before it heard of it, starts nothing: the owner on record is an earlier incarnation', () => {
    const lab = new Lab(1, ['a']);
    const host = lab.host('a');
    // Somebody who can fence it, and has no room for its guests.
    lab.world.addHost({ name: 'b', address: 'b', capacity: { cores: 16, memoryBytes: GIB, diskBytes: 0 }, labels: {} });
    lab.run(5000);
    const { onCommit } = lab.world.store;
    let isLost = false;
    lab.world.store.onCommit = (transaction, before) => {
      onCommit(transaction, before);
      const isClaim = transaction.puts?.some(({ key }) => key === keyOf(OWNER, 'cold')) === true;
      if (isClaim && !isLost && host.crashes > 0) isLost = host.isCutFromStore = true;
    };
    host.crash();
    host.boot();
    assert.ok(lab.world.until(() => isLost, 5000));
    assert.ok(lab.world.until(() => lab.stateOf('a') === 'fenced', 10_000));
    host.isCutFromStore = false;
    lab.run(30_000);
    const { incarnation, generation } = lab.owner('cold');
    assert.deepEqual(
      [incarnation, generation],
      [host.director?.incarnation, host.machines.get('cold')?.generation],
      'it runs as what the record says',
    );
  });
});

describe('hosts', () => {
  test('a drained one gives up its guests, and takes none', () => {
    const lab = new Lab(1);
    const { name } = lab.hostOf('cold');
    const entry = lab.world.store.state.get(keyOf(HOST, name));
    const record = decode(HOST, entry?.value);
    assert.ok(entry && record);
    lab.world.store.commit(change({ value: record, revision: entry.revision }, { state: 'draining' }));
    lab.run(30_000);
    assert.equal(lab.host(name).machines.size, 0);
    for (const guest of lab.world.guests.values()) {
      assert.notEqual(lab.owner(guest.spec.name).host, name);
      assert.ok(lab.nowMs - guest.actedMs < 1000);
    }
    assert.deepEqual(lab.said(/fenced/), []);
  });

  test('one that leaves is waited for by nobody', () => {
    const lab = new Lab(1);
    const { name, director } = lab.hostOf('cold');
    director?.leave();
    lab.run(30_000);
    assert.equal(lab.stateOf(name), 'left');
    assert.equal(lab.host(name).machines.size, 0);
    assert.deepEqual(lab.said(/fenced/), []);
  });

  test('one that is fenced while it leaves, or taken out of the cluster, has left', () => {
    for (const isRemoved of [false, true]) {
      const lab = new Lab(1);
      const host = lab.hostOf('cold');
      host.director?.leave();
      host.isCutFromStore = true;
      lab.run(10_000);
      assert.equal(lab.stateOf(host.name), 'fenced');
      if (isRemoved) lab.world.store.commit({ compares: [], deletes: [keyOf(LEASE, host.name)] });
      host.isCutFromStore = false;
      lab.run(5000);
      assert.equal(lab.said(new RegExp(`${host.name} left`)).length, 1);
      assert.equal(host.machines.size, 0);
    }
  });

  test('one that fails again and again is in quarantine, gets nothing, and is let out when it was well', () => {
    const lab = new Lab(1, ['a', 'b', 'c', 'd']);
    const host = lab.host('a');
    for (let i = 0; i < 4; i += 1) {
      host.crash();
      lab.run(5000);
      host.boot();
      lab.run(4000);
    }
    assert.equal(lab.stateOf('a'), 'quarantined');
    const atMs = lab.nowMs;
    lab.hostOf('cold').crash();
    lab.run(20_000);
    assert.equal(host.machines.size, 0);
    assert.deepEqual(lab.said(/a claimed/, atMs), []);
    lab.run(150_000);
    assert.equal(lab.stateOf('a'), 'active');
  });

  test('a guest that is stopped ends, and starts again when it is wanted', () => {
    const lab = new Lab(1);
    const spec = lab.world.specOf('warm');
    assert.ok(spec);
    lab.world.writeSpec({ ...spec, wanted: 'stopped' });
    lab.run(2000);
    assert.ok([...lab.world.hosts.values()].every((host) => !host.machines.has('warm')));
    lab.world.writeSpec(spec);
    assert.ok(lab.backAfterMs('warm') < BOOT_MS + 1000);
  });
});

describe('what an operator sees', () => {
  const see = (lab: Lab) => {
    const outcome = lab.world.store.state.read(STATUS_QUERY);
    assert.equal(outcome.kind, 'read');
    return clusterStatus(outcome.kind === 'read' ? outcome.entries : []);
  };

  test('hosts, who leads, where guests run and why so, and what waits', () => {
    const lab = new Lab(1);
    const before = see(lab);
    assert.deepEqual(
      before.hosts.map(({ name, state }) => [name, state]),
      [
        ['a', 'active'],
        ['b', 'active'],
        ['c', 'active'],
      ],
    );
    assert.deepEqual(
      before.hosts.filter(({ isLeader }) => isLeader).map(({ name }) => name),
      [before.leader],
    );
    assert.deepEqual(
      before.guests.map(({ name, state, host }) => [name, state, host]),
      [...['cold', 'hot', 'pair', 'warm'].map((name) => [name, 'running', lab.owner(name).host])],
    );
    const hot = before.guests.find(({ name }) => name === 'hot');
    assert.match(hot?.why ?? '', /^hot on [abc]: fixed$/);
    assert.deepEqual(
      hot?.methods.map(({ method, isAllowed }) => [method, isAllowed]),
      [...['cold', 'warm', 'hot', 'pair'].map((method) => [method, method === 'hot'])],
    );
    assert.deepEqual(
      hot?.methods.map(({ recoveryMs }) => recoveryMs).toSorted((a, b) => b - a),
      hot?.methods.map(({ recoveryMs }) => recoveryMs),
    );
    assert.deepEqual(
      before.hosts.map(({ peers }) => peers.toSorted()),
      [
        ['b', 'c'],
        ['a', 'c'],
        ['a', 'b'],
      ],
    );
    const huge = lab.world.guest('cold').spec;
    lab.world.writeSpec({ ...huge, name: 'huge', memoryBytes: 1000 * GIB });
    const { name } = lab.hostOf('cold');
    lab.host(name).crash();
    lab.run(2000);
    assert.equal(see(lab).guests.find((guest) => guest.name === 'huge')?.state, 'waiting');
    lab.run(30_000);
    const after = see(lab);
    assert.equal(after.hosts.find((host) => host.name === name)?.state, 'fenced');
    assert.notEqual(after.leader, name);
    const waits = after.guests.find((guest) => guest.name === 'huge');
    assert.match(waits?.why ?? '', /^not admitted: .*memory$/);
    assert.ok(
      after.guests.every((guest) => guest.name === 'huge' || (guest.state === 'running' && guest.host !== name)),
    );
  });
});

describe('requirements change while the cluster runs', () => {
  test('the new standby is made before the old choice is given up, and is on record before it counts', () => {
    const lab = new Lab(1, ['a', 'b', 'c'], { lastingMs: 2000, restMs: 5000 });
    const guest = lab.add('web', 'cold');
    const { fixed: _, ...spec } = guest.spec;
    const needs = (dataLossMs?: number): GuestSpec => ({
      ...{ ...spec, methods: ['cold', 'warm', 'hot'] as const },
      requirements: { ...spec.requirements, ...(dataLossMs === undefined ? {} : { dataLossMs }) },
    });
    const placement = () => decode(PLACEMENT, lab.world.store.state.get(keyOf(PLACEMENT, 'web'))?.value);
    lab.world.writeSpec(needs());
    lab.run(20_000);
    assert.equal(placement()?.associations[0]?.method, 'cold');
    lab.world.writeSpec(needs(0));
    assert.ok(lab.world.until(() => placement()?.next?.method === 'hot', 20_000));
    assert.equal(placement()?.associations[0]?.method, 'cold');
    assert.ok(lab.world.until(() => placement()?.associations[0]?.method === 'hot', 20_000));
    const host = placement()?.associations[0]?.host;
    assert.ok(host !== undefined && lab.host(host).readyStandbys().includes('web'));
    lab.run(2000);
    assert.equal(lab.owner('web').sync, host);
    assert.deepEqual(placement()?.missed, []);
  });
});

test('a guest that boots for longer than anybody knows is there at last', () => {
  for (const seed of SEEDS.slice(0, 5)) {
    const lab = new Lab(seed);
    const guest = lab.add('slow', 'cold', 150_000);
    // As nothing was measured yet.
    guest.believed = { bootMs: 20_000 };
    lab.run(600_000);
    assert.ok(guest.actedMs > 0, lab.said(/slow/).join('\n'));
    assert.ok(guest.longestGapMs < 60_000);
  }
});
