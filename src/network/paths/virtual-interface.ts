/** A virtual interface of the switch: a partition's network device, its row of the table, what was learned of its guest. */
import type { Mac } from '../addresses.ts';
import type { GuestOffload } from '../guest-link.ts';
import type { FrameOffload, Timer } from '../ports.ts';
import { type Finisher, guestTakes } from './finish.ts';
import { GuestAddresses } from './guest-addresses.ts';
import type { MappingRow } from './mapping-table.ts';
import type { InterfaceLink } from './ports.ts';
import { StormLimit } from './storm-limit.ts';
import type { Uplink } from './uplink.ts';

export class VirtualInterface {
  readonly name: string;
  readonly mac: Mac | undefined;
  readonly network: string;
  readonly row: MappingRow<Uplink>;
  readonly link: InterfaceLink;
  readonly addresses = new GuestAddresses();
  readonly storm = new StormLimit();
  offload: GuestOffload = { checksum: false, largePacketBytes: 0 };
  /** What the guest sees; undefined before it was told. */
  linkUp: boolean | undefined;
  /** When what is in force changed last, by the clock. */
  changedMs = 0;
  /** The uplink that was left while it was well: what is under way there still comes. */
  draining: { readonly uplink: Uplink; readonly untilMs: number } | undefined;
  /** Announcements that are still to come. */
  announcing: Timer[] = [];
  stormToldMs = Number.NEGATIVE_INFINITY;
  /** Removed: nothing of it is carried any more. */
  isGone = false;
  readonly #finisher: Finisher;

  constructor(
    { name, mac, network }: { readonly name: string; readonly mac: Mac | undefined; readonly network: string },
    row: MappingRow<Uplink>,
    link: InterfaceLink,
    finisher: Finisher,
  ) {
    this.name = name;
    this.mac = mac;
    this.network = network;
    this.row = row;
    this.link = link;
    this.#finisher = finisher;
  }

  setLinkUp(up: boolean): void {
    if (this.linkUp === up) return;
    this.linkUp = up;
    this.link.setLinkUp(up);
  }

  /** A frame for the guest; false when it had no room for all of it. */
  deliver(frame: Uint8Array, offload: FrameOffload | undefined): boolean {
    if (guestTakes(frame, offload, this.offload)) return this.#give(frame, offload);
    if (offload === undefined) return true;
    const taken = this.#finisher.finish(frame, offload, (whole) => this.#give(whole, undefined));
    if (taken === undefined) this.row.counters.droppedIn += 1;
    return taken ?? true;
  }

  #give(frame: Uint8Array, offload: FrameOffload | undefined): boolean {
    const { counters } = this.row;
    const taken = offload === undefined ? this.link.deliver(frame) : this.link.deliver(frame, offload);
    if (!taken) {
      counters.droppedIn += 1;
      return false;
    }
    counters.framesIn += 1;
    counters.bytesIn += frame.length;
    return true;
  }

  stopAnnouncing(): void {
    for (const timer of this.announcing) timer.cancel();
    this.announcing = [];
  }
}
