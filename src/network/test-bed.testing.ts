/** A guest stack, the network and a fake host, joined by a link with weather: what most tests of this room start from. */
import assert from 'node:assert/strict';
import type { NetworkOptions } from './config.ts';
import { type FakeConnection, FakeHost } from './fake-host.testing.ts';
import { GuestStack } from './guest-stack.testing.ts';
import type { GuestTcp, GuestTcpOptions } from './guest-tcp.testing.ts';
import type { PublishRule } from './publish.ts';
import { FAIR, Simulation, type Weather, weatheredLink } from './simulation.testing.ts';
import { UserNetwork } from './user-network.ts';

/** 192.0.2.7, where the services of tests are. */
export const SERVER = 0xc0000207;

export interface TestBed {
  readonly simulation: Simulation;
  readonly host: FakeHost;
  readonly network: UserNetwork;
  readonly guest: GuestStack;
  /** Whether the guest has no room for the next frame. */
  refuses: () => boolean;
}

/** Builds one. With FAIR weather frames still take a turn of the event queue, as between a device and its driver. */
export function testBed(
  options: { config?: NetworkOptions; weather?: Weather; seed?: number; icmp?: boolean } = {},
): TestBed {
  const simulation = new Simulation(options.seed ?? 1);
  const host = new FakeHost(simulation, options.icmp);
  const weather = options.weather ?? FAIR;
  const toGuest = weatheredLink(simulation, weather, (frame, offload) => guest.receive(frame, offload));
  const network = new UserNetwork({ config: options.config ?? {}, ports: host.ports }, (frame, offload) => {
    if (bed.refuses()) return false;
    toGuest(frame, offload);
    return true;
  });
  const guest: GuestStack = new GuestStack(
    simulation,
    weatheredLink(simulation, weather, (frame, offload) => network.receive(frame, offload)),
  );
  const bed: TestBed = { simulation, host, network, guest, refuses: () => false };
  return bed;
}

/** Bytes that tell a displaced piece: no two aligned windows of some length are alike. */
export function pattern(length: number, seed = 1): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  let state = seed >>> 0;
  for (let i = 0; i < length; i += 1) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}

/** Runs a service of the host's. */
export function serve(bed: TestBed, where = '192.0.2.7:80', onConnect: (c: FakeConnection) => void = () => {}): void {
  bed.host.services.set(where, onConnect);
}

/** An established connection and the host's end of it. */
export function established(bed: TestBed, options: GuestTcpOptions = {}): { tcp: GuestTcp; far: FakeConnection } {
  serve(bed);
  const tcp = bed.guest.connect(SERVER, 80, options);
  assert.ok(bed.simulation.until(() => tcp.state === 'open'));
  bed.simulation.run(1);
  const far = bed.host.connections.at(-1);
  assert.ok(far);
  return { tcp, far };
}

/** Publishes guest port 80 as 8080, unless the rule says otherwise. */
export function publish(bed: TestBed, rule: Partial<PublishRule> = {}): void {
  const all = {
    protocol: 'tcp',
    hostAddress: 0,
    hostPort: 8080,
    guestAddress: undefined,
    guestPort: 80,
    ...rule,
  } as const;
  let outcome = '';
  bed.network.publish(all, ({ kind }) => {
    outcome = kind;
  });
  assert.ok(bed.simulation.until(() => outcome === 'listening'));
}
