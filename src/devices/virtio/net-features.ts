/** Which features the network device offers, and which go together (virtio 1.2, section 5.1.3). */
import { VIRTIO_NET_F as F } from './net-state.ts';

const CONTROL = [F.CTRL_RX, F.CTRL_VLAN, F.CTRL_RX_EXTRA, F.CTRL_MAC_ADDR, F.GUEST_ANNOUNCE] as const;
const OFFLOADS = [
  ...[F.CSUM, F.GUEST_CSUM, F.GUEST_TSO4, F.GUEST_TSO6, F.HOST_TSO4, F.HOST_TSO6],
  F.CTRL_GUEST_OFFLOADS,
] as const;

/** Section 5.1.3.1: a feature is accepted with what it needs, or not at all. */
const NEEDS: readonly (readonly [feature: number, needed: number])[] = [
  [F.GUEST_TSO4, F.GUEST_CSUM],
  [F.GUEST_TSO6, F.GUEST_CSUM],
  [F.HOST_TSO4, F.CSUM],
  [F.HOST_TSO6, F.CSUM],
  ...[...CONTROL, F.MQ, F.CTRL_GUEST_OFFLOADS].map((feature) => [feature, F.CTRL_VQ] as const),
];

export function netFeatures({ offloads, pairs }: { readonly offloads: boolean; readonly pairs: number }): number[] {
  return [
    ...[F.MAC, F.MTU, F.STATUS, F.MRG_RXBUF, F.CTRL_VQ, ...CONTROL],
    ...(offloads ? OFFLOADS : []),
    ...(pairs > 1 ? [F.MQ] : []),
  ];
}

export function netFeaturesFit(accepted: (feature: number) => boolean): boolean {
  return NEEDS.every(([feature, needed]) => !accepted(feature) || accepted(needed));
}
