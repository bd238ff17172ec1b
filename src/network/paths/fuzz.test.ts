/** Frames of any kind from guests and from the wire, by seed: nothing throws, every table stays within its bound. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Simulation } from '../simulation.testing.ts';
import { announcement } from './announcements.ts';
import { arpProbe, uplinkProbe } from './probe.ts';
import { ARP_REQUEST, arp, GUEST_MAC, HOST_IP, HOST_MAC, Lab } from './segment.testing.ts';

/** `KAGE_FUZZ_ROUNDS=600` makes it long, as for the rest of the room. */
const ROUNDS = Number(process.env['KAGE_FUZZ_ROUNDS'] ?? 6);
const FRAMES = 5000;

function seeds(): Uint8Array[] {
  const own = { mac: GUEST_MAC, address: 0x0a090001 };
  const tagged = arp(ARP_REQUEST, own, { mac: 0, address: HOST_IP }, 7);
  const twice = Uint8Array.from([...tagged.subarray(0, 12), 0x88, 0xa8, 0, 9, ...tagged.subarray(12)]);
  const neighbour = { kind: 'ipv6', mac: GUEST_MAC, vlan: 0, address: 'fe80000000000000505400fffe123456' } as const;
  return [
    arp(ARP_REQUEST, own, { mac: 0, address: HOST_IP }),
    tagged,
    twice,
    announcement(neighbour),
    arpProbe(HOST_MAC, HOST_IP),
    uplinkProbe(HOST_MAC, GUEST_MAC, 0, 1),
    new Uint8Array(14),
    new Uint8Array(0),
  ];
}

function mangled(simulation: Simulation, frame: Uint8Array): Uint8Array {
  const kind = simulation.between(0, 3);
  if (kind === 0) return simulation.bytes(simulation.between(0, 200));
  const out = Uint8Array.from(frame);
  for (let i = simulation.between(0, 6); i > 0 && out.length > 0; i -= 1)
    out[simulation.between(0, out.length - 1)] = simulation.random() & 255;
  return kind === 1 ? out.subarray(0, simulation.between(0, out.length)) : out;
}

test('frames of any kind', () => {
  for (let seed = 1; seed <= ROUNDS; seed += 1) {
    const simulation = new Simulation(seed);
    const lab = new Lab(simulation, {}, { loss: 0, duplicate: 0, minDelayMs: 0, maxDelayMs: 0 });
    const uplinks = [lab.uplink('a', { targets: [HOST_IP] }), lab.uplink('b', { offloads: seed % 2 === 0 })];
    const guests = [lab.guest(['a', 'b']), lab.guest(['b'], { name: 'net1', mac: GUEST_MAC + 1, address: 5 })];
    guests[0]?.port.setGuestOffload({ checksum: true, largePacketBytes: 65_535, largePacketBytes6: seed % 3 });
    const capture = lab.paths.capture({ snapBytes: simulation.between(1, 100) }, () => {});
    const frames = seeds();
    for (let i = 0; i < FRAMES; i += 1) {
      const frame = mangled(simulation, frames[simulation.between(0, frames.length - 1)] ?? new Uint8Array(0));
      const offload = simulation.chance(0.5)
        ? undefined
        : {
            checksumValid: simulation.chance(0.9),
            segmentBytes: simulation.between(0, 1) * simulation.between(1, 70_000),
          };
      const side = simulation.between(0, 3);
      if (side < 2) guests[side]?.port.receive(frame, offload);
      else uplinks[side - 2]?.port.receive(frame, offload);
      if (i % 100 === 0) simulation.run(simulation.between(0, 30));
    }
    capture.close();
    const { learned } = lab.paths.stats().networks['lan'] ?? {};
    assert.ok((learned?.local ?? 0) <= 512 && (learned?.remote ?? 0) <= 4096);
    assert.ok(lab.paths.report().interfaces.every(({ addresses }) => addresses <= 64));
    lab.paths.close();
  }
});
