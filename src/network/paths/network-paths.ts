/**
 * Mechanism 9 whole: virtual interfaces, uplinks, the table that maps one to the other, and what changes it. One instance
 * serves all partitions of a process. When a path fails, the mapping of whoever used it changes at once, the segment is
 * told where the guest's addresses are now, and the guest notices nothing; when the last path is lost, its carrier is.
 */
import { must } from '../../base/assert.ts';
import { OperatorError } from '../../base/errors.ts';
import type { GuestOffload } from '../guest-link.ts';
import { announce } from './announcer.ts';
import { Capture, type CaptureOptions } from './capture.ts';
import { type Condition, choose, isUsable } from './choose.ts';
import { type PathEvent, type PathEventKind, PathEvents } from './events.ts';
import { Finisher } from './finish.ts';
import type { GuestAddress } from './guest-addresses.ts';
import { MappingTable, MOST_UPLINKS } from './mapping-table.ts';
import { MONITOR_SETTINGS, type MonitorSettings, PathMonitor, type WatchedPath } from './path-monitor.ts';
import type {
  InterfaceLink,
  InterfaceOptions,
  InterfacePort,
  PathPorts,
  UplinkLink,
  UplinkOptions,
  UplinkPort,
} from './ports.ts';
import { type NetReport, netReport, type PathStats, pathStats } from './report.ts';
import { Uplink } from './uplink.ts';
import { VirtualInterface } from './virtual-interface.ts';
import { VirtualSwitch } from './virtual-switch.ts';

export interface PathOptions {
  /** Default true. Off: each interface stays with the uplink that it has, the first one, whatever becomes of that. */
  readonly failover?: boolean;
  readonly monitor?: Partial<MonitorSettings>;
}

const MOST_PORTS = 256;
/** Longer than any frame takes through a segment. */
const DRAINED_MS = 200;

export class NetworkPaths {
  readonly #ports: PathPorts;
  readonly #settings: MonitorSettings;
  readonly #events: PathEvents;
  readonly #finisher = new Finisher();
  readonly #table = new MappingTable<Uplink>();
  readonly #interfaces = new Map<string, VirtualInterface>();
  readonly #uplinks = new Map<string, Uplink>();
  readonly #switches = new Map<string, VirtualSwitch>();
  readonly #captures = new Set<Capture>();
  #failover: boolean;

  constructor(ports: PathPorts, options: PathOptions = {}) {
    this.#ports = ports;
    this.#failover = options.failover ?? true;
    this.#settings = { ...MONITOR_SETTINGS, ...options.monitor };
    this.#events = new PathEvents(ports.wallMs);
  }

  get failover(): boolean {
    return this.#failover;
  }

