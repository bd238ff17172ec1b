/**
 * Hostile frames by seed: random bytes, random payloads behind plausible headers, real traffic with changed, cut and
 * repeated frames. Nothing may throw, every frame out must be well formed (the guest stack asserts that), tables and
 * buffers stay within their bounds, and the network still serves an honest guest afterwards. KAGE_FUZZ_ROUNDS makes
 * it longer.
 */
import assert from 'node:assert/strict';
import { env } from 'node:process';
import { test } from 'node:test';
import { addToSum, foldChecksum, pseudoHeaderSum } from './checksum.ts';
import { encodeEthernet } from './ethernet.ts';
import { GATEWAY_ADDRESS, GATEWAY_MAC, GUEST_ADDRESS, GUEST_MAC } from './guest-stack.testing.ts';
import { encodeIpv4, newIpv4Header } from './ipv4.ts';
import { Packet } from './packet.ts';
import type { Simulation } from './simulation.testing.ts';
import { pattern, type TestBed, testBed } from './test-bed.testing.ts';

const ROUNDS = Number(env.KAGE_FUZZ_ROUNDS ?? 12);
const FRAMES = 1500;
const SERVER = 0xc0000207;
const LIMITS = {
  tcpConnections: 16,
  udpFlows: 8,
  tcpTotalBufferBytes: 4 << 20,
  reassemblies: 4,
  dnsQueries: 4,
  neighbours: 8,
};

function bed(seed: number): TestBed {
  const made = testBed({ seed, config: { limits: LIMITS } });
  made.host.services.set('192.0.2.7:80', (far) => {
    far.onData = (bytes) => far.transmit(bytes);
    far.onGuestEnd = () => far.finish();
  });
  made.host.services.set('127.0.0.1:80', (far) => far.transmit(pattern(50_000)));
  made.host.resolver = (query) => query;
  return made;
}

function check({ network, host }: TestBed): void {
  const { now } = network.stats();
  assert.ok(now.tcpConnections <= LIMITS.tcpConnections);
  assert.ok(now.udpFlows <= LIMITS.udpFlows);
  assert.ok(now.dnsQueries <= LIMITS.dnsQueries);
  assert.ok(now.bufferedBytes >= 0 && now.bufferedBytes <= LIMITS.tcpTotalBufferBytes);
  assert.ok(host.udpSockets.filter((socket) => !socket.closed).length <= LIMITS.udpFlows);
  assert.ok(network.save().neighbours.length <= LIMITS.neighbours);
}

/** An honest download by the same guest, after all that. */
function stillServes(made: TestBed): void {
  const { simulation, guest, network } = made;
  guest.address = GUEST_ADDRESS;
  const tcp = guest.connect(GATEWAY_ADDRESS, 80);
  assert.ok(
    simulation.until(() => tcp.receivedBytes === 50_000),
    `seed ${simulation.seed}`,
  );
  assert.deepEqual(tcp.contents(), pattern(50_000));
  network.close();
  assert.equal(network.stats().now.bufferedBytes, 0);
}

const pick = <T>(chance: Simulation, choices: readonly T[]): T => {
  const choice = choices[chance.random() % choices.length];
  assert.ok(choice !== undefined);
  return choice;
};

