/**
 * A segment in virtual time for tests of paths: a learning bridge whose ports can lose their carrier, go silent, or keep
 * stale entries; a host on it; a guest behind a virtual interface. Frames take a moment on each way, by weather.
 */
import assert from 'node:assert/strict';
import { BROADCAST_MAC, type Ipv4, type Mac, writeMac } from '../addresses.ts';
import { ARP_REPLY, ARP_REQUEST, encodeArp } from '../arp.ts';
import type { FrameOffload } from '../ports.ts';
import { type Simulation, type Weather, weatheredLink } from '../simulation.testing.ts';
import { ETHERTYPE_ARP, macAt, typeAt, wordAt } from './frame.ts';
import { NetworkPaths, type PathOptions } from './network-paths.ts';
import type { InterfaceOptions, InterfacePort, UplinkOptions, UplinkPort } from './ports.ts';
import { arpSender } from './probe.ts';

export { ARP_REQUEST, arpSender };

export const WIRE: Weather = { loss: 0, duplicate: 0, minDelayMs: 0, maxDelayMs: 0.2 };

export const GUEST_MAC: Mac = 0x525400123456;
export const GUEST_IP: Ipv4 = 0x0a090001;
export const HOST_MAC: Mac = 0x020000000002;
export const HOST_IP: Ipv4 = 0x0a090002;
/** Of payloads that are numbered: a type for local experiments that is not the probes'. */
const ETHERTYPE_NUMBERED = 0x88b6;

type Send = (frame: Uint8Array) => void;

export class Bridge {
  /** Entries are learned at first sight and never change while a port is stale; else as any bridge does. */
  readonly table = new Map<Mac, number>();
  readonly #ports: { readonly send: Send; isSilent: boolean; isDown: boolean }[] = [];
  /** Frames of a storm would go round without end; the simulation has no loop, and counts what it forwards. */
  forwarded = 0;

  /** Returns the port's number. */
  plug(send: Send): number {
    this.#ports.push({ send, isSilent: false, isDown: false });
    return this.#ports.length - 1;
  }

  silence(port: number, isSilent: boolean): void {
    this.#at(port).isSilent = isSilent;
  }

  cut(port: number, isDown: boolean): void {
    this.#at(port).isDown = isDown;
    if (isDown) for (const [mac, where] of this.table) if (where === port) this.table.delete(mac);
  }

  isSilent(port: number): boolean {
    const { isSilent, isDown } = this.#at(port);
    return isSilent || isDown;
  }

  receive(port: number, frame: Uint8Array): void {
    if (this.isSilent(port)) return;
    this.forwarded += 1;
    this.table.set(macAt(frame, 6), port);
    const to = this.table.get(macAt(frame, 0));
    this.#ports.forEach((other, i) => {
      if (i === port || this.isSilent(i) || (to !== undefined && to !== i)) return;
      other.send(frame);
    });
  }

  #at(port: number): { isSilent: boolean; isDown: boolean } {
    const one = this.#ports[port];
    assert.ok(one);
    return one;
  }
}

/** A station that answers ARP, sends numbered frames and notes those that it gets. */
export class Station {
  readonly mac: Mac;
  readonly address: Ipv4;
  readonly #send: Send;
  /** Numbers that came, in order, and when. */
  readonly got: { readonly number: number; readonly atMs: number }[] = [];
  readonly announced: { readonly atMs: number; readonly mac: Mac }[] = [];
  frames: Uint8Array[] = [];
  keepsFrames = false;
  isMute = false;
  readonly #nowMs: () => number;

  constructor(mac: Mac, address: Ipv4, send: Send, nowMs: () => number) {
    this.mac = mac;
    this.address = address;
    this.#send = send;
    this.#nowMs = nowMs;
  }

  send(frame: Uint8Array): void {
    this.#send(frame);
  }

