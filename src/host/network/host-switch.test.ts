/** The switch of a host: machines that connect to it reach each other and its uplinks, and are cut off with the last path. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { formatMac } from '../../network/index.ts';
import { ARP_REQUEST, arp, arpSender } from '../../network/paths/segment.testing.ts';
import { HostSwitch } from './host-switch.ts';
import { MachineNetworks } from './machine-networks.ts';

const folder = mkdtempSync(join(tmpdir(), 'kage-switch-'));
process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
const limit = { timeout: 30_000 };

async function until(done: () => boolean): Promise<void> {
  while (!done()) await new Promise((resolve) => setTimeout(resolve, 2));
}

/** A machine of one guest, whose uplink is the switch. */
async function machine(
  path: string,
  mac: number,
): Promise<{
  readonly heard: { readonly mac: number; readonly address: number }[];
  readonly links: boolean[];
  ask(target: number): void;
  close(): void;
}> {
  const networks = new MachineNetworks();
  const netdevs = [{ kind: 'stream', path, reconnectMs: 20 }] as const;
  const guest = await networks.attach({ owner: 'guest', mac: formatMac(mac), netdevs });
  const heard: { mac: number; address: number }[] = [];
  const links: boolean[] = [];
  guest.connect({
    receive: (frame) => {
      const said = arpSender(frame);
      if (said !== undefined) heard.push(said);
      return true;
    },
    setLinkUp: (up) => links.push(up),
  });
  return {
    heard,
    links,
    ask: (target) =>
      guest.receive(arp(ARP_REQUEST, { mac, address: 0x0a00020e + (mac & 0xff) }, { mac: 0, address: target })),
    close: () => networks.close(),
  };
}

test('machines reach each other, and the user network of the switch', limit, async () => {
  const path = join(folder, 'one.sock');
  const served = await HostSwitch.start({ listen: { path }, netdevs: [{ kind: 'user' }] });
  const [one, other] = [await machine(path, 0x525400000001), await machine(path, 0x525400000002)];
  await until(() => one.links.at(-1) === true && other.links.at(-1) === true);
  one.ask(0x0a000202);
  await until(() => other.heard.length > 0 && one.heard.length > 0);
  assert.equal(other.heard[0]?.mac, 0x525400000001);
  assert.equal(one.heard[0]?.address, 0x0a000202);
  assert.deepEqual(
    served.paths.report().interfaces.map(({ name, mac, inForce }) => [name, mac, inForce]),
    [
      ['port1', undefined, 'switch/user0'],
      ['port2', undefined, 'switch/user0'],
    ],
  );
  one.close();
  await until(() => served.paths.report().interfaces.length === 1);
  other.close();
  await served[Symbol.asyncDispose]();
});

test('with the last path a machine’s carrier goes, and comes back with it', limit, async () => {
  const path = join(folder, 'two.sock');
  const up = join(folder, 'up.sock');
  const far = farEnd(up);
  const netdevs = [{ kind: 'stream', path: up, reconnectMs: 20 }] as const;
  const served = await HostSwitch.start({ listen: { path }, netdevs });
  const one = await machine(path, 0x525400000001);
  await until(() => one.links.at(-1) === true);
  far.close();
  await until(() => one.links.at(-1) === false);
  const again = farEnd(up);
  await until(() => one.links.at(-1) === true);
  one.close();
  await served[Symbol.asyncDispose]();
  again.close();
});

/** Whoever is at the other end of the switch's uplink. */
function farEnd(path: string): { close(): void } {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => sockets.add(socket.resume())).listen(path);
  return {
    close: () => {
      server.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}
