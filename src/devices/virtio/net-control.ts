/**
 * Control commands (virtio 1.2, section 5.1.6.5): a class, a command, its data, and a byte for the answer.
 *
 *     RX promiscuity and kinds of frames | MAC tables, address | VLAN add, remove
 *     ANNOUNCE acknowledged | MQ pairs in use | GUEST_OFFLOADS left on
 *
 * A command that makes no sense, or whose feature was not accepted, is answered with VIRTIO_NET_ERR and changes nothing.
 */
import type { Chain } from './chain.ts';
import { RECEIVE_KINDS, setAddresses } from './net-filter.ts';
import { CONFIG, FILTER_ADDRESSES, MAC_BYTES, type NetState, VIRTIO_NET_F, VIRTIO_NET_S } from './net-state.ts';

const CLASS = { RX: 0, MAC: 1, VLAN: 2, ANNOUNCE: 3, MQ: 4, GUEST_OFFLOADS: 5 } as const;
const MAC = { TABLE_SET: 0, ADDR_SET: 1 } as const;
/** Of class RX: commands from here on need CTRL_RX_EXTRA. */
const FIRST_EXTRA = 2;
const HEADER_BYTES = 2;
const OFFLOADS = [VIRTIO_NET_F.GUEST_CSUM, VIRTIO_NET_F.GUEST_TSO4, VIRTIO_NET_F.GUEST_TSO6] as const;

/** What commands act on. */
export interface Controlled {
  readonly state: NetState;
  /** Pairs that there are. */
  readonly pairsMax: number;
  accepted(feature: number): boolean;
  /** The number of pairs in use was set. */
  pairsChanged(): void;
  offloadsChanged(): void;
}

/** The answer to the command in a chain's device-readable bytes; undefined: some are out of the device's reach. */
export function control(net: Controlled, chain: Chain): 'ok' | 'error' | undefined {
  const command = new Command(chain);
  const header = command.bytes(0, HEADER_BYTES);
  if (header === undefined) return command.isBroken ? undefined : 'error';
  const done = perform(net, header[0] ?? 0, header[1] ?? 0, command);
  if (command.isBroken) return undefined;
  return done ? 'ok' : 'error';
}

/** A command's bytes, read piece by piece. */
class Command {
  /** Some byte was out of the device's reach. */
  isBroken = false;
  readonly #chain: Chain;

  constructor(chain: Chain) {
    this.#chain = chain;
  }

  get sizeBytes(): number {
    return this.#chain.readableBytes;
  }

  /** Undefined where the command is shorter. */
  bytes(at: number, count: number): Uint8Array | undefined {
    if (this.isBroken || at + count > this.sizeBytes) return undefined;
    const bytes = new Uint8Array(count);
    if (this.#chain.read(at, bytes)) return bytes;
    this.isBroken = true;
    return undefined;
  }

  /** The little-endian number that is all of the command's data. */
  number(bytes: 1 | 2 | 8): number | undefined {
    if (this.sizeBytes !== HEADER_BYTES + bytes) return undefined;
    return this.bytes(HEADER_BYTES, bytes)?.reduceRight((value, byte) => value * 256 + byte, 0);
  }
}

function perform(net: Controlled, kind: number, what: number, command: Command): boolean {
  const { state } = net;
  switch (kind) {
    case CLASS.RX:
      return receive(net, what, command.number(1));
    case CLASS.MAC:
      if (what === MAC.ADDR_SET) return setAddress(net, command);
      return what === MAC.TABLE_SET && net.accepted(VIRTIO_NET_F.CTRL_RX) && setTables(state, command);
    case CLASS.VLAN:
      return net.accepted(VIRTIO_NET_F.CTRL_VLAN) && setVlan(state, what, command.number(2));
    case CLASS.ANNOUNCE:
      if (what !== 0 || !net.accepted(VIRTIO_NET_F.GUEST_ANNOUNCE)) return false;
      state.config[CONFIG.status] = (state.config[CONFIG.status] ?? 0) & ~VIRTIO_NET_S.ANNOUNCE;
      return true;
    case CLASS.MQ: {
      const pairs = command.number(2) ?? 0;
      if (what !== 0 || !net.accepted(VIRTIO_NET_F.MQ) || pairs < 1 || pairs > net.pairsMax) return false;
      state.pairs = pairs;
      net.pairsChanged();
      return true;
    }
    case CLASS.GUEST_OFFLOADS:
      return what === 0 && net.accepted(VIRTIO_NET_F.CTRL_GUEST_OFFLOADS) && setOffloads(net, command.number(8));
    default:
      return false;
  }
}

function receive(net: Controlled, what: number, on: number | undefined): boolean {
  const feature = what < FIRST_EXTRA ? VIRTIO_NET_F.CTRL_RX : VIRTIO_NET_F.CTRL_RX_EXTRA;
  if (what >= RECEIVE_KINDS || on === undefined || !net.accepted(feature)) return false;
  const bit = 1 << what;
  net.state.receives = on === 0 ? net.state.receives & ~bit : net.state.receives | bit;
  return true;
}

function setAddress(net: Controlled, command: Command): boolean {
  if (!net.accepted(VIRTIO_NET_F.CTRL_MAC_ADDR) || command.sizeBytes !== HEADER_BYTES + MAC_BYTES) return false;
  const address = command.bytes(HEADER_BYTES, MAC_BYTES);
  if (address !== undefined) net.state.config.set(address, CONFIG.mac);
  return address !== undefined;
}

/** Two tables, each a number of entries and the entries: unicast addresses, then multicast ones. */
function setTables(state: NetState, command: Command): boolean {
  const unicasts = table(command, HEADER_BYTES);
  const multicasts = unicasts && table(command, unicasts.end);
  if (unicasts === undefined || multicasts === undefined || multicasts.end !== command.sizeBytes) return false;
  setAddresses(state, 'unicasts', unicasts.count, unicasts.addresses);
  setAddresses(state, 'multicasts', multicasts.count, multicasts.addresses);
  return true;
}

function table(command: Command, at: number): { count: number; addresses: Uint8Array; end: number } | undefined {
  const size = command.bytes(at, 4);
  if (size === undefined) return undefined;
  const count = new DataView(size.buffer).getUint32(0, true);
  const end = at + 4 + count * MAC_BYTES;
  const addresses = end > command.sizeBytes ? undefined : command.bytes(at + 4, keptBytes(count));
  return addresses && { count, addresses, end };
}

/** Of a table that is longer than the filter nothing is kept. */
function keptBytes(count: number): number {
  return count > FILTER_ADDRESSES ? 0 : count * MAC_BYTES;
}

function setVlan(state: NetState, what: number, vlan: number | undefined): boolean {
  if (vlan === undefined || vlan > 0xfff || what > 1) return false;
  const word = vlan >> 5;
  const bit = 1 << (vlan & 31);
  state.vlans[word] = what === 0 ? (state.vlans[word] ?? 0) | bit : (state.vlans[word] ?? 0) & ~bit;
  return true;
}

function setOffloads(net: Controlled, wanted: number | undefined): boolean {
  if (wanted === undefined) return false;
  // Section 5.1.6.5.8: only what was accepted; beyond 32 bits there is nothing that we offer.
  let known = 0;
  for (const bit of OFFLOADS) if (net.accepted(bit)) known |= 1 << bit;
  if (wanted > known || (wanted & ~known) !== 0) return false;
  net.state.offloads = wanted;
  net.state.offloadsSet = 1;
  net.offloadsChanged();
  return true;
}
