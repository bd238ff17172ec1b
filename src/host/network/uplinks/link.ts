/** What every uplink of this host has in common: how it is opened, what the switch sees of it, how it ends. */
import type { UplinkLink, UplinkOptions, UplinkPort } from '../../../network/index.ts';

/** What the switch is told of an uplink by who opens it; the rest is the operator's. */
export interface LinkFacts extends Pick<UplinkOptions, 'offloads' | 'carrier' | 'probing'> {
  readonly mtuBytes: number;
  /** The link gets frames for this hardware address alone: the guest must have it. */
  readonly onlyAddress?: string;
}

/** An uplink of this host that is open, before it is joined to a switch. */
export interface OpenedLink {
  readonly facts: LinkFacts;
  readonly link: UplinkLink;
  /** From now on frames and carrier go to the switch. Called once. */
  join(port: UplinkPort): void;
  close(): void;
}