/** A frame whose headers lead it deep into the code, and whose rest is chance. */
function plausible(chance: Simulation, packet: Packet): Uint8Array {
  const { view, bytes } = packet;
  const payloadBytes = chance.chance(0.05) ? chance.between(0, 65515) : chance.between(0, 120);
  bytes.set(chance.bytes(Math.min(payloadBytes, 400)), 34);
  const type = pick(chance, [0x0800, 0x0800, 0x0800, 0x0806, 0x86dd, chance.random() & 0xffff]);
  encodeEthernet(view, 0, { destination: pick(chance, [GATEWAY_MAC, 0xffffffffffff]), source: GUEST_MAC, type });
  const ip = newIpv4Header();
  Object.assign(ip, {
    payloadBytes,
    identification: chance.between(0, 3),
    moreFragments: chance.chance(0.1),
    fragmentOffset: chance.chance(0.1) ? chance.between(0, 8191) * 8 : 0,
    ttl: chance.between(0, 3) * 20,
    protocol: pick(chance, [1, 6, 6, 6, 17, 17, chance.random() & 0xff]),
    source: pick(chance, [GUEST_ADDRESS, GUEST_ADDRESS, GUEST_ADDRESS + chance.between(0, 40), chance.random()]),
    destination: pick(chance, [SERVER, GATEWAY_ADDRESS, 0x0a000203, 0xffffffff, chance.random()]),
  });
  encodeIpv4(view, 14, ip);
  if (type === 0x0806) bytes.set([0, 1, 8, 0, 6, 4, 0, chance.between(0, 3)], 14);
  if (ip.protocol === 6 || ip.protocol === 17) {
    view.setUint16(34, pick(chance, [40000, 40001, 68]));
    view.setUint16(36, pick(chance, [80, 53, 67, 81]));
    if (ip.protocol === 17) view.setUint16(38, pick(chance, [payloadBytes, payloadBytes, chance.random() & 0xffff]));
    else if (chance.chance(0.7)) view.setUint8(46, pick(chance, [0x50, 0x60, 0x70]));
  }
  const sumAt = ip.protocol === 1 ? 36 : ip.protocol === 6 ? 50 : 40;
  if (chance.chance(0.9)) {
    view.setUint16(sumAt, 0);
    const pseudo = ip.protocol === 1 ? 0 : pseudoHeaderSum(ip.source, ip.destination, ip.protocol, payloadBytes);
    view.setUint16(sumAt, foldChecksum(addToSum(view, 34, payloadBytes, pseudo)));
  }
  return bytes.subarray(0, 34 + payloadBytes);
}

test('random bytes', () => {
  for (let seed = 1; seed <= ROUNDS; seed += 1) {
    const made = bed(seed);
    for (let i = 0; i < FRAMES; i += 1) made.network.receive(made.simulation.bytes(made.simulation.between(0, 200)));
    made.network.receive(new Uint8Array(65_550));
    made.network.receive(new Uint8Array(0));
    assert.ok(made.network.stats().link.droppedLong === 1);
    made.simulation.run(10);
    check(made);
    stillServes(made);
  }
});

test('plausible headers in front of random payloads', () => {
  for (let seed = 1; seed <= ROUNDS; seed += 1) {
    const made = bed(seed);
    const { simulation, network } = made;
    const packet = new Packet();
    for (let i = 0; i < FRAMES; i += 1) {
      const offload = simulation.chance(0.2) ? { checksumValid: true, segmentBytes: 0 } : undefined;
      network.receive(plausible(simulation, packet), offload);
      if (simulation.chance(0.05)) network.setGuestReady(simulation.chance(0.7));
      if (simulation.chance(0.3)) simulation.run(simulation.between(0, 30));
      if (i % 50 === 0) check(made);
    }
    network.setGuestReady(true);
    simulation.run(10);
    check(made);
    stillServes(made);
  }
});

test('real traffic with frames changed, cut, repeated and kept for later', () => {
  for (let seed = 1; seed <= ROUNDS; seed += 1) {
    const made = bed(seed);
    const { simulation, guest, network } = made;
    const kept: Uint8Array[] = [];
    guest.promiscuous = true;
    guest.tamper = (frame) => {
      if (kept.length < 200 && simulation.chance(0.2)) kept.push(frame.slice());
      if (simulation.chance(0.25)) {
        const changes = simulation.between(1, 4);
        for (let i = 0; i < changes; i += 1) frame[simulation.random() % frame.length] = simulation.random() & 255;
      }
      if (simulation.chance(0.1)) {
        const old = pick(simulation, kept.length > 0 ? kept : [frame]);
        network.receive(old.subarray(0, simulation.between(0, old.length)));
      }
      return { checksumValid: simulation.chance(0.5), segmentBytes: 0 };
    };
    for (let i = 0; i < 30; i += 1) {
      const tcp = guest.connect(pick(simulation, [SERVER, GATEWAY_ADDRESS]), 80);
      tcp.send(simulation.bytes(simulation.between(0, 3000)));
      if (simulation.chance(0.5)) tcp.end();
      simulation.run(simulation.between(0, 400));
      check(made);
    }
    guest.tamper = undefined;
    simulation.run(1000);
    stillServes(made);
  }
});
