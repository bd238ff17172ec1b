/**
 * The virtual switch of one network: virtual interfaces of any partition, and uplinks that lead to one segment.
 *
 *     interface --frame--> learn --> known at another interface: there
 *                                    known on the segment:       uplink in force of this interface
 *                                    a group, or unknown:        every other interface, and that uplink
 *     uplink --frame--> a probe: to the monitor. From an address of ours: came back, dropped. Else learn, and
 *                       deliver to interfaces that have this uplink in force, and to no others
 *
 * A frame never goes from uplink to uplink, nor back to where it came from: two uplinks of one segment are no loop.
 */
import type { Mac } from '../addresses.ts';
import type { FrameOffload } from '../ports.ts';
import { EchoFilter } from './echo-filter.ts';
import type { PathEvents } from './events.ts';
import { ForwardingTable } from './forwarding-table.ts';
import { HEADER_BYTES, isToGroup, LONGEST_FRAME_BYTES, macAt, vlanOf, wordAt } from './frame.ts';
import { mayNameAddress } from './guest-addresses.ts';
import type { PathMonitor } from './path-monitor.ts';
import type { Direction } from './pcapng.ts';
import type { PathPorts } from './ports.ts';
import { arpSender, ETHERTYPE_PROBE } from './probe.ts';
import type { StormLimit } from './storm-limit.ts';
import type { Uplink } from './uplink.ts';
import type { VirtualInterface } from './virtual-interface.ts';

export type Tap = (port: string, direction: Direction, frame: Uint8Array) => void;

/** An address that a guest made up, or that stands behind it, may move to the segment when it was quiet for so long. */
const MAY_MOVE_AFTER_MS = 5000;
/** Between two events that tell of a storm at a port. */
const STORM_TOLD_MS = 10_000;
/** Where a remote address is: on the segment, whichever uplink leads there. */
const SEGMENT = 'segment';

export interface SwitchCounters {
  flooded: number;
  local: number;
  spoofed: number;
  hairpin: number;
}

export class VirtualSwitch {
  readonly counters: SwitchCounters = { flooded: 0, local: 0, spoofed: 0, hairpin: 0 };
  readonly interfaces = new Set<VirtualInterface>();
  readonly uplinks = new Set<Uplink>();
  readonly monitor: PathMonitor;
  tap: Tap | undefined;
  readonly #ports: PathPorts;
  readonly #events: PathEvents;
  readonly #locals = new ForwardingTable<VirtualInterface>();
  readonly #remotes = new ForwardingTable<typeof SEGMENT>({ perPlace: 4096, total: 4096, ageMs: 300_000 });
  /** Hardware addresses of the devices themselves, and of our probes. */
  readonly #owned = new Map<Mac, VirtualInterface | Uplink>();
  readonly #echoes = new EchoFilter<Uplink>();

  constructor(ports: PathPorts, events: PathEvents, monitor: PathMonitor) {
    this.#ports = ports;
    this.#events = events;
    this.monitor = monitor;
  }

  owner(mac: Mac): VirtualInterface | Uplink | undefined {
    return this.#owned.get(mac);
  }

