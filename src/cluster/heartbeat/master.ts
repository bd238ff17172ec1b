/**
 * The master of a host: gathers its slaves' beats, and tells a few peers in one datagram of fixed size each, at a fixed
 * interval. What is sent depends on the number of peers alone, never on the number of guests or on what they do; details
 * follow when a digest has changed, to who asks.
 *
 *     slaves --beats--> master ==64 bytes==> peers' masters        (each interval)
 *                         ^                        |
 *                         +------- pull -----------+               (a digest that is new)
 *                         +------- details ------->+
 */
import type { Clock, Datagrams, SlaveBeat } from '../ports.ts';
import type { Settings } from '../settings.ts';
import { count, newHeartbeatCounters } from './counters.ts';
import { type DatagramKind, decodeDatagram, encodeBeat, encodeDetails, encodeDirect, type Head } from './datagrams.ts';
import { Peer } from './peer.ts';
import { Slaves } from './slaves.ts';

export interface MasterEvents {
  /** A peer has been silent for so long, or, undefined, is heard again. That alone moves nothing: its lease decides. */
  suspected(host: string, silentMs: number | undefined): void;
}

export class Master {
  readonly settings: Settings;
  readonly #clock: Clock;
  readonly #datagrams: Datagrams;
  readonly #events: MasterEvents;
  readonly slaves = new Slaves();
  readonly counters = newHeartbeatCounters();
  readonly #peers = new Map<string, Peer>();
  /** With `direct`: guests that run here, and where their standby is. */
  #pairs: readonly { readonly guest: string; readonly host: string }[] = [];
  #sequence = 0;
  #lastTickMs: number;
  incarnation = 0;
  leaseLeftMs = 0;
  /** The mechanism's switch; it can be thrown while it runs. */
  heartbeats: Settings['heartbeats'];

  constructor(settings: Settings, clock: Clock, datagrams: Datagrams, events: MasterEvents) {
    this.settings = settings;
    this.heartbeats = settings.heartbeats;
    this.#clock = clock;
    this.#datagrams = datagrams;
    this.#events = events;
    this.#lastTickMs = clock.nowMs();
  }

  get peers(): IterableIterator<Peer> {
    return this.#peers.values();
  }

  isSuspected(host: string): boolean {
    return this.#peers.get(host)?.isSuspected === true;
  }

  setPeers(hosts: readonly string[]): void {
    const wanted = new Set(hosts);
    for (const host of this.#peers.keys()) if (!wanted.has(host)) this.#peers.delete(host);
    for (const host of wanted) if (!this.#peers.has(host)) this.#peers.set(host, new Peer(host));
  }

  setPairs(pairs: readonly { readonly guest: string; readonly host: string }[]): void {
    this.#pairs = pairs;
  }

  beat(beat: SlaveBeat): void {
    this.counters.localBeats += 1;
    this.slaves.beat(beat, this.#clock.nowMs(), this.settings.slaveSilentMs);
  }

  /** Once each interval. */
  tick(): void {
    const nowMs = this.#clock.nowMs();
    const sinceMs = nowMs - this.#lastTickMs;
    const lateMs = Math.max(0, sinceMs - 2 * this.settings.beatMs);
    this.#lastTickMs = nowMs;
    // Machines that have paused themselves for want of a lease do not beat: that time does not count.
    this.slaves.look(nowMs, this.leaseLeftMs > 0 ? lateMs : sinceMs);
    // Rises with the host's clock: a daemon that goes on with the lease of the one before it is not behind that one's beats.
    this.#sequence = Math.max(this.#sequence + 1, Math.floor(nowMs / this.settings.beatMs));
    this.counters.intervals += 1;
    const bytes = encodeBeat(this.#head('beat'));
    for (const peer of this.#peers.values()) {
      this.#send(peer.host, 'beat', bytes);
      this.#listen(peer, sinceMs - lateMs);
    }
    if (this.heartbeats === 'direct')
      for (const { guest, host } of this.#pairs) this.#send(host, 'direct', encodeDirect(this.#head('direct'), guest));
  }

  receive(from: string, bytes: Uint8Array): void {
    const datagram = decodeDatagram(bytes);
    if (datagram === undefined) {
      this.counters.broken += 1;
      return;
    }
    const { kind } = datagram;
    count(this.counters.received[kind], bytes.byteLength);
    if (kind === 'direct') this.counters.beatsToStandby += datagram.details.length;
    const peer = this.#peers.get(from);
    if (peer === undefined) return;
    if (kind === 'beat' && peer.heard(datagram, this.#clock.nowMs() - this.#lastTickMs))
      this.#events.suspected(from, undefined);
    if (kind === 'details') peer.took(datagram);
    if (kind === 'pull')
      for (const part of encodeDetails(this.#head('details'), [...this.slaves.details()]))
        this.#send(from, 'details', part);
  }

  #listen(peer: Peer, awakeMs: number): void {
    peer.silentMs += awakeMs;
    if (!peer.isSuspected && peer.silentMs >= this.settings.suspectMs) {
      peer.isSuspected = true;
      this.counters.suspicions += 1;
      this.#events.suspected(peer.host, Math.round(peer.silentMs));
    }
    if (!peer.isSuspected && peer.wantsDetails()) this.#send(peer.host, 'pull', encodeBeat(this.#head('pull')));
  }

  #send(to: string, kind: DatagramKind, bytes: Uint8Array): void {
    count(this.counters.sent[kind], bytes.byteLength);
    this.#datagrams.send(to, bytes);
  }

  #head(kind: DatagramKind): Head {
    const { digest, count: guests, notWell } = this.slaves;
    const { incarnation, leaseLeftMs } = this;
    return { kind, incarnation, sequence: this.#sequence, digest, guests, notWell, leaseLeftMs };
  }
}
