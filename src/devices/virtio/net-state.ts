/**
 * Numbers and state of the network device (virtio 1.2, section 5.1): features, configuration, control commands, and what
 * its block holds. Names are the specification's.
 */
import { array, struct, type View } from '../../base/struct.ts';
import { virtioFields } from './state.ts';

export const VIRTIO_NET_F = {
  CSUM: 0,
  GUEST_CSUM: 1,
  CTRL_GUEST_OFFLOADS: 2,
  MTU: 3,
  MAC: 5,
  GUEST_TSO4: 7,
  GUEST_TSO6: 8,
  HOST_TSO4: 11,
  HOST_TSO6: 12,
  MRG_RXBUF: 15,
  STATUS: 16,
  CTRL_VQ: 17,
  CTRL_RX: 18,
  CTRL_VLAN: 19,
  CTRL_RX_EXTRA: 20,
  GUEST_ANNOUNCE: 21,
  MQ: 22,
  CTRL_MAC_ADDR: 23,
} as const;

/** Offsets in struct virtio_net_config. */
export const CONFIG = { mac: 0, status: 6, maxPairs: 8, mtu: 10, end: 12 } as const;
export const VIRTIO_NET_S = { LINK_UP: 1, ANNOUNCE: 2 } as const;

/** Most pairs of queues; the control queue comes behind them. */
export const NET_PAIRS_MAX = 8;
/** Addresses that the filter knows, of each kind. A driver that sets more gets all of that kind. */
export const FILTER_ADDRESSES = 64;
export const MAC_BYTES = 6;
const VLANS = 4096;

export const netFields = {
  ...virtioFields(2 * NET_PAIRS_MAX + 1, CONFIG.end),
  /** The address that the host gave the device: the driver may set another, until it resets. */
  hardwareAddress: array('u8', MAC_BYTES),
  /** Pairs of queues that the driver has enabled. */
  pairs: 'u32',
  /** Offloads that the driver has left on, bits of VIRTIO_NET_F, once it has said so. */
  offloadsSet: 'u32',
  offloads: 'u32',
  /** Bits of RECEIVE (net-filter.ts). */
  receives: 'u32',
  unicasts: 'u32',
  multicasts: 'u32',
  unicastTable: array('u8', FILTER_ADDRESSES * MAC_BYTES),
  multicastTable: array('u8', FILTER_ADDRESSES * MAC_BYTES),
  /** A bit for each VLAN. */
  vlans: array('u32', VLANS / 32),
} as const;
export const netLayout = struct('virtio-net', netFields);
export type NetState = View<typeof netFields>;