  /** Addresses that were learned: of guests, of the segment. */
  get learned(): { local: number; remote: number; evicted: number } {
    const evicted = this.#locals.evicted + this.#remotes.evicted;
    return { local: this.#locals.size, remote: this.#remotes.size, evicted };
  }

  addInterface(one: VirtualInterface): void {
    this.interfaces.add(one);
    if (one.mac !== undefined) this.#owned.set(one.mac, one);
  }

  removeInterface(one: VirtualInterface): void {
    this.interfaces.delete(one);
    if (one.mac !== undefined) this.#owned.delete(one.mac);
    this.#locals.forgetPlace(one);
  }

  addUplink(one: Uplink): void {
    this.uplinks.add(one);
    this.#owned.set(one.mac, one);
    this.monitor.add(one);
  }

  removeUplink(one: Uplink): void {
    this.uplinks.delete(one);
    this.#owned.delete(one.mac);
    this.#echoes.forget(one);
    this.monitor.remove(one);
  }

  /** Hardware addresses from which the guest has sent. */
  *addressesOf(one: VirtualInterface): Generator<{ readonly mac: Mac; readonly vlan: number }> {
    for (const entry of this.#locals.entries()) if (entry.place === one) yield entry;
  }

  /** A frame of a guest's. */
  fromInterface(one: VirtualInterface, frame: Uint8Array, offload: FrameOffload | undefined): void {
    const { counters, inForce } = one.row;
    const source = macAt(frame, 6);
    if (frame.length < HEADER_BYTES || frame.length > LONGEST_FRAME_BYTES || !isStation(source)) {
      counters.droppedOut += 1;
      return;
    }
    const owner = this.#owned.get(source);
    if (owner !== undefined && owner !== one) {
      this.counters.spoofed += 1;
      counters.droppedOut += 1;
      return;
    }
    counters.framesOut += 1;
    counters.bytesOut += frame.length;
    this.tap?.(one.name, 'in', frame);
    const nowMs = this.#ports.clock.nowMs();
    const vlan = vlanOf(frame);
    this.#locals.learn(source, vlan, one, nowMs);
    this.#remotes.forget(source, vlan);
    if (mayNameAddress(frame)) one.addresses.observe(frame);
    const target = isToGroup(frame) ? undefined : this.#placeOf(macAt(frame, 0), vlan, nowMs);
    if (target === one) this.counters.hairpin += 1;
    else if (target === SEGMENT) this.#toSegment(one, inForce, frame, offload);
    else if (target !== undefined) this.#toLocal(one, target, frame, offload);
    else if (!isFlood(frame, this.interfaces.size) || this.#mayFlood(one, one.storm, nowMs)) {
      if (this.interfaces.size > 1)
        for (const other of this.interfaces) if (other !== one) this.#toLocal(one, other, frame, offload);
      this.#toSegment(one, inForce, frame, offload);
    } else counters.stormsOut += 1;
  }

  /** A frame of the segment's. False: the one interface that it is for has no room. */
  fromUplink(one: Uplink, frame: Uint8Array, offload: FrameOffload | undefined): boolean {
    const { counters } = one;
    const source = macAt(frame, 6);
    if (frame.length < HEADER_BYTES || frame.length > LONGEST_FRAME_BYTES || !isStation(source)) {
      counters.droppedIn += 1;
      return true;
    }
    const target = macAt(frame, 0);
    const isOurs = target === one.mac;
    if ((isOurs || wordAt(frame, 12) === ETHERTYPE_PROBE) && this.monitor.takes(one, frame)) return true;
    // Another uplink's question to everybody.
    const owner = this.#owned.get(source);
    if (owner !== undefined && !('row' in owner)) return true;
    counters.framesIn += 1;
    counters.bytesIn += frame.length;
    this.tap?.(one.name, 'in', frame);
    const nowMs = this.#ports.clock.nowMs();
    const vlan = vlanOf(frame);
    if (owner !== undefined || this.#cameBack(source, vlan, frame, nowMs)) {
      counters.reflected += 1;
      return true;
    }
    one.heardFrames += 1;
    this.#remotes.learn(source, vlan, SEGMENT, nowMs);
    if (mayNameAddress(frame)) this.#hear(frame);
    if (isOurs) return true;
    const local = isToGroup(frame) ? undefined : this.#placeOf(target, vlan, nowMs);
    if (local === SEGMENT) return true;
    if (local !== undefined) return this.#deliverOne(one, local, frame, offload, nowMs);
    if (this.#mayFlood(one, one.storm, nowMs)) this.#deliverAll(one, frame, offload, nowMs);
    else counters.stormsIn += 1;
    return true;
  }

  #deliverAll(one: Uplink, frame: Uint8Array, offload: FrameOffload | undefined, nowMs: number): void {
    const seenMs = this.#echoes.seenMs(frame, one, nowMs);
    for (const to of one.carried)
      if (seenMs !== undefined && to.changedMs >= seenMs) one.counters.duplicates += 1;
      else this.#toGuest(to, frame, offload);
  }

  /**
   * By the uplink in force alone; after a fail-back for a moment by the former one too, where frames are still under way,
   * and no frame twice.
   */
  #deliverOne(
    one: Uplink,
    to: VirtualInterface,
    frame: Uint8Array,
    offload: FrameOffload | undefined,
    nowMs: number,
  ): boolean {
    const { counters } = one;
    const { draining } = to;
    const isDraining = draining !== undefined && nowMs < draining.untilMs;
    if (to.row.inForce !== one && !(isDraining && draining.uplink === one)) {
      counters.notInForce += 1;
      return true;
    }
    if (isDraining && this.#echoes.seenMs(frame, one, nowMs) !== undefined) {
      counters.duplicates += 1;
      return true;
    }
    const taken = this.#toGuest(to, frame, offload);
    // A link that several share must not wait for one of them.
    return taken || one.carried.size !== 1;
  }

  #placeOf(mac: Mac, vlan: number, nowMs: number): VirtualInterface | typeof SEGMENT | undefined {
    const place = this.#locals.find(mac, vlan, nowMs);
    if (place !== undefined) return place;
    const owner = this.#owned.get(mac);
    if (owner !== undefined && 'row' in owner) return owner;
    return this.#remotes.find(mac, vlan, nowMs);
  }

