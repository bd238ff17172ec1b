/** The door of the network room: the user-mode network, its ports, and the notations that operators write. */
export { formatIpv4, formatMac, type Ipv4, type Mac, parseIpv4, parseMac, readMac } from './addresses.ts';
export {
  DEFAULT_LIMITS,
  type NetworkConfig,
  type NetworkLimits,
  type NetworkOptions,
  networkConfig,
  parseNetdevUser,
} from './config.ts';
export type { NetworkCounters } from './counters.ts';
export type { Deliver, GuestOffload } from './guest-link.ts';
export { FrameDecoder, prefixed } from './length-prefix.ts';
export {
  checkNetdev,
  NETDEV_KINDS,
  type NetdevKind,
  type NetdevOptions,
  parseNetdevOptions,
  parseUserNetdev,
} from './netdev.ts';
export { MAX_FRAME_BYTES } from './packet.ts';
export * from './paths/index.ts';
export type * from './ports.ts';
export { formatPublish, type PublishRule, parseHostForward, parsePublish } from './publish.ts';
export type { PublishedPort, PublishOutcome } from './publisher.ts';
export type { NetworkSnapshot } from './snapshot.ts';
export { UserNetwork, type UserNetworkParts } from './user-network.ts';
