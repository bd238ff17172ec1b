/** Who is between the two uplinks: a generator of frames behind the switch alone, or Debian in a machine. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { assert, must } from '../../src/base/assert.ts';
import { cacheFolder } from '../../src/host/debian/index.ts';
import { findImage, pullDebianImage } from '../../src/host/images/index.ts';
import { createMachine } from '../../src/host/machine/index.ts';
import { MachineNetworks } from '../../src/host/network/machine-networks.ts';
import { parseIpv4, parseMac } from '../../src/network/addresses.ts';
import type { NetdevOptions, NetReport } from '../../src/network/index.ts';
import { crossCompile } from '../../test/cross-compile.ts';
import { FrameGenerator } from './frame-generator.ts';
import type { Ledger } from './ledger.ts';

export const GUEST_ADDRESS = '10.9.0.1';
const GUEST_MAC = '52:54:00:99:00:01';

export interface Subject {
  net(): Promise<NetReport>;
  setFailover(on: boolean): Promise<void>;
  stats(): Promise<unknown>;
  /** How often its carrier changed so far. */
  carrierChanges(): Promise<number>;
  /** Stops sending; what it sent and got. */
  ledger(): Promise<Ledger>;
  close(): Promise<void>;
}

/** Of datagrams as large as an MTU beyond 1500 allows: without IP's and UDP's headers. */
const HEADERS_BYTES = 28;

export async function bareSubject(
  netdevs: readonly NetdevOptions[],
  { peer, mtuBytes }: { readonly peer: string; readonly mtuBytes: number },
): Promise<Subject> {
  const dataBytes = mtuBytes > 1500 ? mtuBytes - HEADERS_BYTES : 64;

  const networks = new MachineNetworks();
  const { paths } = networks;
  const guest = await networks.attach({ owner: 'bare', mac: GUEST_MAC, failback: 'failure', netdevs });
  const own = { mac: must(parseMac(GUEST_MAC)), address: must(parseIpv4(GUEST_ADDRESS)) };
  const generator = new FrameGenerator(own, { peer: must(parseIpv4(peer)), dataBytes }, (frame) =>
    guest.receive(frame),
  );
  guest.connect(generator);
  generator.start();
  return {
    net: async () => paths.report(),
    setFailover: async (on) => paths.setFailover(on),
    stats: async () => paths.stats(),
    carrierChanges: async () => generator.links.length,
    ledger: async () => {
      generator.stop();
      return generator.ledger;
    },
    close: async () => {
      guest.close();
      networks.close();
    },
  };
}

/** What needs the world outside of the namespace. */
export async function prepareDebian(): Promise<void> {
  if ((await findImage('debian')) === undefined) await pullDebianImage({});
  mkdirSync(cacheFolder('bench'), { recursive: true });
  await crossCompile(sessionProgram(), [new URL('../../guest/paths/session.c', import.meta.url).pathname]);
}

/** Where the guest's program is, once it was prepared. */
export function sessionProgram(): string {
  return join(cacheFolder('bench'), 'session');
}

/** Boots Debian; its session with the peer runs from when this resolves. */
export async function debianSubject(
  netdevs: readonly NetdevOptions[],
  peer: string,
  program: Uint8Array,
): Promise<Subject> {
  const { kernel, initrd, commandLine } = must(await findImage('debian'));
  const machine = await createMachine({
    ...{ name: 'paths', kernel, initrd, append: commandLine, cpus: 1, memoryBytes: 256 << 20 },
    ...{ netdevs, mac: GUEST_MAC, failback: 'failure' },
  });
  const run = async (script: string, stdin?: Uint8Array): Promise<string> => {
    const { code, stdout, stderr } = await machine.exec(['sh', '-c', script], stdin === undefined ? {} : { stdin });
    assert(code === 0, `${script}: ${Buffer.from(stderr).toString()}`);
    return Buffer.from(stdout).toString();
  };
  await run('cat > /tmp/session && chmod +x /tmp/session', program);
  const device = (await run('cd /sys/class/net && ls -d e*')).trim();
  await run(`ip addr flush dev ${device}; ip addr add ${GUEST_ADDRESS}/24 dev ${device}; ip link set ${device} up`);
  const ending = Promise.withResolvers<void>();
  const session = machine.exec(['/tmp/session', peer], { stdin: endOf(ending.promise) });
  return {
    net: () => machine.net(),
    setFailover: (on) => machine.changeNet({ action: 'failover', on }),
    stats: async () => (await machine.stats())['paths'],
    carrierChanges: async () => Number(await run(`cat /sys/class/net/${device}/carrier_changes`)),
    ledger: async () => {
      ending.resolve();
      const { code, stdout, stderr } = await session;
      assert(code === 0, Buffer.from(stderr).toString());
      return JSON.parse(Buffer.from(stdout).toString()) as Ledger;
    },
    close: async () => void (await machine.kill()),
  };
}

/** A stdin with nothing in it, which ends then. */
function endOf(end: Promise<void>): AsyncIterable<Uint8Array> {
  const next = async (): Promise<IteratorResult<Uint8Array>> => {
    await end;
    return { done: true, value: undefined };
  };
  return { [Symbol.asyncIterator]: () => ({ next }) };
}