  receive(frame: Uint8Array): void {
    if (this.keepsFrames) this.frames.push(frame.slice());
    const type = wordAt(frame, typeAt(frame));
    if (type === ETHERTYPE_NUMBERED && macAt(frame, 0) === this.mac) {
      const number = new DataView(frame.buffer, frame.byteOffset).getUint32(14);
      this.got.push({ number, atMs: this.#nowMs() });
    }
    const sender = arpSender(frame);
    if (sender === undefined) return;
    if (sender.address === sender.target) this.announced.push({ atMs: this.#nowMs(), mac: sender.mac });
    const isAsked = sender.operation === ARP_REQUEST && sender.target === this.address;
    if (isAsked && !this.isMute) this.#send(arp(ARP_REPLY, this, { mac: macAt(frame, 6), address: sender.address }));
  }

  /** As a host does that wants to be known. */
  announce(vlan = 0): void {
    this.#send(arp(ARP_REQUEST, this, { mac: 0, address: this.address }, vlan));
  }

  sendNumber(number: number, to: Mac, bytes = 100): void {
    const frame = new Uint8Array(bytes);
    const view = new DataView(frame.buffer);
    writeMac(view, 0, to);
    writeMac(view, 6, this.mac);
    view.setUint16(12, ETHERTYPE_NUMBERED);
    view.setUint32(14, number);
    this.#send(frame);
  }
}

export function arp(
  operation: number,
  from: { readonly mac: Mac; readonly address: Ipv4 },
  to: { readonly mac: Mac; readonly address: Ipv4 },
  vlan = 0,
): Uint8Array {
  const at = vlan === 0 ? 14 : 18;
  const frame = new Uint8Array(64);
  const view = new DataView(frame.buffer);
  writeMac(view, 0, operation === ARP_REPLY ? to.mac : BROADCAST_MAC);
  writeMac(view, 6, from.mac);
  if (vlan !== 0) view.setUint32(12, 0x81000000 + vlan);
  view.setUint16(at - 2, ETHERTYPE_ARP);
  const target = { targetMac: to.mac, targetAddress: to.address };
  encodeArp(view, at, { operation, senderMac: from.mac, senderAddress: from.address, ...target });
  return frame;
}

export interface SimulatedUplink {
  readonly port: UplinkPort;
  readonly bridgePort: number;
  /** Carrier on both ends. */
  cut(isDown: boolean): void;
  /** The carrier stays, and nothing passes. */
  silence(isSilent: boolean): void;
  /** Frames that were sent into it. */
  sent: number;
}

export interface SimulatedInterface {
  readonly station: Station;
  readonly port: InterfacePort;
  /** Carrier as the guest saw it, each change. */
  readonly links: boolean[];
  readonly offloads: (FrameOffload | undefined)[];
  hasRoom: boolean;
}

export class Lab {
  readonly simulation: Simulation;
  readonly paths: NetworkPaths;
  readonly bridge = new Bridge();
  readonly host: Station;
  readonly #weather: Weather;

  constructor(simulation: Simulation, options: PathOptions = {}, weather: Weather = WIRE) {
    this.simulation = simulation;
    this.#weather = weather;
    const { random } = simulation;
    const wallMs = (): number => 1_800_000_000_000 + simulation.nowMs();
    this.paths = new NetworkPaths({ clock: simulation, timers: simulation, random, wallMs }, options);
    this.host = this.station(HOST_MAC, HOST_IP);
  }

  /** Another host on the bridge. */
  station(mac: Mac, address: Ipv4): Station {
    const into = this.#link((frame) => this.bridge.receive(port, frame));
    const station = new Station(mac, address, into, () => this.simulation.nowMs());
    const port = this.bridge.plug(this.#link((frame) => station.receive(frame)));
    return station;
  }

  uplink(name: string, options: Partial<UplinkOptions> = {}): SimulatedUplink {
    const into = this.#link((frame) => this.bridge.receive(bridgePort, frame));
    const bridgePort = this.bridge.plug(this.#link((frame) => void port.receive(frame)));
    const port = this.paths.addUplink(
      { name, kind: 'simulated', network: 'lan', ...options },
      {
        send: (frame) => {
          one.sent += 1;
          into(frame);
          return true;
        },
      },
    );
    const one: SimulatedUplink = {
      port,
      bridgePort,
      sent: 0,
      cut: (isDown) => {
        this.bridge.cut(bridgePort, isDown);
        port.setCarrier(!isDown, isDown ? 'carrier lost' : 'carrier regained');
      },
      silence: (isSilent) => this.bridge.silence(bridgePort, isSilent),
    };
    return one;
  }

  guest(uplinks: readonly string[], options: Partial<InterfaceOptions> & { address?: Ipv4 } = {}): SimulatedInterface {
    const { address = GUEST_IP, name = 'net0', mac = GUEST_MAC, ...rest } = options;
    const toGuest = this.#link((frame) => station.receive(frame));
    const links: boolean[] = [];
    const offloads: (FrameOffload | undefined)[] = [];
    const one: { hasRoom: boolean } = { hasRoom: true };
    const port = this.paths.addInterface(
      { name, mac, uplinks, ...rest },
      {
        deliver: (frame, offload) => {
          if (!one.hasRoom) return false;
          offloads.push(offload);
          toGuest(frame);
          return true;
        },
        setLinkUp: (up) => links.push(up),
      },
    );
    const station = new Station(
      mac,
      address,
      (frame) => port.receive(frame),
      () => this.simulation.nowMs(),
    );
    return Object.assign(one, { station, port, links, offloads });
  }

  inForce(name = 'net0'): string | undefined {
    return this.paths.report().interfaces.find((one) => one.name === name)?.inForce;
  }

  #link(deliver: Send): Send {
    return weatheredLink(this.simulation, this.#weather, deliver);
  }
}

/** Numbered frames both ways, each so many milliseconds, until stopped. */
export function traffic(lab: Lab, guest: Station, host: Station, intervalMs = 10): { sent: number; stop(): void } {
  let isOn = true;
  const running = {
    sent: 0,
    stop: () => {
      isOn = false;
    },
  };
  const next = (): void => {
    if (!isOn) return;
    running.sent += 1;
    guest.sendNumber(running.sent, host.mac);
    host.sendNumber(running.sent, guest.mac);
    lab.simulation.after(intervalMs, next);
  };
  next();
  return running;
}

/** Of the numbers 1 to `sent`, those that never came. */
export function missing(station: Station, sent: number): number[] {
  const got = new Set(station.got.map(({ number }) => number));
  return Array.from({ length: sent }, (_, i) => i + 1).filter((number) => !got.has(number));
}