  /** Errors: `uplink-exists`, `mac-in-use`, `too-many-uplinks`. */
  addUplink(options: UplinkOptions, link: UplinkLink): UplinkPort {
    const { name, network } = options;
    if (this.#uplinks.has(name))
      throw new OperatorError('uplink-exists', `There is an uplink ${name} already`, 'Give it another id');
    if (this.#uplinks.size >= MOST_PORTS)
      throw new OperatorError('too-many-uplinks', `There are ${MOST_PORTS} uplinks already`, 'Share some');
    const uplink = new Uplink(options, link, this.#ports, this.#settings, this.#finisher);
    const on = this.#switch(network);
    checkFree(on, uplink);
    this.#uplinks.set(name, uplink);
    on.addUplink(uplink);
    this.#events.add('uplink-added', name, `${uplink.kind}, network ${network}`);
    return {
      receive: (frame, offload) => uplink.isGone || on.fromUplink(uplink, frame, offload),
      setCarrier: (up, cause) => {
        if (!uplink.isGone) on.monitor.setCarrier(uplink, up, cause);
      },
      remove: (cause) => this.#removeUplink(uplink, cause),
    };
  }

  /** Errors: `interface-exists`, `mac-in-use`, and those of `map`. */
  addInterface(options: InterfaceOptions, link: InterfaceLink): InterfacePort {
    const { name, mac, failback = 'always' } = options;
    const uplinks = this.#named(options.uplinks);
    const network = uplinks[0]?.network ?? name;
    checkOneNetwork(name, network, uplinks);
    const row = this.#table.add(name, failback, this.#ports.wallMs());
    const one = new VirtualInterface({ name, mac, network }, row, link, this.#finisher);
    one.addresses.take(options.addresses ?? []);
    const on = this.#switch(network);
    try {
      checkFree(on, one);
    } catch (error) {
      this.#table.remove(name);
      throw error;
    }
    this.#interfaces.set(name, one);
    on.addInterface(one);
    this.#setUplinks(one, uplinks, 'as it was started');
    return {
      receive: (frame, offload) => {
        if (!one.isGone) on.fromInterface(one, frame, offload);
      },
      setGuestOffload: (offload) => {
        one.offload = offload;
        if (row.inForce !== undefined) tellOffload(row.inForce);
      },
      setGuestReady: (ready) => {
        if (ready) row.inForce?.link.room?.();
      },
      remove: () => this.#removeInterface(one),
    };
  }

  /**
   * Maps an interface to these uplinks, the preferred one first; what is in force stays if it is among them and well.
   * Errors: `no-such-interface`, `no-such-uplink`, `mixed-networks`.
   */
  map(name: string, uplinks: readonly string[]): void {
    this.#setUplinks(this.#interface(name), this.#named(uplinks), 'mapped by the operator');
  }

  /** Takes an uplink, or all of them, from an interface. Errors: `no-such-interface`, `not-mapped`. */
  unmap(name: string, uplink?: string): void {
    const one = this.#interface(name);
    const rest = uplink === undefined ? [] : one.row.uplinks.filter((other) => other.name !== uplink);
    if (uplink !== undefined && rest.length === one.row.uplinks.length)
      throw new OperatorError(
        'not-mapped',
        `${name} is not mapped to ${uplink}`,
        'See "kage net ls" for what is mapped',
      );
    this.#setUplinks(one, rest, 'unmapped by the operator');
  }

  /** Puts one of its uplinks first and, if it is usable, in force. Errors: as `unmap`. */
  prefer(name: string, uplink: string): void {
    const one = this.#interface(name);
    const first = one.row.uplinks.find((other) => other.name === uplink);
    if (first === undefined)
      throw new OperatorError('not-mapped', `${name} is not mapped to ${uplink}`, `Map it: kage net map`);
    const cause = 'preferred by the operator';
    this.#setUplinks(one, [first, ...one.row.uplinks.filter((other) => other !== first)], cause);
    if (isUsable(first.health.condition) && one.row.inForce !== first) this.#put(one, first, cause);
  }

  setFailover(on: boolean): void {
    if (this.#failover === on) return;
    this.#failover = on;
    this.#events.add(on ? 'failover-on' : 'failover-off', 'all', 'set by the operator');
    for (const one of this.#interfaces.values()) this.#review(one, 'path failover was switched');
  }

  /** Frames from now on, as pcapng, until the capture is closed. Errors: `no-such-port`. */
  capture(options: CaptureOptions, write: (bytes: Uint8Array) => void): { close(): void } {
    const { port } = options;
    if (port !== undefined && !this.#interfaces.has(port) && !this.#uplinks.has(port)) {
      const names = [...this.#interfaces.keys(), ...this.#uplinks.keys()].join(', ');
      throw new OperatorError('no-such-port', `There is no interface or uplink ${port}`, `Name one of ${names}`);
    }
    const capture = new Capture(options, write, this.#ports.wallMs);
    this.#captures.add(capture);
    this.#setTaps();
    return {
      close: () => {
        this.#captures.delete(capture);
        this.#setTaps();
      },
    };
  }

  events(since = 0): PathEvent[] {
    return this.#events.since(since);
  }

  /** What the guest behind an interface is known to answer to. Errors: `no-such-interface`. */
  guestAddresses(name: string): readonly GuestAddress[] {
    return this.#interface(name).addresses.list();
  }

  report(): NetReport {
    return netReport(this.#failover, this.#interfaces.values(), this.#uplinks.values());
  }

  stats(): PathStats {
    return pathStats(this.report(), this.#switches, this.#events);
  }

  /** Stops watching; nothing is carried any more. */
  close(): void {
    for (const one of this.#interfaces.values()) {
      one.isGone = true;
      one.stopAnnouncing();
    }
    for (const one of this.#uplinks.values()) one.isGone = true;
    for (const one of this.#switches.values()) one.monitor.close();
    this.#interfaces.clear();
    this.#uplinks.clear();
    this.#switches.clear();
  }

  #switch(network: string): VirtualSwitch {
    const known = this.#switches.get(network);
    if (known !== undefined) return known;
    const monitor = new PathMonitor(this.#ports, this.#settings, {
      changed: (path, before, cause) => this.#changed(path, before, cause),
    });
    const made = new VirtualSwitch(this.#ports, this.#events, monitor);
    this.#switches.set(network, made);
    this.#setTaps();
    return made;
  }

  #interface(name: string): VirtualInterface {
    return must(this.#interfaces.get(this.#table.row(name).interface));
  }

  #named(names: readonly string[]): Uplink[] {
    if (names.length > MOST_UPLINKS || new Set(names).size < names.length)
      throw new OperatorError('bad-usage', 'An uplink is named twice, or too many are', 'Name each once');
    return names.map((name) => {
      const uplink = this.#uplinks.get(name);
      if (uplink !== undefined) return uplink;
      const known = [...this.#uplinks.keys()].join(', ') || 'none';
      throw new OperatorError('no-such-uplink', `There is no uplink ${name}`, `Those that are: ${known}`);
    });
  }

  #setUplinks(one: VirtualInterface, uplinks: readonly Uplink[], cause: string): void {
    checkOneNetwork(one.name, one.network, uplinks);
    one.row.uplinks = uplinks;
    this.#events.add('mapped', one.name, `${uplinks.map(({ name }) => name).join(', ') || 'to nothing'}: ${cause}`);
    this.#review(one, cause);
  }

  /** A path is in another condition: whoever has it in the table may have to change. */
  #changed(path: WatchedPath, before: Condition, cause: string): void {
    const uplink = this.#uplinks.get(path.name);
    if (uplink !== path) return;
    const { condition } = uplink.health;
    if (isUsable(before) && !isUsable(condition)) uplink.counters.failures += 1;
    this.#events.add(kindOf(before, condition), path.name, cause);
    for (const one of this.#interfaces.values())
      if (one.row.uplinks.includes(uplink)) this.#review(one, `${path.name}: ${cause}`, { isEdit: false });
  }

  /** Chooses anew; what is in force changes only if it has to, or if the policy says so. */
  #review(one: VirtualInterface, cause: string, { isEdit } = { isEdit: true }): void {
    const { row } = one;
    const candidates = row.uplinks.map((uplink) => ({
      uplink,
      condition: uplink.health.condition,
      speedMbps: uplink.speedMbps,
    }));
    const choice = choose(candidates, row.inForce, { failback: row.failback, failover: this.#failover });
    if (choice.kind === 'switch')
      this.#put(one, choice.to, choice.why === 'failback' && !isEdit ? `fail-back: ${cause}` : cause);
    else if (choice.kind === 'lost' && (row.inForce !== undefined || one.linkUp !== false))
      this.#put(one, undefined, cause);
    else if (row.inForce !== undefined) one.setLinkUp(true);
  }

  #put(one: VirtualInterface, to: Uplink | undefined, why: string): void {
    const { row } = one;
    const from = row.inForce;
    const nowMs = this.#ports.clock.nowMs();
    row.inForce = to;
    row.sinceWallMs = this.#ports.wallMs();
    row.why = why;
    from?.carried.delete(one);
    one.stopAnnouncing();
    const isLeftWell = from !== undefined && to !== undefined && isUsable(from.health.condition);
    one.draining = isLeftWell ? { uplink: from, untilMs: nowMs + DRAINED_MS } : undefined;
    one.changedMs = nowMs;
    if (from !== undefined && from.carried.size > 0) tellOffload(from);
    if (to === undefined) {
      one.setLinkUp(false);
      this.#events.add('all-paths-lost', one.name, why, from === undefined ? {} : { from: from.name });
      return;
    }
    row.counters.switches += 1;
    to.carried.add(one);
    tellOffload(to);
    announce(one, to, this.#switch(one.network), this.#ports.timers);
    if (from === undefined) this.#events.add('paths-regained', one.name, why, { to: to.name });
    else this.#events.add('switched', one.name, why, { from: from.name, to: to.name });
    one.setLinkUp(true);
    to.link.room?.();
  }

  #removeUplink(uplink: Uplink, cause: string): void {
    if (uplink.isGone) return;
    uplink.isGone = true;
    this.#uplinks.delete(uplink.name);
    must(this.#switches.get(uplink.network)).removeUplink(uplink);
    this.#events.add('uplink-removed', uplink.name, cause);
    for (const one of this.#interfaces.values()) {
      if (!one.row.uplinks.includes(uplink)) continue;
      one.row.uplinks = one.row.uplinks.filter((other) => other !== uplink);
      this.#review(one, `${uplink.name}: ${cause}`);
    }
    this.#sweep(uplink.network);
  }

  #removeInterface(one: VirtualInterface): void {
    if (one.isGone) return;
    one.isGone = true;
    this.#interfaces.delete(one.name);
    this.#table.remove(one.name);
    one.stopAnnouncing();
    one.row.inForce?.carried.delete(one);
    must(this.#switches.get(one.network)).removeInterface(one);
    this.#sweep(one.network);
  }

  /** A network without ports is none. */
  #sweep(network: string): void {
    const on = this.#switches.get(network);
    if (on === undefined || on.interfaces.size > 0 || on.uplinks.size > 0) return;
    on.monitor.close();
    this.#switches.delete(network);
  }

  #setTaps(): void {
    const captures = [...this.#captures];
    for (const one of this.#switches.values())
      one.tap =
        captures.length === 0
          ? undefined
          : (port, direction, frame) => {
              for (const capture of captures) capture.take(port, direction, frame);
            };
  }
}

/** What all that are mapped to an uplink can do is what it may leave to them. */
function tellOffload({ carried, link }: Uplink): void {
  const offloads: GuestOffload[] = [...carried].map(({ offload }) => offload);
  if (offloads.length === 0) return;
  link.setGuestOffload?.({
    checksum: offloads.every(({ checksum }) => checksum),
    largePacketBytes: Math.min(...offloads.map(({ largePacketBytes }) => largePacketBytes)),
    largePacketBytes6: Math.min(...offloads.map(({ largePacketBytes6 = 0 }) => largePacketBytes6)),
  });
}

function checkFree(
  on: VirtualSwitch,
  { name, mac }: { readonly name: string; readonly mac: number | undefined },
): void {
  const owner = mac === undefined ? undefined : on.owner(mac);
  if (owner === undefined) return;
  throw new OperatorError(
    'mac-in-use',
    `${name} would have the hardware address of ${owner.name}, in one network`,
    'Give it one of its own: mac=52:54:00:12:34:57',
  );
}

function checkOneNetwork(name: string, network: string, uplinks: readonly Uplink[]): void {
  const foreign = uplinks.find((one) => one.network !== network);
  if (foreign === undefined) return;
  throw new OperatorError(
    'mixed-networks',
    `${foreign.name} leads to the network ${foreign.network}, and ${name} is in ${network}`,
    'Give uplinks that lead to one segment the same network=NAME',
  );
}

function kindOf(before: Condition, now: Condition): PathEventKind {
  if (now === 'down') return 'carrier-lost';
  if (now === 'silent') return 'path-silent';
  if (before === 'down') return 'carrier-regained';
  return before === 'silent' ? 'path-answers' : 'path-well';
}