  /**
   * Whether the source is an address of ours: what one uplink sent, another brings back. An address that a guest only
   * used, and did not use lately, may have moved: who announces it on the segment has it.
   */
  #cameBack(source: Mac, vlan: number, frame: Uint8Array, nowMs: number): boolean {
    const place = this.#locals.find(source, vlan, nowMs);
    if (place === undefined) return false;
    const quietMs = nowMs - (this.#locals.heardMs(source, vlan) ?? nowMs);
    if (quietMs < MAY_MOVE_AFTER_MS || !mayNameAddress(frame)) return true;
    this.#locals.forget(source, vlan);
    this.#events.add('address-moved', place.name, 'an address of its guest was announced on the segment');
    return false;
  }

  #hear(frame: Uint8Array): void {
    const host = arpSender(frame);
    if (host !== undefined) this.monitor.noteHost(host.address);
    for (const one of this.interfaces) one.addresses.observeOthers(frame);
  }

  #mayFlood(port: VirtualInterface | Uplink, storm: StormLimit, nowMs: number): boolean {
    if (storm.take(nowMs)) {
      this.counters.flooded += 1;
      return true;
    }
    if (nowMs - port.stormToldMs > STORM_TOLD_MS) {
      port.stormToldMs = nowMs;
      this.#events.add('storm', port.name, 'more frames for everybody than its rate allows');
    }
    return false;
  }

  #toLocal(from: VirtualInterface, to: VirtualInterface, frame: Uint8Array, offload: FrameOffload | undefined): void {
    this.counters.local += 1;
    from.row.counters.localOut += 1;
    to.row.counters.localIn += 1;
    this.#toGuest(to, frame, offload);
  }

  #toGuest(to: VirtualInterface, frame: Uint8Array, offload: FrameOffload | undefined): boolean {
    this.tap?.(to.name, 'out', frame);
    return to.deliver(frame, offload);
  }

  #toSegment(
    from: VirtualInterface,
    uplink: Uplink | undefined,
    frame: Uint8Array,
    offload: FrameOffload | undefined,
  ): void {
    if (uplink === undefined) {
      from.row.counters.noPath += 1;
      return;
    }
    this.tap?.(uplink.name, 'out', frame);
    uplink.transmit(frame, offload);
  }
}

/** A frame for one that nobody knows burdens others only if there are some. */
function isFlood(frame: Uint8Array, interfaces: number): boolean {
  return interfaces > 1 || isToGroup(frame);
}

/** Whether it can be the address of one sender: no group's, and not zero. */
function isStation(mac: Mac): boolean {
  return mac !== 0 && (Math.floor(mac / 2 ** 40) & 1) === 0;
}
