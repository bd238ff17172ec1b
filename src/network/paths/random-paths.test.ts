/**
 * Whatever befalls uplinks, and whatever the operator does meanwhile: the table stays true, nothing grows, and once it is
 * quiet the mapping settles where it should be. By seed.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OperatorError } from '../../base/errors.ts';
import { Simulation } from '../simulation.testing.ts';
import { GUEST_MAC, HOST_IP, Lab, missing, type SimulatedUplink, traffic } from './segment.testing.ts';

const NAMES = ['a', 'b', 'c'];
const SEEDS = Number(process.env['KAGE_PATH_SEEDS'] ?? 10);

function wreak(lab: Lab, uplinks: Map<string, SimulatedUplink>, options: object): void {
  const { simulation, paths } = lab;
  const name = NAMES[simulation.between(0, NAMES.length - 1)] ?? 'a';
  const uplink = uplinks.get(name);
  const acts: (() => void)[] = [
    () => uplink?.cut(true),
    () => uplink?.cut(false),
    () => uplink?.silence(true),
    () => uplink?.silence(false),
    () => paths.prefer('net0', name),
    () => paths.map('net0', simulation.chance(0.5) ? NAMES : [...NAMES].reverse()),
    () => paths.unmap('net0', name),
    () => paths.setFailover(simulation.chance(0.8)),
    () => {
      uplink?.port.remove('deleted');
      uplinks.delete(name);
    },
    () => {
      if (!uplinks.has(name)) uplinks.set(name, lab.uplink(name, options));
    },
  ];
  try {
    acts[simulation.between(0, acts.length - 1)]?.();
  } catch (error) {
    if (!(error instanceof OperatorError)) throw error;
  }
}

/** What must hold at any time. */
function check(lab: Lab, links: readonly boolean[]): void {
  const { interfaces, uplinks } = lab.paths.report();
  const [one] = interfaces;
  assert.ok(one);
  assert.equal(one.linkUp, one.inForce !== undefined, 'the guest has a carrier while something is in force');
  assert.equal(links.at(-1), one.linkUp);
  for (let i = 1; i < links.length; i += 1) assert.notEqual(links[i], links[i - 1], 'told of changes alone');
  if (one.inForce !== undefined) {
    assert.ok(one.uplinks.includes(one.inForce));
    const path = uplinks.find(({ name }) => name === one.inForce);
    assert.ok(path !== undefined && path.condition !== 'down' && path.condition !== 'silent');
  }
  for (const path of uplinks) assert.deepEqual(path.interfaces, path.name === one.inForce ? ['net0'] : []);
  assert.ok(lab.paths.events().length <= 1024);
}

for (const [kind, options] of [
  ['hosts that answer', { targets: [HOST_IP] }],
  ['uplinks that hear each other', {}],
] as const)
  test(`random failures, edits and weather: ${kind}`, () => {
    for (let seed = 1; seed <= SEEDS; seed += 1) {
      const simulation = new Simulation(seed);
      // Duplicates and reordering; losses so rare that three probes in a row do not go.
      const weather = { loss: 0.002, duplicate: 0.05, minDelayMs: 0, maxDelayMs: 3 };
      const lab = new Lab(simulation, {}, weather);
      const uplinks = new Map(NAMES.map((name) => [name, lab.uplink(name, options)]));
      const guest = lab.guest(NAMES);
      guest.station.announce();
      lab.host.announce();
      const noise = traffic(lab, guest.station, lab.host, 20);
      for (let step = 0; step < 60; step += 1) {
        wreak(lab, uplinks, options);
        simulation.run(simulation.between(0, 300));
        check(lab, guest.links);
      }
      noise.stop();
      // All is well again: the mapping settles, on the preferred one, and traffic passes.
      lab.paths.setFailover(true);
      for (const name of NAMES) {
        if (!uplinks.has(name)) uplinks.set(name, lab.uplink(name, options));
        uplinks.get(name)?.silence(false);
        uplinks.get(name)?.cut(false);
      }
      lab.paths.map('net0', NAMES);
      simulation.run(65_000);
      check(lab, guest.links);
      assert.equal(lab.inForce(), 'a', `seed ${seed}`);
      const settled = lab.paths.report().interfaces[0]?.counters.switches;
      const got = [guest.station.got.length, lab.host.got.length] as const;
      const calm = traffic(lab, guest.station, lab.host);
      simulation.run(2000);
      calm.stop();
      simulation.run(50);
      for (const [station, before] of [
        [guest.station, got[0]],
        [lab.host, got[1]],
      ] as const) {
        const lost = missing({ ...station, got: station.got.slice(before) } as typeof station, calm.sent);
        assert.ok(lost.length <= 8, `seed ${seed}: ${lost.length} lost of ${calm.sent}`);
      }
      assert.equal(lab.paths.report().interfaces[0]?.counters.switches, settled, 'it has settled');
      assert.ok((lab.paths.stats().networks['lan']?.learned.local ?? 0) <= 1);
      assert.ok(lab.bridge.table.get(GUEST_MAC) !== undefined);
      lab.paths.close();
      simulation.run(5000);
      assert.equal(
        simulation.until(() => false, 1000),
        false,
      );
    }
  });
