/** A guest's part in the networks of its machine: how its options name it, and changes that the operator asks for. */
import { hostname } from 'node:os';
import { OperatorError } from '../../base/errors.ts';
import { DEFAULT_MAC } from '../../machine/index.ts';
import { type NetdevOptions, parsePublish } from '../../network/index.ts';
import type { GuestNetwork, GuestNetworkOptions } from '../network/guest-network.ts';
import type { MachineNetworks } from '../network/machine-networks.ts';
import type { MachineOptions, NetChange } from './machine-api.ts';
import { twinMac } from './readdressing.ts';

/** Of a guest by its options; of a twin with the uplinks of its original, and another address. */
export function guestNetworkOptions(options: MachineOptions, original: GuestNetwork | undefined): GuestNetworkOptions {
  const { name, failback, publish = [] } = options;
  const owner = name ?? `machine-${process.pid}`;
  const netdevs = original?.forTwin() ?? options.netdevs ?? [{ kind: 'user' }];
  return {
    owner,
    netdevs,
    mac: original === undefined ? (options.mac ?? defaultMac(netdevs, owner)) : twinMac(),
    publish: publish.map(parsePublish),
    ...(failback === undefined ? {} : { failback }),
  };
}

/** Alone behind a network of its own, a guest has QEMU's; on a segment with others one that follows from its name. */
function defaultMac(netdevs: readonly NetdevOptions[], owner: string): string {
  const isAlone = netdevs.every(({ kind, network }) => kind === 'user' && network === undefined);
  if (isAlone) return [...DEFAULT_MAC].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
  let hash = 0x811c9dc5;
  for (const character of `${hostname()}/${owner}`)
    hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 0x01000193);
  const own = (hash >>> 8).toString(16).padStart(6, '0');
  return `52:54:00:${own.slice(0, 2)}:${own.slice(2, 4)}:${own.slice(4)}`;
}

/** Six bytes of a hardware address as text. */
export function macBytes(mac: string): Uint8Array {
  return Uint8Array.from(mac.split(':'), (part) => Number.parseInt(part, 16));
}

/** Names without a guest's in front are this guest's. Rejects with OperatorError. */
export async function changeNet(
  networks: MachineNetworks,
  guest: GuestNetwork | undefined,
  { owner, change }: { readonly owner: string; readonly change: NetChange },
): Promise<void> {
  const { paths } = networks;
  const named = (name: string): string => guest?.named(name) ?? name;
  const target = named(change.interface ?? 'net0');
  const uplinks = (change.uplinks ?? []).map(named);
  switch (change.action) {
    case 'map':
      paths.map(target, uplinks);
      return;
    case 'unmap':
      if (uplinks.length === 0) paths.unmap(target);
      for (const uplink of uplinks) paths.unmap(target, uplink);
      return;
    case 'prefer':
      paths.prefer(target, uplinks[0] ?? '');
      return;
    case 'add':
      if (change.netdev === undefined)
        throw new OperatorError('bad-usage', 'no uplink is named', 'Write "kage net add"');
      await networks.addUplink(change.netdev, owner);
      return;
    case 'failover':
      paths.setFailover(change.on ?? true);
      return;
  }
}
