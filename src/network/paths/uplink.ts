/** An uplink of the switch: its link, what is known of its health, its counters, who is mapped to it now. */
import type { Ipv4, Mac } from '../addresses.ts';
import type { FrameOffload } from '../ports.ts';
import { newUplinkCounters, type UplinkCounters } from './counters.ts';
import type { Finisher } from './finish.ts';
import { HEADER_BYTES, tagBytes } from './frame.ts';
import { type HealthSettings, PathHealth } from './path-health.ts';
import type { WatchedPath } from './path-monitor.ts';
import type { PathPorts, Probing, UplinkLink, UplinkOptions } from './ports.ts';
import { StormLimit } from './storm-limit.ts';
import type { VirtualInterface } from './virtual-interface.ts';

const LOCALLY_ADMINISTERED = 0x02;

export class Uplink implements WatchedPath {
  readonly name: string;
  readonly kind: string;
  readonly network: string;
  readonly mac: Mac;
  readonly probing: Probing;
  readonly targets: readonly Ipv4[];
  readonly speedMbps: number;
  readonly mtuBytes: number;
  readonly link: UplinkLink;
  readonly health: PathHealth;
  readonly counters: UplinkCounters = newUplinkCounters();
  readonly storm = new StormLimit();
  /** Interfaces that have it in force. */
  readonly carried = new Set<VirtualInterface>();
  heardFrames = 0;
  /** When a storm was told of last. */
  stormToldMs = Number.NEGATIVE_INFINITY;
  /** Removed: nothing of it is carried any more. */
  isGone = false;
  readonly #offloads: boolean;
  readonly #finisher: Finisher;

  constructor(
    options: UplinkOptions,
    link: UplinkLink,
    ports: PathPorts,
    settings: HealthSettings,
    finisher: Finisher,
  ) {
    this.name = options.name;
    this.kind = options.kind;
    this.network = options.network;
    this.targets = options.targets ?? [];
    this.probing = options.probing ?? (this.targets.length > 0 ? 'arp' : 'mutual');
    this.speedMbps = options.speedMbps ?? 0;
    this.mtuBytes = options.mtuBytes ?? 1500;
    this.mac = options.mac ?? ownMac(ports.random);
    this.link = link;
    this.#offloads = options.offloads ?? false;
    this.#finisher = finisher;
    const isProbed = this.probing === 'arp';
    const nowMs = ports.clock.nowMs();
    this.health = new PathHealth(settings, { isProbed, carrier: options.carrier ?? true, nowMs });
  }

  get isInForce(): boolean {
    return this.carried.size > 0;
  }

  sendProbe(frame: Uint8Array): void {
    this.link.send(frame);
  }

  /** A frame for the segment, finished first where the link does not do that. */
  transmit(frame: Uint8Array, offload?: FrameOffload): void {
    if (offload === undefined || this.#offloads) this.#send(frame, offload);
    else if (this.#finisher.finish(frame, offload, (whole) => this.#send(whole)) === undefined)
      this.counters.droppedOut += 1;
  }

  #send(frame: Uint8Array, offload?: FrameOffload): boolean {
    const { counters } = this;
    const isTooLong = frame.length > this.mtuBytes + HEADER_BYTES && this.#isBeyondMtu(frame, offload);
    if (isTooLong || !(offload === undefined ? this.link.send(frame) : this.link.send(frame, offload))) {
      counters.droppedOut += 1;
      return false;
    }
    counters.framesOut += 1;
    counters.bytesOut += frame.length;
    return true;
  }

  #isBeyondMtu(frame: Uint8Array, offload: FrameOffload | undefined): boolean {
    if (offload !== undefined && offload.segmentBytes > 0) return offload.segmentBytes > this.mtuBytes;
    return frame.length > this.mtuBytes + HEADER_BYTES + tagBytes(frame);
  }
}

function ownMac(random: () => number): Mac {
  return ((LOCALLY_ADMINISTERED << 8) | (random() & 0xff)) * 2 ** 32 + (random() >>> 0);
}
